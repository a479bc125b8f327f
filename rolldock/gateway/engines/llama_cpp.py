"""Token ids of a llama.cpp server, which gives those of the completion and not of the prompt.

The prompt's are derived by the server itself: it renders the same body with `/apply-template` and
tokenises the text with `/tokenize`, as it does for the chat completion. So they are marked as
derived, and believed only if they are as many as its usage counts. Sends nothing by itself.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from rolldock.gateway.completions import read_usage
from rolldock.gateway.engine_tokens import (
    EngineTokens,
    NoTokensError,
    first_choice,
    read_ids,
    read_logprobs,
)
from rolldock.gateway.json_bodies import BodyError, parse
from rolldock.models.base import JsonObject
from rolldock.models.turn import TokenSource

TEMPLATE_PATH: Final = "/apply-template"
TOKENIZE_PATH: Final = "/tokenize"

Post: TypeAlias = Callable[[str, JsonObject], Awaitable[bytes]]
"""Sends JSON to a path below the server's root and gives the reply, whole.

Raises NoTokensError for a reply that will not change.
"""


def asking(sent: JsonObject) -> JsonObject:
    """A body that asks for log-probs so that a llama.cpp server gives ids with them.

    Unless it is told how many candidates to list it lists 20 for each token, and with none it lists
    no tokens at all. Told to give probabilities after sampling, it would give no log-probs.
    """
    asked = sent.get("top_logprobs")
    enough = isinstance(asked, int) and asked > 0
    return {**sent, "top_logprobs": asked if enough else 1, "post_sampling_probs": False}


async def derive_prompt_ids(post: Post, sent: JsonObject) -> tuple[int, ...]:
    """The ids of the prompt that a server makes of a chat body.

    Raises:
        NoTokensError: the server does not say; the text says why.
    """
    prompt = (await _asked(post, TEMPLATE_PATH, sent)).get("prompt")
    if not isinstance(prompt, str):
        raise NoTokensError(f"{TEMPLATE_PATH} gave no prompt")
    # With the special tokens that the model's vocabulary begins with and those that the template
    # writes as text: this is how the server reads its own rendering. A router needs the name.
    body: JsonObject = {"content": prompt, "add_special": True, "parse_special": True}
    named = {key: sent[key] for key in ("model",) if key in sent}
    ids = read_ids((await _asked(post, TOKENIZE_PATH, {**named, **body})).get("tokens"))
    if ids is None:
        raise NoTokensError(f"{TOKENIZE_PATH} gave no token ids")
    return ids


def read_derived(reply: JsonObject, prompt_ids: tuple[int, ...], mode: str) -> EngineTokens:
    """The tokens of a chat completion whose prompt's were derived; `mode`: of its log-probs.

    Raises:
        NoTokensError: they are missing, or not as many as the server counted.
    """
    ids, values = completion_ids(reply), read_logprobs(first_choice(reply).get("logprobs"))
    if ids is None or values is None:
        raise NoTokensError("the reply has no ids in its log-probs")
    usage = read_usage(reply.get("usage"))
    if len(ids) != usage.output_tokens:
        # The server leaves out the tokens of a stop sequence, and those that end within a
        # character.
        raise NoTokensError(
            f"{len(ids)} completion ids where the model server counts {usage.output_tokens}"
        )
    if len(prompt_ids) != usage.input_tokens:
        raise NoTokensError(
            f"{len(prompt_ids)} derived prompt ids where the model server counts "
            f"{usage.input_tokens}"
        )
    return EngineTokens(prompt_ids, ids, values, TokenSource.DERIVED, mode)


def completion_ids(reply: JsonObject) -> tuple[int, ...] | None:
    """The ids beside a reply's log-probs; None where there are none."""
    logprobs = first_choice(reply).get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None
    return read_ids([item.get("id") if isinstance(item, dict) else None for item in content])


async def _asked(post: Post, path: str, body: JsonObject) -> JsonObject:
    try:
        return await parse(await post(path, body))
    except BodyError as error:
        raise NoTokensError(f"{path}: {error}") from error
