"""`POST /inference/v1/generate`, tokens in and tokens out, as vLLM serves it: bodies and replies.

Renders nothing and sends nothing. Two shapes of log-probs are read: `token: "token_id:7"`, and
since 2026 `token_id: 7`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rolldock.gateway.completions import NotACompletionError, chosen, least_tokens, read_usage
from rolldock.gateway.engine_tokens import COMPLETION_IDS, first_choice, read_ids, read_logprobs
from rolldock.gateway.neutral_sampling import NEUTRAL
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import SamplingNames
from rolldock.models.spec import Sampling
from rolldock.models.turn import Usage

FORMAT: Final = "tokens"
"""Its name in `Turn.upstream`."""
PATH: Final = "/inference/v1/generate"
"""At the server's root, beside `/v1`."""
PROMPT_IDS: Final = "token_ids"
"""The prompt, in a request."""
MAX_TOKENS: Final = "max_tokens"

_PARAMS: Final = "sampling_params"
_NOT_SAMPLING: Final = frozenset({"logprobs", "skip_special_tokens", "stop_token_ids"})
_FINISHED: Final = frozenset({"stop", "length"})
_NO_EVIDENCE: Final = -9999.0
"""What vLLM says for a log-prob that it does not have."""


class GivenUpError(NotACompletionError):
    """Raised when the server gave a completion up before its end; it may be asked for again."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What a reply gives."""

    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    usage: Usage


def generate_body(model: str, prompt_ids: Sequence[int], params: JsonObject) -> JsonObject:
    """A request for the completion of a prompt."""
    return {"model": model, PROMPT_IDS: [*prompt_ids], _PARAMS: params}


def sampling_params(
    chat: JsonObject, sampling: Sampling, *, pinned: bool, output_left: int | None
) -> JsonObject:
    """How is sampled, under the session's rules.

    Whatever the server would have a default for is said: a `max_tokens` of null is all that the
    context has left.

    Args:
        chat: the agent's request as chat completions.
        pinned: whether an agent has no say in it, but for temperature, seed and token limit.
    """
    params: JsonObject = {"temperature": 1.0, **NEUTRAL[SamplingNames.VLLM]}
    for key in ("temperature", "seed") if pinned else (*params, "seed"):
        value = chat.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            params[key] = value
    params |= chosen(sampling)
    params[MAX_TOKENS] = least_tokens(chat, [sampling.max_tokens, output_left])
    return params


def stopping(stop_ids: Sequence[int], stop: Sequence[str]) -> JsonObject:
    """What ends a completion, and what is wanted of it, in the same object as `sampling_params`."""
    params: JsonObject = {"stop": [*stop]} if stop else {}
    return {**params, "stop_token_ids": [*stop_ids], "logprobs": 1, "skip_special_tokens": False}


def without_limit(body: JsonObject) -> JsonObject | None:
    """A body that lets the model go on to the end of its context; None: it does already."""
    params = body[_PARAMS]
    if not isinstance(params, dict) or params.get(MAX_TOKENS) is None:
        return None
    return {**body, _PARAMS: {**params, MAX_TOKENS: None}}


def effective_sampling(body: JsonObject) -> JsonObject:
    """What a body as sent says about sampling."""
    params = body[_PARAMS]
    found = params if isinstance(params, dict) else {}
    return {
        key: value for key, value in found.items() if key not in _NOT_SAMPLING and value is not None
    }


def read_generated(reply: JsonObject, n_prompt: int) -> Generated:
    """Read a reply; `n_prompt`: how many tokens were sent.

    Raises:
        GivenUpError: the server gave up.
        NotACompletionError: it has no ids, or log-probs that do not belong to them.
    """
    choice = first_choice(reply)
    completion = read_ids(choice.get(COMPLETION_IDS))
    if completion is None:
        raise NotACompletionError("it has no choices[0].token_ids")
    finish = choice.get("finish_reason")
    if finish not in _FINISHED:
        raise GivenUpError(f"its finish_reason is {finish!r}")
    usage = read_usage(reply.get("usage"))
    if not (usage.input_tokens or usage.output_tokens):
        usage = Usage(input_tokens=n_prompt, output_tokens=len(completion))
    return Generated(completion, _logprobs(choice, completion), str(finish), usage)


def _logprobs(choice: JsonObject, completion: Sequence[int]) -> tuple[float, ...]:
    given = choice.get("logprobs")
    logprobs = read_logprobs(given)
    if logprobs is None or len(logprobs) != len(completion):
        n_given = 0 if logprobs is None else len(logprobs)
        raise NotACompletionError(f"{len(completion)} completion ids, {n_given} log-probs")
    content = given.get("content") if isinstance(given, dict) else None
    for number, (entry, token) in enumerate(
        zip(content if isinstance(content, list) else [], completion, strict=True)
    ):
        named = entry.get("token_id", entry.get("token")) if isinstance(entry, dict) else None
        if named not in (token, f"token_id:{token}"):
            raise NotACompletionError(f"log-prob {number} is of {named!r}, not of token {token}")
        if not math.isfinite(logprobs[number]) or logprobs[number] == _NO_EVIDENCE:
            raise NotACompletionError(f"log-prob {number} is {logprobs[number]}")
    return logprobs
