"""How an agent comes into a sandbox: it is there, or from the store, or by its install script."""

import os
import platform
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

import worker
from rolldock.agents.registry import agent_of, get_agent
from rolldock.cli.install import install_agent
from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.models.agent_archive import AgentArchive, machine_name
from rolldock.models.failure import Cause
from rolldock.models.result import RolloutResult, Stage, Status
from rolldock.models.spec import AgentRef
from rolldock.sandbox.agent_archive import build_of
from rolldock.sandbox.client import Sandboxes
from rolldock.store import agent_archives
from rolldock.trainer.client import Client
from tests.bare import bare_sandboxd
from tests.e2e.runs import HELLO

MACHINE = machine_name(platform.system(), platform.machine())
SOLVE = "printf 'Hello, world!\\n' > hello.txt"
NO_NETWORK = "echo the network was asked >&2; exit 9"

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the bubblewrap backend needs root"),
]


@dataclass(frozen=True)
class Bare:
    """A stack whose sandboxes mount no agents, as those of a cloud."""

    client: Client
    cache: Path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bare(
    stack_options: Callable[[bool], StackOptions], tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Bare, None]:
    """A stack, beside it a sandboxd of its own without a cache, and a worker here that uses it."""
    options = stack_options(False)
    async with AsyncExitStack() as exits:
        stack = await exits.enter_async_context(Stack(options))
        state = tmp_path_factory.mktemp("bare")
        url = await exits.enter_async_context(bare_sandboxd(stack, options, state))
        update = {"prime_api_base_url": url, "create_settle_seconds": 2, "listing_lag_seconds": 0}
        settings = stack.settings.model_copy(update=update)
        client = await Client.connect(settings)
        await client.add_endpoint("scripted", url=stack.scripted_url, model="scripted")
        sandboxes = await exits.enter_async_context(Sandboxes.open(url, settings.prime_api_key))
        for one in worker.workers("all", client.temporal, sandboxes, settings, client.deployment):
            await exits.enter_async_context(one)
        yield Bare(client, options.agent_cache)


def described(install: str) -> AgentRef:
    """An agent whose install leaves a program that solves the task, and which calls no model."""
    return AgentRef(
        name="command",
        options={
            "run": '"$ROLLDOCK_AGENT_HOME/bin/solve"',
            "format": "none",
            "install": install,
            "check": "bin/solve",
        },
    )


async def run(client: Client, agent: AgentRef, endpoint: str | None = None) -> RolloutResult:
    """One rollout of the hello-world task, in one attempt."""
    spec = await client.spec(
        HELLO, agent=agent.name, agent_options=agent.options, endpoint=endpoint, attempts=1
    )
    return await (await client.start(spec)).result()


async def pushed(client: Client, agent: AgentRef, directory: Path) -> AgentArchive:
    """An archive with a program that solves the task, as the agent's install."""
    program = directory / "bin" / "solve"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/bash\n{SOLVE}\n")
    program.chmod(0o755)
    return await agent_archives.push(client.store, directory, build_of(agent_of(agent), MACHINE))


async def test_a_pushed_agent_is_unpacked_in_a_sandbox_that_lacks_it(
    bare: Bare, tmp_path: Path
) -> None:
    """Its install script, which would fail, is never run."""
    agent = described(NO_NETWORK)
    await pushed(bare.client, agent, tmp_path / "agent")
    result = await run(bare.client, agent)
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.agent_version == agent_of(agent).version


async def test_an_agent_that_nobody_pushed_is_installed_in_the_sandbox(bare: Bare) -> None:
    """By its script, in its place."""
    install = f'set -eu; mkdir bin; echo "{SOLVE}" > bin/solve; chmod 755 bin/solve'
    result = await run(bare.client, described(install.replace("\\", "\\\\")))
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure


async def test_an_agent_that_cannot_be_had_is_a_failure_with_its_mend(bare: Bare) -> None:
    """No reward; the message has what the script said last, and the command that helps."""
    result = await run(bare.client, described(f"{NO_NETWORK} # another"))
    assert (result.status, result.reward) == (Status.FAILED, None)
    assert result.failure is not None
    assert (result.failure.stage, result.failure.cause) == (
        Stage.SET_UP_SANDBOX,
        Cause.SETUP_FAILED,
    )
    assert "rolldock agents install command --agent-config FILE" in result.failure.message
    assert result.failure.message.endswith("the network was asked")


async def test_a_sandbox_whose_agents_are_mounted_is_never_written_to(
    client: Client, tmp_path: Path
) -> None:
    """An agent that the cache lacks is named at once, also where the store has it."""
    agent = described(f"{NO_NETWORK} # mounted")
    await pushed(client, agent, tmp_path / "agent")
    result = await run(client, agent)
    assert result.failure is not None
    assert result.failure.cause is Cause.SETUP_FAILED
    assert "is not among the agents that the sandbox sees" in result.failure.message


@pytest.mark.slow
@pytest.mark.parametrize("name", ["opencode"])
async def test_a_real_agent_works_where_it_was_unpacked(bare: Bare, name: str) -> None:
    """From the cache into the store, into a sandbox, and through a whole rollout."""
    agent = get_agent(name)
    home = install_agent(agent, bare.cache)
    archive = await agent_archives.push(bare.client.store, home, build_of(agent, MACHINE))
    assert len(archive.parts) > 1
    result = await run(bare.client, AgentRef(name=name), "scripted")
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
