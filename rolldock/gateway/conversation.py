"""Which earlier turn a request continues, and how much of that turn's request it repeats.

Parents are found by canonical messages, so that an agent may write its history down again in
another form; what is stored anew is decided by the exact JSON. Token prefixes are another matter:
`engine_tokens.py`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson
from pydantic import JsonValue

from rolldock.models.base import JsonObject
from rolldock.models.turn import Turn

Canonical: TypeAlias = Callable[[JsonValue], bytes]
"""What stays of a message however an agent writes it down."""

_DIGEST_BYTES: Final = 16

_ROOT: Final = bytes(_DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a request stands in its session."""

    parent: int | None
    n_shared: int
    """Leading messages that the parent's request has too, byte for byte."""
    exact: tuple[bytes, ...]
    """Rolling digests of the messages' JSON: equal at n, equal up to n."""
    native: tuple[bytes, ...] = ()
    """The same of the items as the agent's own format writes them; none where that is chat's."""
    n_shared_native: int = 0


class Conversation:
    """The turns of one session, as a tree that grows."""

    def __init__(self, canonical: Canonical) -> None:
        self._canonical = canonical
        self._of_exact: dict[bytes, bytes] = {_ROOT: _ROOT}
        self._requests: dict[int, Placement] = {}
        self._ends: dict[bytes, list[int]] = {}
        self._call_ids: dict[int, frozenset[str]] = {}
        self._of_reply: dict[str, int] = {}

    def place(
        self,
        messages: Sequence[JsonValue],
        items: Sequence[JsonValue] = (),
        continues: str | None = None,
    ) -> Placement:
        """Find the parent of a request: the longest match, among equals the latest.

        Equals that differ in the ids of their tool calls are told apart by those. `items` are
        the same conversation in a format of the agent's own. A request that `continues` a reply by
        its id has nothing of what came before.
        """
        exact, native = self._roll(_ROOT, messages), _rolled(_ROOT, items)
        if continues is not None:
            return Placement(self._of_reply.get(continues), 0, exact, native)
        for length in range(len(messages), 0, -1):
            slots = self._ends.get(self._of_exact[exact[length - 1]])
            if slots:
                parent = self._same_call_ids(slots, messages[length - 1])
                before = self._requests[parent]
                return Placement(
                    parent,
                    _n_equal(exact, before.exact),
                    exact,
                    native,
                    _n_equal(native, before.native),
                )
        return Placement(None, 0, exact, native)

    def restore(self, turn: Turn) -> Placement:
        """The placement of a stored turn, from the messages that its parent does not have."""
        before = None if turn.parent is None else self._requests[turn.parent]
        shared = () if before is None else before.exact[: turn.n_shared]
        exact = shared + self._roll(shared[-1] if shared else _ROOT, turn.messages)
        if turn.native is None:
            return Placement(turn.parent, turn.n_shared, exact)
        n_native = turn.native.n_shared
        same = () if before is None else before.native[:n_native]
        native = same + _rolled(same[-1] if same else _ROOT, turn.native.items)
        return Placement(turn.parent, turn.n_shared, exact, native, n_native)

    def add(
        self, slot: int, placement: Placement, message: JsonObject, reply: JsonValue = None
    ) -> None:
        """Take up a turn, so that later requests may continue it; `reply` is its reply's id."""
        if isinstance(reply, str):
            self._of_reply[reply] = slot
        last = placement.exact[-1] if placement.exact else _ROOT
        end = _digest(self._of_exact[last], self._canonical(message))
        self._requests[slot] = placement
        self._ends.setdefault(end, []).append(slot)
        self._call_ids[slot] = tool_call_ids(message)

    def _roll(self, start: bytes, messages: Sequence[JsonValue]) -> tuple[bytes, ...]:
        rolled: list[bytes] = []
        before = start
        for message in messages:
            after = _digest(before, orjson.dumps(message))
            if after not in self._of_exact:
                canonical = _digest(self._of_exact[before], self._canonical(message))
                self._of_exact[after] = canonical
            rolled.append(after)
            before = after
        return tuple(rolled)

    def _same_call_ids(self, slots: list[int], message: JsonValue) -> int:
        asked = tool_call_ids(message)
        same = [slot for slot in slots if self._call_ids[slot] == asked]
        return max(same or slots)


def tool_call_ids(message: JsonValue) -> frozenset[str]:
    """The ids of an assistant message's tool calls."""
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not isinstance(calls, list):
        return frozenset()
    found = [call.get("id") for call in calls if isinstance(call, dict)]
    return frozenset(call for call in found if isinstance(call, str))


def _rolled(start: bytes, items: Sequence[JsonValue]) -> tuple[bytes, ...]:
    rolled: list[bytes] = []
    before = start
    for item in items:
        before = _digest(before, orjson.dumps(item))
        rolled.append(before)
    return tuple(rolled)


def _n_equal(ours: tuple[bytes, ...], theirs: tuple[bytes, ...]) -> int:
    """How many leading digests are the same."""
    equal = 0
    for own, other in zip(ours, theirs, strict=False):
        if own != other:
            break
        equal += 1
    return equal


def _digest(before: bytes, content: bytes) -> bytes:
    # Processors have instructions for SHA-256, and none for BLAKE2.
    return hashlib.sha256(before + content).digest()[:_DIGEST_BYTES]
