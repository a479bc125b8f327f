"""Which turns stand beside an agent's conversation: titles, summaries, sub-agents.

Each agent's file has a rule for the request that begins such a call; what continues it belongs to
it. What becomes of them is the spec's to say (`rolldock/samples.py`).
"""

import json
from collections.abc import Callable, Iterable
from typing import TypeAlias

from pydantic import JsonValue

from rolldock.models.turn import Turn

AuxiliaryRule: TypeAlias = Callable[[Turn], bool]


def auxiliary_slots(turns: Iterable[Turn], rule: AuxiliaryRule | None) -> frozenset[int]:
    """The slots of the turns that the rule names, and of those that continue them.

    Args:
        turns: of one session, by slot.
        rule: None: the agent makes no such calls that are known.
    """
    if rule is None:
        return frozenset()
    found: set[int] = set()
    for turn in turns:
        if turn.parent in found or rule(turn):
            found.add(turn.slot)
    return frozenset(found)


def system_says(turn: Turn, words: str) -> bool:
    """Whether a conversation begins with a system prompt that has these words."""
    first = turn.messages[0] if turn.parent is None and turn.messages else None
    return isinstance(first, dict) and first.get("role") == "system" and _says(first, words)


def last_says(turn: Turn, words: str) -> bool:
    """Whether the last message of a request, which is the user's, has these words."""
    last = turn.messages[-1] if turn.messages else None
    return isinstance(last, dict) and last.get("role") == "user" and _says(last, words)


def _says(message: dict[str, JsonValue], words: str) -> bool:
    return words in json.dumps(message.get("content"), ensure_ascii=False)
