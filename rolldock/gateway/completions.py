"""Chat completions as model servers speak them: the body that is sent, and what a reply holds.

The agent's side of the conversation, whatever its format, is in `dialects/`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from rolldock.gateway.engine_tokens import first_choice
from rolldock.models.base import JsonObject
from rolldock.models.spec import Sampling
from rolldock.models.turn import Usage

_TOKEN_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_SAMPLING: Final = (
    *_TOKEN_LIMITS,
    *("temperature", "top_p", "top_k", "min_p", "seed", "stop", "n", "logit_bias"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty", "reasoning_effort"),
    # Of llama.cpp alone.
    *("repeat_penalty", "typical_p", "top_n_sigma", "dynatemp_range", "mirostat"),
    *("dry_multiplier", "xtc_probability", "adaptive_target"),
)
_OVERFLOW_CODE: Final = "context_length_exceeded"
_OVERFLOW_WORDS: Final = (
    *("maximum context length", "maximum model length", "model's context length"),
    *("cannot be greater than max_model_len", "context size", "context window"),
    *("prompt is too long", "exceed context limit"),
)
"""As OpenAI, vLLM in its several versions (`_validate_prompt_len`, `_token_len_check`) and SGLang;
llama.cpp; Anthropic-like proxies; Anthropic write it in a 400."""


class NotACompletionError(ValueError):
    """Raised when a reply with status 200 is no chat completion; the text says why."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a chat completion says."""

    body: JsonObject
    message: JsonObject
    finish_reason: str
    usage: Usage


def body_to_send(
    body: JsonObject,
    *,
    model: str,
    sampling: Sampling,
    neutral: JsonObject,
    output_left: int | None,
    token_ids: bool,
    stream: bool,
) -> JsonObject:
    """An agent's chat body under the session's rules.

    The model and the sampling are the session's, which leaves `neutral` where it says nothing; the
    token limit is the least of the agent's, the session's and what the budget leaves.
    """
    sent = {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
    sent["model"] = model
    sent.update(neutral)
    sent.update(chosen(sampling))
    _limit_tokens(sent, [sampling.max_tokens, output_left])
    if token_ids:
        sent["logprobs"] = True
        sent["return_token_ids"] = True
    if stream:
        sent["stream"] = True
        sent["stream_options"] = {"include_usage": True}
    return sent


def chosen(sampling: Sampling) -> JsonObject:
    """What a session's sampling sets, beside the token limit."""
    return sampling.model_dump(exclude={"max_tokens"}, exclude_none=True)


def least_tokens(body: JsonObject, limits: Iterable[int | None]) -> int | None:
    """The least of what a body asks for and of some limits; None: there is none.

    What is no positive number limits nothing: some servers take -1 for no limit.
    """
    asked = [
        value
        for key in _TOKEN_LIMITS
        if isinstance(value := body.get(key), int) and not isinstance(value, bool) and value > 0
    ]
    return min([*asked, *(limit for limit in limits if limit is not None)], default=None)


def without_token_limit(sent: JsonObject) -> JsonObject | None:
    """A body that lets the model go on to the end of its context; None: it does already."""
    free = {key: value for key, value in sent.items() if key not in _TOKEN_LIMITS}
    return None if len(free) == len(sent) else free


def of_slot(sampling: Sampling, slot: int) -> Sampling:
    """A session's sampling for one of its slots: no two slots share a seed, so that branches from
    one point differ, and a slot that is asked again does not."""
    if sampling.seed is None:
        return sampling
    return sampling.model_copy(update={"seed": sampling.seed + slot})


def _limit_tokens(sent: JsonObject, limits: list[int | None]) -> None:
    least = least_tokens(sent, limits)
    if least is None:
        return
    asked = [key for key in _TOKEN_LIMITS if isinstance(sent.get(key), int)]
    # Of the two names for one thing, servers of open models know `max_tokens` without exception.
    name = asked[0] if asked else "max_tokens"
    for key in _TOKEN_LIMITS:
        sent.pop(key, None) if key != name else None
    sent[name] = least


def effective_sampling(sent: JsonObject) -> JsonObject:
    """What a body as sent says about sampling."""
    return {key: sent[key] for key in _SAMPLING if key in sent}


def read_completion(body: JsonObject) -> Completion:
    """Read a chat completion.

    Raises:
        NotACompletionError: it has no choice with a message.
    """
    choice = first_choice(body)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise NotACompletionError("it has no choices[0].message")
    finish = choice.get("finish_reason")
    return Completion(
        body=body,
        message=message,
        finish_reason=finish if isinstance(finish, str) else "unknown",
        usage=read_usage(body.get("usage")),
    )


def read_usage(value: JsonValue) -> Usage:
    """A usage object; zeros where it says nothing."""
    usage = value if isinstance(value, dict) else {}
    details = usage.get("prompt_tokens_details")
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
    )


def error_message(body: JsonObject | None) -> str | None:
    """The sentence in an error body, in any of the shapes that model servers use."""
    if body is None:
        return None
    error = body.get("error", body)
    if isinstance(error, dict):
        error = error.get("message", error.get("detail"))
    return error if isinstance(error, str) else None


def is_context_overflow(status: int, body: JsonObject | None) -> bool:
    """Whether a model server refused a request because its context is too small for it."""
    if status != 400 or body is None:
        return False
    error = body.get("error")
    if isinstance(error, dict) and error.get("code") == _OVERFLOW_CODE:
        return True
    message = (error_message(body) or "").lower()
    return any(words in message for words in _OVERFLOW_WORDS)


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) and value > 0 else 0
