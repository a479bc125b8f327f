"""Rollouts of one stack that a reader of the Temporal UI may find: running, graded, failed."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest_asyncio

from rolldock.cli.stack.stack import Stack
from rolldock.models.replay import ReplayFrom, ReplayPoint
from rolldock.models.result import RolloutResult
from rolldock.trainer.client import Client
from rolldock.trainer.handle import RolloutHandle
from tests.e2e.runs import HELLO, TASKS

EXPERIMENT = "grpo-7"
WORKS = TASKS / "works-and-waits"


@dataclass(frozen=True)
class Scene:
    """What stands in Temporal's list."""

    client: Client
    ui: str
    """The URL of the namespace's workflows."""
    running: RolloutHandle
    graded: RolloutResult
    failed: RolloutResult
    replayed: RolloutResult
    """The graded one again, from the start."""

    def page(self, rollout: str) -> str:
        """Where a rollout is shown."""
        return f"{self.ui}/{quote(rollout, safe='')}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(stack: Stack, client: Client) -> AsyncGenerator[Scene, None]:
    """One rollout that works until it is stopped, and three that have ended."""

    async def start(task: Path, agent: str, name: str, **fields: object) -> RolloutHandle:
        endpoint = "scripted" if agent == "bash" else None
        built = await client.spec(
            task, agent=agent, endpoint=endpoint, id=f"{EXPERIMENT}/12/{name}"
        )
        return await client.start(built.model_copy(update={"experiment": EXPERIMENT} | fields))

    running = await start(WORKS, "bash", "works-and-waits/0")
    graded = await (await start(HELLO, "bash", "hello-world/0")).result()
    replay = ReplayPoint(kind=ReplayFrom.START, attempt=graded.attempts[-1].attempt)
    again = {"replay_of": graded.rollout, "replay": replay}
    replayed = await (await start(HELLO, "bash", "hello-world/0-again", **again)).result()
    failed = await (await start(TASKS / "no-reward", "oracle", "no-reward/0")).result()
    ui = f"{stack.settings.temporal_ui}/namespaces/{stack.settings.temporal_namespace}/workflows"
    try:
        yield Scene(client, ui, running, graded, failed, replayed)
    finally:
        await running.stop()
        await asyncio.wait_for(running.result(), 60)
