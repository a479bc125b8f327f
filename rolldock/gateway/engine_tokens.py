"""Token ids and log-probs as the engine gave them, stored as what follows an earlier turn.

A turn extends an earlier one if its prompt begins with exactly that turn's prompt and completion.
Nothing is tokenised here, and nothing is guessed.
"""

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from pydantic import JsonValue

from rolldock.gateway.logprob_columns import fold, unfold
from rolldock.models.base import JsonObject
from rolldock.models.turn import Tokens, TokenSource

PROMPT_IDS: Final = "prompt_token_ids"
COMPLETION_IDS: Final = "token_ids"


class NoTokensError(ValueError):
    """Raised when the tokens of a call are not known; the text says why."""


@dataclass(frozen=True, slots=True)
class EngineTokens:
    """The whole prompt and completion of one call."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    source: TokenSource = TokenSource.ENGINE
    logprobs_mode: str = "unknown"
    """As `Tokens.logprobs_mode`."""


@dataclass(slots=True)
class TokenPrefixes:
    """The token sequences of a session's turns, as digests by length."""

    _slots: dict[int, dict[bytes, int]] = field(default_factory=dict[int, dict[bytes, int]])
    _states: dict[int, tuple[int, "hashlib.blake2b"]] = field(
        default_factory=dict[int, tuple[int, "hashlib.blake2b"]]
    )

    def place(self, tokens: EngineTokens) -> Tokens:
        """The stored form: the longest earlier sequence is left out, among equals the latest."""
        extends, length = self._longest(tokens.prompt_ids)
        return Tokens(
            source=tokens.source,
            extends=extends,
            prompt_ids=tokens.prompt_ids[length:],
            completion_ids=tokens.completion_ids,
            logprobs=tokens.logprobs,
            logprobs_mode=tokens.logprobs_mode,
        )

    def add(self, slot: int, tokens: Tokens) -> None:
        """Take up a turn's sequence: what it extends, the rest of its prompt, its completion."""
        length, state = (
            (0, hashlib.blake2b(digest_size=16))
            if tokens.extends is None
            else self._states[tokens.extends]
        )
        state = state.copy()
        state.update(_bytes(tokens.prompt_ids))
        state.update(_bytes(tokens.completion_ids))
        length += len(tokens.prompt_ids) + len(tokens.completion_ids)
        self._states[slot] = (length, state)
        self._slots.setdefault(length, {})[state.digest()] = slot

    def _longest(self, prompt: Sequence[int]) -> tuple[int | None, int]:
        state = hashlib.blake2b(digest_size=16)
        found, at, start = None, 0, 0
        # A copy: a large turn is placed in a thread while another is taken up on the loop.
        for length in sorted(length for length in list(self._slots) if length <= len(prompt)):
            state.update(_bytes(prompt[start:length]))
            start = length
            slot = self._slots[length].get(state.digest())
            if slot is not None:
                found, at = slot, length
        return found, at


def read_tokens(reply: JsonObject, mode: str = "unknown") -> EngineTokens:
    """The ids and log-probs of a reply; `mode`: of its log-probs.

    Raises:
        NoTokensError: they are missing, or differ in length.
    """
    choice = first_choice(reply)
    prompt = read_ids(reply.get(PROMPT_IDS))
    completion = read_ids(choice.get(COMPLETION_IDS))
    logprobs = read_logprobs(choice.get("logprobs"))
    if prompt is None or completion is None or logprobs is None:
        found = {PROMPT_IDS: prompt, COMPLETION_IDS: completion, "logprobs": logprobs}
        missing = " and no ".join(name for name, value in found.items() if value is None)
        raise NoTokensError(f"the reply has no {missing}")
    if len(completion) != len(logprobs):
        raise NoTokensError(f"{len(completion)} completion ids, {len(logprobs)} log-probs")
    return EngineTokens(prompt, completion, logprobs, logprobs_mode=mode)


def without_ids(reply: JsonObject, tokens: EngineTokens) -> JsonObject:
    """A reply without what the stored `Tokens` hold: lists of ids are null, log-probs columns."""
    choice = first_choice(reply)
    kept: JsonObject = {}
    if tokens.source is TokenSource.ENGINE and isinstance(reply.get(PROMPT_IDS), list):
        kept[PROMPT_IDS] = None
    inner: JsonObject = {}
    if tokens.source is not TokenSource.DERIVED and isinstance(choice.get(COMPLETION_IDS), list):
        inner[COMPLETION_IDS] = None
    logprobs = choice.get("logprobs")
    if isinstance(logprobs, dict) and "content" in logprobs:
        content = fold(logprobs["content"], tokens.completion_ids, tokens.logprobs)
        inner["logprobs"] = {**logprobs, "content": content}
    return _with_first_choice({**reply, **kept}, {**choice, **inner})


def with_ids(reply: JsonObject, tokens: EngineTokens) -> JsonObject:
    """The inverse of `without_ids`."""
    choice = first_choice(reply)
    given: JsonObject = {}
    if tokens.source is TokenSource.ENGINE and PROMPT_IDS in reply:
        given[PROMPT_IDS] = list(tokens.prompt_ids)
    inner: JsonObject = {}
    if tokens.source is not TokenSource.DERIVED and COMPLETION_IDS in choice:
        inner[COMPLETION_IDS] = list(tokens.completion_ids)
    if "logprobs" in choice:
        inner["logprobs"] = whole_logprobs(choice, tokens)
    return _with_first_choice({**reply, **given}, {**choice, **inner})


def whole_logprobs(choice: JsonObject, tokens: EngineTokens | Tokens | None) -> JsonValue:
    """The `logprobs` of a stored choice as the model server wrote them."""
    logprobs = choice.get("logprobs")
    if tokens is None or not isinstance(logprobs, dict) or "content" not in logprobs:
        return logprobs
    content = unfold(logprobs["content"], tokens.completion_ids, tokens.logprobs)
    return {**logprobs, "content": content}


def _with_first_choice(reply: JsonObject, first: JsonObject) -> JsonObject:
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        return reply
    return {**reply, "choices": [first, *choices[1:]]}


def first_choice(reply: JsonObject) -> JsonObject:
    """The first choice of a chat completion; empty where there is none."""
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def read_ids(value: JsonValue) -> tuple[int, ...] | None:
    """A list of token ids; None where a value is none."""
    if not isinstance(value, list):
        return None
    # `type`, not isinstance: true is an int to Python and no id to anybody.
    if not {type(item) for item in value} <= {int}:
        return None
    ids = cast(list[int], value)
    return tuple(ids) if not ids or (min(ids) >= 0 and max(ids) < 2**32) else None


def read_logprobs(value: JsonValue) -> tuple[float, ...] | None:
    """The log-probs of a choice's `logprobs`, token by token; None where one is missing."""
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list):
        return None
    found = [item.get("logprob") for item in content if isinstance(item, dict)]
    numbers = tuple(float(item) for item in found if isinstance(item, int | float))
    return numbers if len(numbers) == len(content) else None


def _bytes(ids: Sequence[int]) -> bytes:
    return array("I", ids).tobytes()
