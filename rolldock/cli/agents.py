"""`rolldock agents install`, `push`, `dockerfile`, `ls`."""

import platform
from pathlib import Path

import typer

from rolldock.agents.agent import Agent
from rolldock.agents.command import COMMAND
from rolldock.agents.registry import agent_names, agent_of, get_agent
from rolldock.cli.agent_image import dockerfile_of
from rolldock.cli.asked_agent import asked_agent
from rolldock.cli.console import cells, print_table, table
from rolldock.cli.install import install_agent, is_installed
from rolldock.cli.stack.home import local_store
from rolldock.errors import UsageError
from rolldock.models.agent_archive import AgentArchive, machine_name
from rolldock.sandbox.agent_archive import build_of
from rolldock.settings import Settings
from rolldock.store import agent_archives
from rolldock.store.store import Store

_MEGABYTE = 1_000_000


async def install(names: list[str], config: Path | None = None) -> int:
    """Install each `NAME[@VERSION]` into the cache, which leaves alone what is there already."""
    cache = Settings.load().agent_cache
    for agent in [_named(name, config) for name in names]:
        _install(agent, cache)
    return 0


async def push(names: list[str], config: Path | None = None) -> int:
    """Put each `NAME[@VERSION]` into the store, installed first where it is not."""
    settings = Settings.load()
    store = Store.open(settings.store)
    for agent in [_named(name, config) for name in names]:
        title = f"{agent.name} {agent.version}"
        if agent.install is None:
            typer.echo(f"{title}: nothing to push, each sandbox gets what it needs", err=True)
            continue
        build = build_of(agent, machine_name(platform.system(), platform.machine()))
        if await agent_archives.find(store, build):
            typer.echo(f"{title}: in {store.where} already", err=True)
            continue
        home = _install(agent, settings.agent_cache)
        typer.echo(f"packing {title} into {store.where}", err=True)
        await agent_archives.push(store, home, build)
    return 0


async def dockerfile(names: list[str], image: str, config: Path | None = None) -> int:
    """Print a Dockerfile of `image` with each `NAME[@VERSION]` in its place."""
    typer.echo(dockerfile_of([_named(name, config) for name in names], image), nl=False)
    return 0


async def ls() -> int:
    """Name, pinned version, wire format, what is installed here and what is in the store."""
    made = table(("agent", "version", "wire format", "here", "in the store"))
    settings = Settings.load()
    pushed = await _pushed(settings.store)
    known = [get_agent(name) for name in agent_names()]
    for agent in known:
        here = _state(agent, settings)
        stored = _machines(pushed, agent.name, agent.version)
        made.add_row(*cells(agent.name, agent.version, agent.dialect, here, stored))
    pinned = {(agent.name, agent.version) for agent in known}
    for name, version in sorted({(one.build.name, one.build.version) for one in pushed} - pinned):
        made.add_row(*cells(name, version, None, None, _machines(pushed, name, version)))
    print_table(made)
    return 0


def _named(asked: str, config: Path | None) -> Agent:
    name, _, version = asked.partition("@")
    if name == COMMAND.name and config is None:
        raise UsageError("agent command is what its options say: give --agent-config FILE")
    return agent_of(asked_agent(name, version=version or None, config=config))


def _install(agent: Agent, cache: Path) -> Path:
    if not is_installed(agent, cache):
        typer.echo(f"installing {agent.name} {agent.version} into {cache}", err=True)
    return install_agent(agent, cache)


async def _pushed(store: str) -> list[AgentArchive]:
    # Looking makes no directory.
    if not all(directory.is_dir() for directory in local_store(store)):
        return []
    return await agent_archives.pushed(Store.open(store))


def _machines(pushed: list[AgentArchive], name: str, version: str) -> str | None:
    found = [
        f"{one.build.machine} ({one.n_bytes / _MEGABYTE:.0f} MB)"
        for one in pushed
        if (one.build.name, one.build.version) == (name, version)
    ]
    return ", ".join(found) or None


def _state(agent: Agent, settings: Settings) -> str:
    if agent.refine is not None:
        return "what its options say"
    if agent.install is None:
        return "nothing to install"
    if not is_installed(agent, settings.agent_cache):
        return f"not installed: rolldock agents install {agent.name}"
    return str(settings.agent_cache / agent.name / agent.version)
