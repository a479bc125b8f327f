"""What an agent is told of its deadline: a line below the instruction, and a variable.

One that ends in time leaves its work whole; one that is stopped may not.
"""

from datetime import UTC, datetime
from typing import Final

from rolldock.models.base import Contract

DEADLINE_VARIABLE: Final = "ROLLDOCK_DEADLINE"
_FILE: Final = "/tmp/rolldock-instruction.md"


class ToldDeadline(Contract):
    """An instruction that names the time."""

    file: str
    content: str
    env: dict[str, str]


def told_deadline(instruction: str, deadline: datetime) -> ToldDeadline:
    """The instruction with one line more, in a file beside the task's own."""
    seconds = int(deadline.timestamp())
    at = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    line = (
        f"You have until {at} (`date +%s` = {seconds}): whatever is done by then is judged, "
        "and you are stopped."
    )
    return ToldDeadline(
        file=_FILE,
        content=f"{instruction.rstrip()}\n\n{line}\n",
        env={DEADLINE_VARIABLE: str(seconds)},
    )
