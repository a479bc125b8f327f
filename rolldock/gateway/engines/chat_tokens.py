"""How the tokens of a chat completion become known, by what its endpoint was found to give.

Guesses nothing: where they are not known, it says why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from rolldock.gateway.endpoints import Target
from rolldock.gateway.engine_tokens import EngineTokens, NoTokensError, read_tokens
from rolldock.gateway.engines.base import EngineCall
from rolldock.gateway.engines.llama_cpp import derive_prompt_ids, read_derived
from rolldock.gateway.outgoing import written_by_us
from rolldock.gateway.upstream import TryFailedError
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import IdsFrom


@dataclass(frozen=True, slots=True)
class Reading:
    """The tokens of a reply, or why they are not known; neither: nobody asked for any."""

    tokens: EngineTokens | None = None
    missing: str | None = None


TokenReader: TypeAlias = Callable[[JsonObject], Reading]
"""What reads the tokens of one reply."""


async def token_reader(target: Target, call: EngineCall, sent: JsonObject) -> TokenReader:
    """What will read the reply to `sent`.

    A llama.cpp server is asked for the prompt's ids before it answers, so that the rule by which
    calls are made again holds for that too, and no answer is paid for twice.

    Raises:
        TryFailedError: the server does not say them now, and may at the next try.
    """
    endpoint = target.endpoint
    mode = endpoint.logprobs_mode
    if not endpoint.token_ids:
        return lambda _: Reading()
    if endpoint.ids_from is IdsFrom.ENGINE:
        return lambda reply: _reading(lambda: read_tokens(reply, mode))
    try:
        prompt_ids = await _prompt_ids(target, call, sent)
    except NoTokensError as error:
        missing = Reading(missing=str(error))
        return lambda _: missing
    return lambda reply: _reading(lambda: read_derived(reply, prompt_ids, mode))


async def _prompt_ids(target: Target, call: EngineCall, sent: JsonObject) -> tuple[int, ...]:
    headers = {**target.bearer, **call.place.headers}

    async def post(path: str, body: JsonObject) -> bytes:
        try:
            url, asked = f"{target.root_url}{path}", await written_by_us(body)
            return await call.upstream.post(target, url, asked, headers)
        except TryFailedError as failed:
            if failed.retryable:
                raise
            raise NoTokensError(failed.message) from failed

    return await derive_prompt_ids(post, sent)


def _reading(read: Callable[[], EngineTokens]) -> Reading:
    try:
        return Reading(read())
    except NoTokensError as error:
        return Reading(missing=str(error))
