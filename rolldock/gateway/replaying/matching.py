"""Which recorded answer a request gets: the rule, over what is left of a recording. Pure.

Two agents that run side by side never swap answers: of several recorded requests that fit, the one
of which most is the same to the letter comes first, then the one whose place in the conversation is
the same.
"""

from collections.abc import Collection, Iterator

from rolldock.gateway.replaying.fingerprints import Fingerprint
from rolldock.gateway.replaying.recording import Recorded, Recording


def find_answer(
    recording: Recording,
    unused: Collection[int],
    asked: Fingerprint,
    request_digest: str,
    parent: int | None,
) -> int | None:
    """The slot of the recorded answer; None: this was not recorded, or cannot be told apart.

    Args:
        unused: the recorded slots that may still be played.
        request_digest: of the request as its claim has it.
        parent: the recorded turn whose answer the request continues; None: it continues none.
    """
    left = [recording.entries[slot] for slot in sorted(unused)]
    same = [entry for entry in left if _is_same(entry, asked, request_digest)]
    if same:
        return min(same, key=lambda entry: _distance(entry, asked, parent)).slot
    near = [
        entry.slot
        for entry in _children(recording, unused, parent)
        if entry.fingerprint is not None
        and entry.fingerprint.frame == asked.frame
        and entry.fingerprint.in_place == asked.in_place
    ]
    return near[0] if len(near) == 1 else None


def find_nearest(
    recording: Recording, unused: Collection[int], asked: Fingerprint, parent: int | None
) -> int | None:
    """The turn that a diverged request was probably meant to be; None: no turn was left."""
    near = list(_children(recording, unused, parent))
    framed = [entry for entry in near if _frame(entry) == asked.frame]
    for found in (framed, near):
        if found:
            return found[0].slot
    return None


def _is_same(entry: Recorded, asked: Fingerprint, request_digest: str) -> bool:
    if entry.fingerprint is None:
        return entry.request_digest == request_digest
    return entry.fingerprint.by_form == asked.by_form


def _distance(entry: Recorded, asked: Fingerprint, parent: int | None) -> tuple[int, bool, int]:
    """How much of the request is other than to the letter, then where it stands, then when."""
    n_other = 0 if entry.fingerprint is None else len(asked.parts - entry.fingerprint.parts)
    return (n_other, entry.parent != parent, entry.slot)


def _children(
    recording: Recording, unused: Collection[int], parent: int | None
) -> Iterator[Recorded]:
    for slot in recording.children[parent]:
        if slot in unused:
            yield recording.entries[slot]


def _frame(entry: Recorded) -> bytes | None:
    return None if entry.fingerprint is None else entry.fingerprint.frame
