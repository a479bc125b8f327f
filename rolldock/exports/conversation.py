"""A branch as one conversation: what was said to the model, and its answers as they were recorded.

In chat form, whatever the agent spoke. What a format makes of it is not decided here.
"""

from collections.abc import Iterator

from pydantic import JsonValue

from rolldock.exports.branches import Branch
from rolldock.exports.material import Recorded
from rolldock.models.turn import Turn


def conversation(recorded: Recorded, branch: Branch) -> Iterator[tuple[list[JsonValue], Turn]]:
    """For every turn of a branch: the messages that its request adds, and the turn.

    What the agent repeats of the turn before (its request, and the answer as the agent wrote it
    down) is left out: that turn says it already.
    """
    before: list[JsonValue] = []
    for turn in branch.turns:
        whole = recorded.calls.messages(turn.slot)
        # A request that names its predecessor by id repeats nothing of it.
        repeats = turn.parent is not None and len(whole) > len(before)
        yield whole[len(before) + 1 :] if repeats else whole, turn
        before = whole


def messages(recorded: Recorded, branch: Branch) -> list[JsonValue]:
    """A branch as a list of chat messages that ends with the model's last answer."""
    said: list[JsonValue] = []
    for news, turn in conversation(recorded, branch):
        said += [*news, turn.message]
    return said
