"""What the gateway asks of a way to put a call to a model server: one try, from request to reply.

When a call is made again, and what pauses and deadlines mean, is `upstream.py`'s business.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from rolldock.gateway.completions import Completion, is_context_overflow
from rolldock.gateway.dialects.base import Dialect
from rolldock.gateway.endpoints import Target
from rolldock.gateway.engine_tokens import EngineTokens, TokenPrefixes
from rolldock.gateway.json_bodies import CHAT_APART
from rolldock.gateway.outgoing import Outgoing
from rolldock.gateway.place import CallPlace
from rolldock.gateway.relay import Relay
from rolldock.gateway.upstream import TryFailedError, Upstream
from rolldock.models.base import JsonObject
from rolldock.models.session import Session


@dataclass(frozen=True, slots=True)
class EngineCall:
    """A call as engines need to know it."""

    place: CallPlace
    session: Session
    dialect: Dialect
    output_left: int | None
    """What the budgets leave, in tokens."""
    upstream: Upstream
    prefixes: TokenPrefixes
    relay: Relay | None
    """Where to pass on what comes; None: the reply is wanted whole."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answered try: what was sent where, and what came back."""

    target: Target
    sent: JsonObject
    sent_body: Outgoing
    reply_raw: bytes
    completion: Completion
    sampling: JsonObject
    """What the body as sent asks for."""
    format: str = "openai.chat"
    """What was spoken to the model server: `Turn.upstream`."""
    sent_apart: Collection[str] = CHAT_APART
    """The fields of `sent` that a turn keeps apart, and can be rebuilt from what it has."""
    tokens: EngineTokens | None = None
    """None: the model server gave no ids, or none that can be believed."""
    tokens_missing: str | None = None
    """Why not, where it was asked for ids."""
    streamed: bool = False
    """The reply's bytes are a stream of events."""
    tail: bytes | None = None
    """Of a live stream, the terminal events, which the agent has not got yet."""


class Engine(ABC):
    """One way to ask a model server. Has no state that a session would miss."""

    @abstractmethod
    async def ask(self, target: Target, call: EngineCall) -> Exchange:
        """Ask once.

        Raises:
            TryFailedError: no reply that can be used.
            UsageError: the endpoint cannot be asked in this way; the text says why.
        """


async def fitting(
    send: Callable[[JsonObject], Awaitable[Exchange]],
    body: JsonObject,
    unlimited: JsonObject | None,
) -> Exchange:
    """Send a body; where it asks for more than the context has left, once more without a limit.

    Without one the model server gives just that, and refuses again if the prompt alone is too long.

    Args:
        unlimited: the body without its token limit; None: it has none.
    """
    try:
        return await send(body)
    except TryFailedError as failed:
        overflow = is_context_overflow(failed.upstream_status or 0, failed.body)
        if unlimited is None or not overflow:
            raise
    return await send(unlimited)


def unusable(url: str, why: str, *, retryable: bool) -> TryFailedError:
    """The failure of a try that was answered 200 with what is no answer."""
    message = f"the model server at {url} answered 200 without a chat completion: {why}"
    return TryFailedError(502, message, retryable=retryable, upstream_status=200)
