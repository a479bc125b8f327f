"""`rolldock cancel`: asks for the end of rollouts and leaves the rest to their workflows."""

import typer

from rolldock.cli.connection import connected
from rolldock.cli.text import plain

_RUNNING = "running"


async def cancel(rollouts: list[str]) -> int:
    """Cancel each that runs; say so of one that has ended.

    Raises:
        UsageError: there is no such rollout; none was cancelled then.
    """
    async with connected() as client:
        statuses = [await client.handle(rollout).status() for rollout in rollouts]
        for status in statuses:
            if status.state != _RUNNING:
                typer.echo(plain(f"{status.id}: has ended already ({status.state})"))
                continue
            await client.handle(status.id).cancel()
            typer.echo(plain(f"{status.id}: cancel asked for; `rolldock show {status.id}`"))
    return 0
