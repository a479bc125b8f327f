"""`rolldock sandboxes` and `rolldock delete`: what is alive at the sandbox API, and whose it is.

Deletes only what a person names.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import typer

from rolldock.cli.connection import connected
from rolldock.cli.console import cells, print_table, table
from rolldock.cli.reap import judged_table
from rolldock.cli.text import plain
from rolldock.errors import StageError, UnavailableError
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.labels import Ownership
from rolldock.trainer.client import Client
from rolldock.trainer.housekeeping import OwnedSandbox

_ANSWER_SECONDS: Final = 30.0


async def sandboxes(*, as_json: bool) -> int:
    """Every living sandbox that the key can see."""
    async with connected() as client, _answering(client):
        alive = await client.sandboxes()
    if as_json:
        for found in alive:
            typer.echo(found.model_dump_json())
        return 0
    made = table(("sandbox", "status", "whose", "rollout", "run", "attempt", "created"))
    for found in alive:
        sandbox, owner = found.sandbox, found.sandbox.owner
        made.add_row(
            *cells(sandbox.id, sandbox.status, _whose(found), owner.rollout, owner.run),
            *cells(owner.attempt, f"{sandbox.created_at:%Y-%m-%d %H:%M:%S}"),
        )
    print_table(made)
    return 0


async def leaked(*, as_json: bool) -> int:
    """Ours that belong to no open rollout, or to none that can be told: what a sweep would look at.

    Exit code 1 where there are any.
    """
    async with connected() as client, _answering(client):
        found = await client.leaked()
    if as_json:
        for one in found:
            typer.echo(one.model_dump_json())
    elif found:
        print_table(judged_table(found))
    else:
        typer.echo("no sandbox of this deployment is leaked")
    return 1 if found else 0


async def delete(sandbox_ids: list[str], *, foreign: bool) -> int:
    """Delete each by its id.

    Raises:
        UsageError: one is not alive, belongs to an open rollout, or is another deployment's.
    """
    async with connected() as client, _answering(client):
        for sandbox_id in sandbox_ids:
            await client.delete_sandbox(sandbox_id, foreign=foreign)
            typer.echo(plain(f"{sandbox_id}: deletion asked for"))
    return 0


async def check_sandbox_api(client: Client) -> None:
    """Whether a rollout could have a sandbox at all, by one small request.

    Raises:
        UnavailableError: the API does not answer, or refuses the key.
    """
    settings = client.settings
    async with (
        _answering(client),
        Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as api,
    ):
        await api.count(Ownership(deployment=client.deployment))


def _whose(found: OwnedSandbox) -> str:
    if found.ours:
        return "ours"
    deployment = found.sandbox.owner.deployment
    return "not Rolldock's" if deployment is None else f"deployment {deployment}"


@asynccontextmanager
async def _answering(client: Client) -> AsyncGenerator[None, None]:
    """A server that accepts and says nothing would hold a command for minutes of retries."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            yield
    except StageError as error:
        raise _unavailable(client, str(error)) from error
    except TimeoutError as error:
        why = f"no answer in {_ANSWER_SECONDS:g} s"
        raise _unavailable(client, why) from error


def _unavailable(client: Client, why: str) -> UnavailableError:
    where = client.settings.prime_api_base_url or "Prime"
    return UnavailableError(
        f"no sandboxes at {where} ({why}): start a local server with `rolldock up`, or set "
        "PRIME_API_BASE_URL and PRIME_API_KEY"
    )
