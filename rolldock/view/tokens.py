"""The sampled tokens of one turn with their log-probs, for whoever asks for them."""

import math
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from rolldock.gateway.logprob_columns import unfold
from rolldock.models.base import JsonObject
from rolldock.models.turn import Tokens, Turn


@dataclass(frozen=True)
class TokenShown:
    """One sampled token."""

    number: int
    id: int
    text: str | None
    """As the model server wrote it; None: it did not."""
    logprob: float | None

    @property
    def percent(self) -> float | None:
        """How probable it was."""
        return None if self.logprob is None else 100 * math.exp(min(0.0, self.logprob))

    @property
    def tenth(self) -> int | None:
        """The same in tenths, 0 to 9, for its colour."""
        percent = self.percent
        return None if percent is None else min(9, int(percent // 10))


def tokens_of(turn: Turn) -> list[TokenShown]:
    """The sampled tokens of a turn; none where it has no ids."""
    tokens = turn.tokens
    if tokens is None:
        return []
    texts = _texts(turn, tokens)
    return [
        TokenShown(
            number,
            id,
            texts[number] if number < len(texts) else None,
            tokens.logprobs[number] if number < len(tokens.logprobs) else None,
        )
        for number, id in enumerate(tokens.completion_ids)
    ]


def _texts(turn: Turn, tokens: Tokens) -> list[str | None]:
    """The tokens' texts, where the reply has them in the form of chat completions."""
    content = _logprob_content(turn.reply.fields)
    try:
        entries = unfold(content, tokens.completion_ids, tokens.logprobs)
    except (KeyError, TypeError, ValueError, IndexError):
        return []
    if not isinstance(entries, list) or len(entries) != len(tokens.completion_ids):
        return []
    found = [entry.get("token") if isinstance(entry, dict) else None for entry in entries]
    return [text if isinstance(text, str) else None for text in found]


def _logprob_content(reply: JsonObject) -> JsonValue:
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    logprobs = choices[0].get("logprobs")
    return cast(JsonObject, logprobs).get("content") if isinstance(logprobs, dict) else None
