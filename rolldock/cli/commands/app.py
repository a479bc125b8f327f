"""Every subcommand under its name. Loads no action: each command imports its own when it runs."""

import typer

from rolldock.cli.commands import (
    agents,
    endpoints,
    export,
    gc,
    inspect,
    replay,
    rollouts,
    sandboxes,
    stack,
    view,
)

app = typer.Typer(
    name="rolldock",
    help="Durable agent rollouts: tasks in Harbor format, any agent, sandboxes, every token kept.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(stack.up)
app.command()(stack.init)
app.command()(stack.gateway)
app.command()(stack.sandboxd)
app.command()(stack.tunnel)
app.command()(rollouts.run)
app.command()(rollouts.ls)
app.command()(rollouts.show)
app.command()(rollouts.trace)
app.command()(rollouts.cancel)
app.command()(replay.replay)
app.command()(export.export)
app.command()(inspect.stats)
app.command()(inspect.watch)
app.command()(inspect.logs)
app.command()(view.view)
app.command()(sandboxes.sandboxes)
app.command()(sandboxes.reap)
app.command()(sandboxes.delete)
app.command()(gc.gc)
app.add_typer(endpoints.app, name="endpoint")
app.add_typer(agents.app, name="agents")
