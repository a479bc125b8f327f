"""The turns of a session as a tree along `parent`: paths, leaves, and its outline."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rolldock.models.turn import Turn


@dataclass(frozen=True)
class Segment:
    """Turns that follow each other without a fork between them."""

    depth: int
    """How many forks lie before it."""
    slots: tuple[int, ...]
    first: int
    """The place of its first turn on its branch, counted from 0."""
    leaf: int
    """The end of the branch that it belongs to; of several, the newest."""
    is_end: bool
    """Whether the branch ends with it."""


class Tree:
    """The turns of one session by their slots.

    A turn whose parent is not among them, as in a log that is still written, begins a branch.
    """

    def __init__(self, turns: Iterable[Turn], auxiliary: Collection[int] = ()) -> None:
        self.turns = {turn.slot: turn for turn in sorted(turns, key=lambda turn: turn.slot)}
        self._auxiliary = frozenset(auxiliary)
        self._parents: dict[int, int | None] = {}
        self._children: dict[int | None, list[int]] = {}
        self._depths: dict[int, int] = {}
        for slot, turn in self.turns.items():
            parent = turn.parent
            # A parent is older: anything else is a damaged record, and would lead in circles.
            known = parent is not None and parent < slot and parent in self.turns
            self._parents[slot] = parent if known else None
            self._children.setdefault(self._parents[slot], []).append(slot)
            self._depths[slot] = self._depths[parent] + 1 if known and parent is not None else 0

    @property
    def leaves(self) -> list[int]:
        """The slots that no turn continues, in their order."""
        return [slot for slot in self.turns if slot not in self._children]

    @property
    def main_end(self) -> int | None:
        """The end of the conversation, which a replay takes too: the newest turn that is not
        beside it; None: there is no turn."""
        return max(self.turns, key=self._rank, default=None)

    def position(self, slot: int) -> int:
        """How many turns lie before one on its branch."""
        return self._depths[slot]

    def parent(self, slot: int) -> int | None:
        """The turn before one on its branch."""
        return self._parents[slot]

    def siblings(self, slot: int) -> list[int]:
        """The other turns that continue the same turn; of a first turn none."""
        parent = self._parents[slot]
        if parent is None:
            return []
        return [other for other in self._children[parent] if other != slot]

    def path(self, leaf: int) -> list[int]:
        """The slots from the first turn of a branch to its end."""
        found: list[int] = []
        at: int | None = leaf
        while at is not None:
            found.append(at)
            at = self._parents[at]
        return found[::-1]

    def best_leaf(self, slot: int) -> int:
        """The end of the newest branch through a turn; auxiliary ones come last."""
        return self._best_leaves()[slot]

    def outline(self) -> list[Segment]:
        """All segments, each after the one that it continues."""
        best = self._best_leaves()
        found: list[Segment] = []
        waiting = [(root, 0) for root in reversed(self._children.get(None, []))]
        while waiting:
            slot, depth = waiting.pop()
            slots = [slot]
            while len(after := self._children.get(slots[-1], [])) == 1:
                slots.append(after[0])
            found.append(
                Segment(depth, tuple(slots), self._depths[slot], best[slots[-1]], not after)
            )
            waiting += [(child, depth + 1) for child in reversed(after)]
        return found

    def _best_leaves(self) -> dict[int, int]:
        best: dict[int, int] = {}
        for slot in reversed(self.turns):
            ends = [best[child] for child in self._children.get(slot, ())]
            best[slot] = max(ends, key=self._rank, default=slot)
        return best

    def _rank(self, slot: int) -> tuple[bool, int]:
        return slot not in self._auxiliary, slot
