"""`rolldock run`: what can be said of the command itself, before any server is needed."""

import re
from pathlib import Path
from typing import Final

from pydantic import Field

from rolldock.agents.agent import Agent
from rolldock.agents.registry import agent_of
from rolldock.cli.asked_agent import asked_agent
from rolldock.cli.keys import read_key
from rolldock.errors import UsageError
from rolldock.harbor.task import read_task
from rolldock.models.base import Contract
from rolldock.models.spec import AgentRef, Delivery

_NOT_IN_AN_ID: Final = re.compile(r"[^A-Za-z0-9._/@-]+")


class RunRequest(Contract):
    """What the command line asked for."""

    tasks: tuple[Path, ...] = Field(min_length=1)
    agent: str
    agent_version: str | None = None
    agent_config: Path | None = None
    agent_env: tuple[str, ...] = ()
    tell_deadline: bool = False
    keep_workspace: bool = False
    model: str | None = None
    model_url: str | None = None
    api_key_env: str | None = None
    endpoint: str | None = None
    samples: int = 1
    run_id: str | None = None
    experiment: str = "default"
    image: str | None = None
    attempts: int = 3
    max_turns: int | None = None
    timeout_seconds: float | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    options: tuple[str, ...] = ()
    max_in_flight: int = 32
    delivery: str = Delivery.HELD
    as_json: bool = False


class Prepared(Contract):
    """A request that has passed every check that needs no server."""

    request: RunRequest
    endpoint: str | None
    api_key: str | None = Field(repr=False)
    agent: AgentRef


async def run(request: RunRequest) -> int:
    """Check the request, then start the rollouts, show where they are, print the results.

    Returns:
        0 when every rollout was graded, 1 when one was not.
    """
    prepared = _prepare(request)
    # Loaded here: a wrong argument is answered before the seconds that these imports take.
    from rolldock.cli.follow import follow

    return await follow(prepared)


def _prepare(request: RunRequest) -> Prepared:
    agent = asked_agent(
        request.agent,
        version=request.agent_version,
        config=request.agent_config,
        options=request.options,
        env=request.agent_env,
    )
    _check_names(request.tasks)
    if request.run_id == "":
        raise UsageError("--id is empty: give a part of the rollouts' ids, or leave it out")
    return Prepared(
        request=request,
        endpoint=_endpoint_name(request, agent_of(agent)),
        api_key=read_key(request.api_key_env),
        agent=agent,
    )


def _check_names(tasks: tuple[Path, ...]) -> None:
    """Read every task; their names are parts of ids, where no two may be the same."""
    named: dict[str, Path] = {}
    for directory in tasks:
        name = in_an_id(read_task(directory).name)
        if name in named:
            raise UsageError(
                f"{named[name]} and {directory} are both {name!r} in an id, and their rollouts "
                "would have the same ids: run them one after the other under another --id, or use "
                "-n for more of one task"
            )
        named[name] = directory


def in_an_id(name: str) -> str:
    """A task's name as a part of its rollouts' ids."""
    return _NOT_IN_AN_ID.sub("-", name)


def _endpoint_name(request: RunRequest, agent: Agent) -> str | None:
    if agent.dialect is None:
        return None
    if request.model_url is not None and request.model is None:
        raise UsageError("--model-url needs --model NAME: the model's name at that server")
    if request.model_url is None and request.api_key_env is not None:
        raise UsageError("--api-key-env needs --model-url URL: the server that the key is for")
    if request.model_url is None and request.endpoint is not None and request.model is not None:
        raise UsageError(
            f"--endpoint {request.endpoint} has its model: leave out --model {request.model}, or "
            "give --model-url URL to add the endpoint anew"
        )
    name = request.endpoint or request.model
    if name is None:
        raise UsageError(
            f"agent {agent.name} calls a model: give --model NAME and --model-url URL, or "
            "--endpoint NAME of one that was added before"
        )
    return name
