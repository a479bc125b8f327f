"""Rollouts that stay where they are until they are let go, so that a test can do them harm.

Their tasks wait for /tmp/go in the sandbox, and say with /tmp/waiting that they do. What the harm
has to leave alone is said by each test.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from rolldock.cli.stack.stack import Stack
from rolldock.models.failure import Cause
from rolldock.models.result import RolloutResult
from rolldock.models.spec import RolloutSpec
from rolldock.sandbox import jobs
from rolldock.sandbox.client import Sandboxes, SandboxSummary
from rolldock.trainer.client import Client
from tests.rollouts import alive

_PATIENCE_SECONDS: Final = 90
"""What the slowest agent may take on a busy machine until it waits."""


class Waiting:
    """A rollout that waits in its sandbox."""

    def __init__(
        self, client: Client, sandboxes: Sandboxes, rollout: str, sandbox: SandboxSummary
    ) -> None:
        self._client = client
        self._sandboxes = sandboxes
        self._sandbox_id = sandbox.id
        self.rollout = rollout
        self.attempt = str(sandbox.owner.attempt)

    async def let_go(self) -> RolloutResult:
        """Let it end, and return what it came to."""
        await self.run("touch /tmp/go")
        return await self._client.handle(self.rollout).result()

    async def agent(self) -> str:
        """Pid and start time of the agent's process."""
        launch, _, _, _ = jobs.paths(jobs.job_id(self.attempt))
        return await self.run(f"p=$(cat {launch}/pid) && echo $p && cut -d' ' -f22 /proc/$p/stat")

    async def last_failure(self) -> str:
        """The type of the failure of the stage's last try, waited for."""
        handle = self._client.temporal.get_workflow_handle(self.rollout)
        while True:
            described = await handle.describe()
            for pending in described.raw_description.pending_activities:
                if pending.HasField("last_failure"):
                    return pending.last_failure.application_failure_info.type
            await asyncio.sleep(0.05)

    async def run(self, command: str) -> str:
        """The output of a command that succeeds."""
        done = await self._sandboxes.run(
            self._sandbox_id, command, timeout_seconds=10, otherwise=Cause.INTERNAL
        )
        assert done.exit_code == 0, done.stderr
        return done.stdout


@asynccontextmanager
async def waiting_rollout(
    stack: Stack, client: Client, spec: RolloutSpec
) -> AsyncGenerator[Waiting, None]:
    """A rollout that has come to where its task waits; it is cancelled unless it is let go."""
    settings = stack.settings
    handle = await client.start(spec)
    async with Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as sandboxes:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                sandbox = await _once_waiting(client, sandboxes, spec.id)
            yield Waiting(client, sandboxes, spec.id, sandbox)
        finally:
            await handle.cancel()


async def _once_waiting(client: Client, sandboxes: Sandboxes, rollout: str) -> SandboxSummary:
    while True:
        for sandbox in await alive(client, rollout):
            # One that is still being made is listed too, and runs no commands yet.
            if sandbox.status == "RUNNING" and await _waits(sandboxes, sandbox.id):
                return sandbox
        await asyncio.sleep(0.05)


async def _waits(sandboxes: Sandboxes, sandbox_id: str) -> bool:
    seen = await sandboxes.run(
        sandbox_id, "test -e /tmp/waiting", timeout_seconds=10, otherwise=Cause.INTERNAL
    )
    return seen.exit_code == 0
