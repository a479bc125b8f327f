"""A Dockerfile that puts agents where sandboxes look for them, so that none is brought there.

It is text: nothing here builds an image, and nothing was built where this was written.
"""

import json
import shlex
from collections.abc import Sequence
from typing import Final

from rolldock.agents.agent import AGENTS_ROOT, Agent
from rolldock.errors import UsageError
from rolldock.sandbox.setup import agent_home

_NODE: Final = frozenset({"node", "npm"})
_NODE_IMAGE: Final = "node:22-bookworm"
_PYTHON_IMAGE: Final = "python:3.12-bookworm"
"""Whole images of Debian: with bash, git, curl and a compiler; nothing of them is kept."""
_IN_IMAGES: Final = frozenset({"bash", "curl", "git", "tar", "python3", "python3.12", "pip"})
_FROM_PYPI: Final = frozenset({"uv"})


def dockerfile_of(agents: Sequence[Agent], image: str) -> str:
    """The Dockerfile of an image with agents in it, each installed in a stage of its own.

    Raises:
        UsageError: none of them has anything to install.
    """
    installed = [agent for agent in agents if agent.install is not None]
    if not installed:
        names = ", ".join(agent.name for agent in agents)
        raise UsageError(f"agent {names}: nothing to install: it needs no image of its own")
    stages = [_stage(agent, number) for number, agent in enumerate(installed)]
    copies = [
        f"COPY --from=agent-{number} {agent_home(agent)} {agent_home(agent)}\n"
        for number, agent in enumerate(installed)
    ]
    head = "# Agents of `rolldock agents dockerfile`, where its sandboxes look for them.\n"
    return "\n".join([head, *stages, f"FROM {image}\n{''.join(copies)}"])


def _stage(agent: Agent, number: int) -> str:
    builder, prepare = _builder(agent)
    home = agent_home(agent)
    # In JSON a script of many lines is one, and no builder's shell reads it.
    run = json.dumps(["bash", "-c", _script(agent)])
    return "".join(
        [
            f"FROM {builder} AS agent-{number}\n",
            *(f"RUN {command}\n" for command in prepare),
            f"ENV AGENT_HOME={home} AGENT_VERSION={agent.version}\n",
            f"WORKDIR {home}\n",
            f"RUN {run}\n",
        ]
    )


def _script(agent: Agent) -> str:
    """The install script, then what the cache does: everybody may read, and the check holds."""
    checked = shlex.quote(f"{agent_home(agent)}/{agent.check or '.'}")
    # No `&&` after the subshell: bash would ignore `set -e` in it.
    return (
        f'(\n{agent.install}\n)\ncode=$?\ntest "$code" = 0 || exit "$code"\n'
        f"chmod -R a+rX {AGENTS_ROOT} && test -e {checked}"
    )


def _builder(agent: Agent) -> tuple[str, list[str]]:
    """The image that an agent is installed in, and what it has to be given before."""
    wanted = set(agent.requires)
    image = _NODE_IMAGE if wanted & _NODE else _PYTHON_IMAGE
    wanted -= _NODE | _IN_IMAGES
    prepare: list[str] = []
    if pypi := sorted(wanted & _FROM_PYPI):
        prepare.append(f"pip install --no-cache-dir {' '.join(pypi)}")
    if debian := sorted(wanted - _FROM_PYPI):
        prepare.append(f"apt-get update && apt-get install -y {' '.join(debian)}")
    return image, prepare
