"""`rolldock agents install`, `rolldock agents ls`."""

import typer

from rolldock.agents.agent import Agent
from rolldock.agents.registry import agent_names, get_agent
from rolldock.cli.console import cells, console, table
from rolldock.cli.install import install_agent, is_installed
from rolldock.settings import Settings


async def install(names: list[str]) -> int:
    """Install each into the cache, which leaves alone what is there already."""
    cache = Settings.load().agent_cache
    for agent in [get_agent(name) for name in names]:
        if not is_installed(agent, cache):
            typer.echo(f"installing {agent.name} {agent.version} into {cache}", err=True)
        install_agent(agent, cache)
    return 0


async def ls() -> int:
    """Name, pinned version, wire format, and what must still be installed."""
    made = table(("agent", "version", "wire format", "here"))
    settings = Settings.load()
    for name in agent_names():
        agent = get_agent(name)
        made.add_row(*cells(agent.name, agent.version, agent.dialect, _state(agent, settings)))
    console().print(made)
    return 0


def _state(agent: Agent, settings: Settings) -> str:
    if agent.install is None:
        return "nothing to install"
    if not is_installed(agent, settings.agent_cache):
        return f"not installed: rolldock agents install {agent.name}"
    return str(settings.agent_cache / agent.name / agent.version)
