"""The agents that this release knows, by name."""

import difflib
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from rolldock.errors import UsageError
from rolldock.models.spec import AgentRef

from .agent import Agent
from .bash import BASH
from .claude_code import CLAUDE_CODE
from .codex import CODEX
from .command import COMMAND
from .mini_swe_agent import MINI_SWE_AGENT
from .nop import NOP
from .opencode import OPENCODE
from .oracle import ORACLE
from .terminus_2 import TERMINUS_2

_AGENTS: Final = {
    agent.name: agent
    for agent in (
        BASH,
        CLAUDE_CODE,
        CODEX,
        COMMAND,
        MINI_SWE_AGENT,
        NOP,
        OPENCODE,
        ORACLE,
        TERMINUS_2,
    )
}


def agent_names() -> tuple[str, ...]:
    """All names, sorted."""
    return tuple(sorted(_AGENTS))


def get_agent(name: str) -> Agent:
    """The agent of a name.

    Raises:
        UsageError: there is none; the message gives the nearest names.
    """
    agent = _AGENTS.get(name)
    if agent is None:
        raise UsageError(f"unknown agent {name!r}: {_nearest(name, agent_names())}")
    return agent


def agent_of(ref: AgentRef) -> Agent:
    """The agent that a spec names, as its version and its options make it.

    Raises:
        UsageError: there is none of that name.
    """
    agent = get_agent(ref.name)
    if agent.refine is not None:
        agent = agent.refine(agent, ref.options)
    return agent if ref.version is None else agent.model_copy(update={"version": ref.version})


def check_options(agent: Agent, options: Mapping[str, Any]) -> None:
    """Say early what `launch` would refuse.

    Raises:
        UsageError: an option that the agent does not take, or a value that it cannot use.
    """
    known = sorted(agent.options.model_fields)
    for name in options:
        if name not in known:
            hint = _nearest(name, known) if known else "it takes none"
            raise UsageError(f"agent {agent.name} has no option {name!r}: {hint}")
    try:
        agent.options.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            raise UsageError(f"agent {agent.name} needs option {where}") from error
        given = f", option {where} = {first['input']!r}" if where else ""
        raise UsageError(f"agent {agent.name}{given}: {message}") from error


def _nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
