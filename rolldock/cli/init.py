"""`rolldock init`: what an installation needs once."""

from datetime import timedelta

import typer

from rolldock.cli.stack.home import keep_secret
from rolldock.settings import Settings
from rolldock.trainer.connection import add_attributes, connect_temporal
from rolldock.trainer.schedule import schedule_reaper


async def init() -> int:
    """Make the secret, register the search attributes, schedule the reaper."""
    settings = Settings.load()
    if settings.secret is None:
        _, drawn = keep_secret(settings.secret_file)
        typer.echo(f"secret: {settings.secret_file} ({'made' if drawn else 'there already'})")
    else:
        typer.echo("secret: ROLLDOCK_SECRET")
    temporal = await connect_temporal(settings)
    added = await add_attributes(temporal)
    what = f"added {', '.join(added)}" if added else "there already"
    typer.echo(f"search attributes at {settings.temporal_address}: {what}")
    made = await schedule_reaper(temporal, timedelta(minutes=settings.reap_every_minutes))
    every = f"every {settings.reap_every_minutes:g} minutes"
    typer.echo(f"reaper: {every} ({'made' if made else 'there already'})")
    return 0
