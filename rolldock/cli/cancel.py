"""`rolldock cancel`: asks for the end of rollouts and leaves the rest to their workflows."""

import typer

from rolldock.cli.connection import connected
from rolldock.cli.text import plain
from rolldock.errors import UsageError

_RUNNING = "running"


async def cancel(rollouts: list[str]) -> int:
    """Cancel each that runs; say so of one that has ended.

    Raises:
        UsageError: there is no such rollout; the others were cancelled.
    """
    unknown: list[UsageError] = []
    async with connected() as client:
        for rollout in rollouts:
            try:
                status = await client.handle(rollout).status()
            except UsageError as error:
                unknown.append(error)
                continue
            if status.state != _RUNNING:
                typer.echo(plain(f"{status.id}: has ended already ({status.state})"))
                continue
            await client.handle(status.id).cancel()
            typer.echo(plain(f"{status.id}: cancel asked for; `rolldock show {status.id}`"))
    if unknown:
        raise UsageError("; ".join(str(error) for error in unknown))
    return 0
