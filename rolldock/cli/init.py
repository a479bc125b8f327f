"""`rolldock init`: what an installation needs once."""

import typer

from rolldock.cli.stack.home import keep_secret
from rolldock.settings import Settings
from rolldock.trainer.connection import add_attributes, connect_temporal


async def init() -> int:
    """Make the secret, then register the search attributes."""
    settings = Settings.load()
    if settings.secret is None:
        _, drawn = keep_secret(settings.secret_file)
        typer.echo(f"secret: {settings.secret_file} ({'made' if drawn else 'there already'})")
    else:
        typer.echo("secret: ROLLDOCK_SECRET")
    added = await add_attributes(await connect_temporal(settings))
    what = f"added {', '.join(added)}" if added else "there already"
    typer.echo(f"search attributes at {settings.temporal_address}: {what}")
    return 0
