"""The branches of a trace: one for every turn that no other continues, from its root.

Follows `parent`, which is what a reader sees; token sequences follow `extends`, elsewhere.
"""

from dataclasses import dataclass

from rolldock.models.trace import Trace
from rolldock.models.turn import Turn


@dataclass(frozen=True)
class Branch:
    """A path through the turns of a trace."""

    turns: tuple[Turn, ...]
    """From the root to the leaf."""
    n_copied: int
    """So many of the first turns belong to a branch that is listed before."""
    auxiliary: bool
    """It ends in a call beside the agent's conversation."""

    @property
    def leaf(self) -> int:
        """The slot of its last turn, which no other branch ends in."""
        return self.turns[-1].slot

    @property
    def own(self) -> tuple[Turn, ...]:
        """The turns that no branch before this one has."""
        return self.turns[self.n_copied :]


def branches(trace: Trace) -> tuple[Branch, ...]:
    """All branches: first the main one, then the others in the order of their first own turns.

    The main one ends in the newest turn that is not auxiliary: agents that delegate, or that go on
    from a summary, have their last word in their own conversation.
    """
    by_slot = {turn.slot: turn for turn in trace.turns}
    parents = {turn.parent for turn in trace.turns}
    beside = set(trace.auxiliary)
    leaves = sorted(slot for slot in by_slot if slot not in parents)
    if not leaves:
        return ()
    main = max((slot for slot in leaves if slot not in beside), default=leaves[-1])
    seen: set[int] = set()
    found = [_branch(main, by_slot, seen, main in beside)]
    for leaf in leaves:
        if leaf != main:
            found.append(_branch(leaf, by_slot, seen, leaf in beside))
    return (found[0], *sorted(found[1:], key=lambda branch: branch.own[0].slot))


def _branch(leaf: int, by_slot: dict[int, Turn], seen: set[int], auxiliary: bool) -> Branch:
    path = [by_slot[leaf]]
    while (parent := path[-1].parent) is not None and parent in by_slot:
        path.append(by_slot[parent])
    turns = tuple(reversed(path))
    n_copied = sum(turn.slot in seen for turn in turns)
    seen.update(turn.slot for turn in turns)
    return Branch(turns, n_copied, auxiliary)
