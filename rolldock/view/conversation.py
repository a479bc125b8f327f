"""A branch of a session as a conversation: of each turn only what its parent has not.

Tool calls stand with their results, although those come with the request after them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from rolldock.models.session import TurnError
from rolldock.models.turn import Turn
from rolldock.view.branches import Tree
from rolldock.view.library import Recorded
from rolldock.view.messages import Call, Said, read_message


@dataclass(frozen=True)
class CallShown:
    """A tool call and what came back."""

    call: Call
    result: Said | None
    """None: the agent sent none, or has not yet."""


@dataclass(frozen=True)
class TurnShown:
    """A turn as the page shows it."""

    turn: Turn
    number: int
    """On its branch, counted from 1, as `rolldock replay --turn` counts."""
    news: tuple[Said, ...]
    """What the agent added to the conversation, less the results of tool calls shown above."""
    reply: Said
    calls: tuple[CallShown, ...]
    siblings: tuple[int, ...]
    """Other turns that continue the same turn."""
    auxiliary: bool
    delivered: bool
    begins_after_seconds: float
    """From the session's first call to this one."""

    @property
    def seconds(self) -> float:
        """From the request to the whole reply."""
        return (self.turn.ended_at - self.turn.started_at).total_seconds()


def converse(
    recorded: Recorded, tree: Tree, path: Sequence[int], part: range | None = None
) -> list[TurnShown]:
    """The turns of a path, or of a part of it, in its order.

    A result stands with its call where the path goes on after it, else among the news.
    """
    lengths = _lengths(tree)
    trace = recorded.trace
    began = min((turn.started_at for turn in trace.turns), default=None)
    shown: list[TurnShown] = []
    for place in range(len(path)) if part is None else part:
        slot = path[place]
        turn = tree.turns[slot]
        after = tree.turns[path[place + 1]] if place + 1 < len(path) else None
        answered = _call_ids(tree.turns[path[place - 1]]) if place else frozenset[str]()
        results = _results(_news(after, lengths) if after is not None else ())
        reply = read_message(turn.message)
        news = map(read_message, _news(turn, lengths))
        shown.append(
            TurnShown(
                turn=turn,
                number=tree.position(slot) + 1,
                news=tuple(said for said in news if said.answers not in answered),
                reply=reply,
                calls=tuple(CallShown(call, results.get(call.id)) for call in reply.calls),
                siblings=tuple(tree.siblings(slot)),
                auxiliary=slot in trace.auxiliary,
                delivered=slot in trace.delivered,
                begins_after_seconds=_since(began, turn.started_at),
            )
        )
    return shown


def with_errors(
    turns: Sequence[TurnShown], errors: Iterable[TurnError], from_slot: int, to_slot: int | None
) -> list[TurnShown | TurnError]:
    """Turns and the errors between two slots in one order; which branch an error was on is not
    recorded, so every branch shows it."""
    among = [
        error
        for error in errors
        if from_slot <= error.slot and (to_slot is None or error.slot < to_slot)
    ]
    return sorted([*turns, *among], key=_slot)


def _slot(entry: TurnShown | TurnError) -> int:
    return entry.slot if isinstance(entry, TurnError) else entry.turn.slot


def _since(began: datetime | None, at: datetime) -> float:
    return 0.0 if began is None else (at - began).total_seconds()


def _lengths(tree: Tree) -> dict[int, int]:
    """How many messages each turn's whole request has."""
    return {
        slot: (turn.n_shared if tree.parent(slot) is not None else 0) + len(turn.messages)
        for slot, turn in tree.turns.items()
    }


def _news(turn: Turn, lengths: dict[int, int]) -> tuple[JsonValue, ...]:
    """What the agent added: neither its parent's messages, which it may have written down again,
    nor its parent's reply."""
    if turn.parent is None or turn.parent not in lengths:
        return turn.messages
    known = max(0, lengths[turn.parent] - turn.n_shared)
    if known < len(turn.messages) and _is_assistant(turn.messages[known]):
        return turn.messages[known + 1 :]
    # The request named the reply that it continues, and repeated nothing.
    return turn.messages


def _is_assistant(message: JsonValue) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _call_ids(turn: Turn) -> frozenset[str]:
    ids = (call.id for call in read_message(turn.message).calls)
    return frozenset(id for id in ids if id is not None)


def _results(messages: Iterable[JsonValue]) -> dict[str | None, Said]:
    said = map(read_message, messages)
    return {one.answers: one for one in said if one.answers is not None}
