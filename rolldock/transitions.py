"""Whether each turn's tokens go on where those of its parent ended, and by how much they miss it.

A fork costs a second sample, and the prefix again; why it came about is not decided here.
"""

from collections.abc import Sequence

from rolldock.chains import TokenChains
from rolldock.models.trace import Transition


def transitions(chains: TokenChains) -> list[Transition]:
    """One for every turn with a parent where both have token ids, in the order of the turns."""
    return [
        Transition(
            slot=turn.slot,
            parent=turn.parent,
            drift_tokens=_drift(chains, turn.slot, turn.parent),
        )
        for turn in chains.turns
        if turn.parent is not None and turn.slot in chains and turn.parent in chains
    ]


def _drift(chains: TokenChains, slot: int, parent: int) -> int:
    """The parent's tokens less those that the prompt begins with."""
    own, theirs = chains.chain(slot)[:-1], chains.chain(parent)
    n_same = 0
    for ours, other in zip(own, theirs, strict=False):
        if ours != other:
            break
        n_same += 1
    missing = chains.sequence(theirs[n_same:])
    if not missing:
        return 0
    prompt = (*chains.sequence(own[n_same:]), *chains.tokens(slot).prompt_ids)
    return len(missing) - _common(missing, prompt)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the longest common prefix, by halving: slices compare without a loop here."""
    equal, bound = 0, min(len(one), len(other))
    while equal < bound:
        middle = (equal + bound + 1) // 2
        if one[equal:middle] == other[equal:middle]:
            equal = middle
        else:
            bound = middle - 1
    return equal
