"""The agents that the tests' stacks see, installed as a user installs them."""

import os
from pathlib import Path

from rolldock.agents.registry import get_agent
from rolldock.cli.install import install_agent

AGENT_CACHE = Path(
    os.environ.get("ROLLDOCK_AGENT_CACHE", Path(__file__).parents[1] / ".cache" / "agents")
)


def installed(name: str) -> str:
    """An agent's name, once this release's version is in the cache."""
    install_agent(get_agent(name), AGENT_CACHE)
    return name
