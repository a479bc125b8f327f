"""Token ids and log-probs as the engine gave them, stored as what follows an earlier turn.

A turn extends an earlier one if its prompt begins with exactly that turn's prompt and completion.
Nothing is tokenised here, and nothing is guessed.
"""

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from rolldock.models.base import JsonObject
from rolldock.models.turn import Tokens, TokenSource

PROMPT_IDS: Final = "prompt_token_ids"
COMPLETION_IDS: Final = "token_ids"


@dataclass(frozen=True, slots=True)
class EngineTokens:
    """The whole prompt and completion of one call."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


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
            source=TokenSource.ENGINE,
            extends=extends,
            prompt_ids=tokens.prompt_ids[length:],
            completion_ids=tokens.completion_ids,
            logprobs=tokens.logprobs,
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


def read_tokens(reply: JsonObject) -> EngineTokens | None:
    """The ids and log-probs of a reply; None where they are missing or differ in length."""
    choice = first_choice(reply)
    prompt = _integers(reply.get(PROMPT_IDS))
    completion = _integers(choice.get(COMPLETION_IDS))
    logprobs = _logprobs(choice.get("logprobs"))
    if prompt is None or completion is None or logprobs is None:
        return None
    if len(completion) != len(logprobs):
        return None
    return EngineTokens(prompt, completion, logprobs)


def without_ids(reply: JsonObject) -> JsonObject:
    """A reply whose id lists are null, to be stored beside the `Tokens` that hold them."""
    return _with_lists(reply, None, None)


def with_ids(reply: JsonObject, tokens: EngineTokens) -> JsonObject:
    """The inverse of `without_ids`."""
    return _with_lists(reply, list(tokens.prompt_ids), list(tokens.completion_ids))


def _with_lists(reply: JsonObject, prompt: JsonValue, completion: JsonValue) -> JsonObject:
    """A reply with these id lists, each in its place."""
    first: JsonObject = {**first_choice(reply), COMPLETION_IDS: completion}
    choices = reply.get("choices")
    rest: list[JsonValue] = choices[1:] if isinstance(choices, list) else []
    return {**reply, PROMPT_IDS: prompt, "choices": [first, *rest]}


def first_choice(reply: JsonObject) -> JsonObject:
    """The first choice of a chat completion; empty where there is none."""
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _integers(value: JsonValue) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    # `type`, not isinstance: true is an int to Python and no id to anybody.
    ids = tuple(item for item in value if type(item) is int and 0 <= item < 2**32)
    return ids if len(ids) == len(value) else None


def _logprobs(value: JsonValue) -> tuple[float, ...] | None:
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list):
        return None
    found = [item.get("logprob") for item in content if isinstance(item, dict)]
    numbers = tuple(float(item) for item in found if isinstance(item, int | float))
    return numbers if len(numbers) == len(content) else None


def _bytes(ids: Sequence[int]) -> bytes:
    return array("I", ids).tobytes()
