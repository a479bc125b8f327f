"""The agent of the task `long-wait`: it waits in its sandbox until it is let go, then calls on."""

import asyncio
from pathlib import Path
from typing import Final

from rolldock.cli.stack.programs import CHECKOUT
from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes
from rolldock.trainer.client import Client
from tests.rollouts import alive

LONG_WAIT: Final[Path] = CHECKOUT / "tests" / "tasks" / "long-wait"
LET_GO: Final = "touch /tmp/go"


async def waiting(
    client: Client, sandboxes: Sandboxes, rollout: str, not_this: str = "", then: str = "true"
) -> tuple[str, str]:
    """The attempt whose agent waits and its sandbox, once it does; a command is run there.

    Args:
        not_this: an attempt that is not meant.
    """
    while True:
        for one in await alive(client, rollout):
            if str(one.owner.attempt) == not_this or one.status != "RUNNING":
                continue
            command = f"test -e /tmp/waiting && {then}"
            try:
                done = await sandboxes.run(
                    one.id, command, timeout_seconds=10, otherwise=Cause.INTERNAL
                )
            except StageError:
                continue  # it was deleted meanwhile
            if done.exit_code == 0:
                return str(one.owner.attempt), one.id
        await asyncio.sleep(0.05)
