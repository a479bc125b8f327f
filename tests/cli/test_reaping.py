"""What leaks is visible and is swept up: the commands, the search attribute, the metrics."""

import os
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio

from rolldock.cli import reap, sandboxes
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.ports import free_port
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Fault
from rolldock.models import names
from rolldock.models.result import Status
from rolldock.trainer.client import Client

if TYPE_CHECKING:
    from tests.cli.conftest import Beside

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the bubblewrap backend needs root"),
]

HELLO = Path(__file__).parents[2] / "examples" / "tasks" / "hello-world"
CLEANUP_SECONDS = 3
"""How long a delete is retried here."""


@dataclass
class Leaky:
    """A stack whose sandbox server can be told to refuse deletes, and where its metrics are."""

    stack: Stack
    metrics: str

    async def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 where nothing was counted."""
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(f"http://{self.metrics}/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def leaky(stack_options: Callable[[bool], StackOptions]) -> AsyncGenerator[Leaky, None]:
    """A stack with faults and metrics."""
    metrics = f"127.0.0.1:{free_port()}"
    options = stack_options(True)
    environment = options.environment | {"ROLLDOCK_METRICS_ADDRESS": metrics}
    faulty = options.model_copy(update={"faults": True, "environment": environment})
    async with Stack(faulty) as running:
        yield Leaky(running, metrics)


async def test_a_sandbox_that_cannot_be_deleted_is_seen_and_swept_up(
    leaky: Leaky,
    beside: "Beside",
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The result stands, the workflow says `leaked`, the commands and metrics show it; one sweep
    ends it."""
    stack = leaky.stack
    beside(stack)
    monkeypatch.setenv("ROLLDOCK_GRACE_SECONDS", "0")
    hasty = stack.settings.model_copy(update={"cleanup_hours": CLEANUP_SECONDS / 3600})
    client = await Client.connect(hasty)
    spec = await client.spec(HELLO, agent="nop")
    key = stack.settings.prime_api_key
    async with FaultClient(stack.origin(Port.SANDBOXD), key) as sandboxd:
        refused = Fault(method="DELETE", path=".*", action=Answer(status=500), times=None)
        await sandboxd.add(refused)
        handle = await client.start(spec)
        result = await handle.result()
        assert (result.status, result.reward) == (Status.COMPLETED, 0.0)
        workflow = client.temporal.get_workflow_handle(spec.id)
        await workflow.result()
        attributes = (await workflow.describe()).search_attributes
        assert attributes[names.ATTRIBUTE_CLEANUP] == ["leaked"]
        assert await leaky.metric("rolldock_leaked_rollouts") == 1

        assert await sandboxes.leaked(as_json=False) == 1
        assert spec.id in capsys.readouterr().out
        await sandboxd.clear()

    assert await reap.reap(dry_run=True, grace_seconds=0, as_json=False) == 0
    assert "nothing was deleted" in capsys.readouterr().out
    assert await reap.reap(dry_run=False, grace_seconds=0, as_json=False) == 0
    assert "deleted 1" in capsys.readouterr().out
    assert await leaky.metric("rolldock_reaped_sandboxes") == 1
    assert await sandboxes.leaked(as_json=False) == 0
    assert "is leaked" in capsys.readouterr().out
