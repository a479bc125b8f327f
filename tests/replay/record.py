"""Records the histories that the replay tests use, from real rollouts on a real stack.

    .venv/bin/python tests/replay/record.py [grades]

`grades`: only those of kept workspaces and of grading them again. Run it after a change that is
meant to change histories. It overwrites: give the old files other names first, where rollouts of
the old code may still be open.
"""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from rolldock.cli.perform import perform_in_order
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Fault
from rolldock.models import names
from rolldock.models.replay import ReplayFrom, ReplayPoint
from rolldock.models.spec import RolloutSpec
from rolldock.sandbox.client import Sandboxes
from rolldock.trainer.client import Client
from rolldock.trainer.handle import RolloutHandle
from tests.e2e.waiting import waiting_rollout
from tests.rollouts import alive, reset

ROOT = Path(__file__).parents[2]
HISTORIES = ROOT / "tests" / "histories"
HELLO = ROOT / "examples" / "tasks" / "hello-world"
TASKS = ROOT / "tests" / "tasks"

Act = Callable[[Client, RolloutHandle], Awaitable[None]]


async def record(client: Client, name: str, spec: RolloutSpec, act: Act | None = None) -> None:
    """Run one rollout, do something to it, keep its history."""
    handle = await client.start(spec)
    if act is not None:
        await act(client, handle)
    result = await handle.result()
    workflow = client.temporal.get_workflow_handle(spec.id)
    while (history := await workflow.fetch_history()).events[-1].event_type not in _CLOSED:
        await asyncio.sleep(0.05)
    (HISTORIES / f"{name}.json").write_text(history.to_json())
    sys.stdout.write(f"{name}: {result.status} {result.stop_reason} {len(history.events)} events\n")


_CLOSED = (2, 3, 4, 21, 27)
"""WORKFLOW_EXECUTION_ COMPLETED, FAILED, TIMED_OUT, CANCELED, TERMINATED."""


def at_stage(stage: str, act: Callable[[RolloutHandle], Awaitable[None]]) -> Act:
    """Do something once a rollout is in a stage."""

    async def wait_and_act(client: Client, handle: RolloutHandle) -> None:
        while (await client.handle(handle.id).status()).stage != stage:
            await asyncio.sleep(0.02)
        await act(handle)

    return wait_and_act


async def lose_sandbox(client: Client, handle: RolloutHandle) -> None:
    """Delete the sandbox under a working agent."""
    settings = client.settings
    async with Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as sandboxes:
        while not (found := await alive(client, handle.id)):
            await asyncio.sleep(0.02)
        await sandboxes.delete(found[0].id)


async def main() -> int:
    """Record them all."""
    with tempfile.TemporaryDirectory(prefix="rolldock-record-", dir=ROOT / ".cache") as home:
        options = StackOptions(
            home=Path(home),
            auto_ports=True,
            agent_cache=ROOT / ".cache" / "agents",
            scripts=_scripts(Path(home)),
            faults=True,
            environment={"ROLLDOCK_CREATE_SETTLE_SECONDS": "1"},
        )
        async with Stack(options) as stack:
            hasty = stack.settings.model_copy(update={"heartbeat_seconds": 3})
            client = await Client.connect(hasty)
            await client.add_endpoint("scripted", url=stack.scripted_url, model="scripted")
            if sys.argv[1:] != ["grades"]:
                await _record_all(client, stack)
            await _record_grades(client, stack)
    return 0


async def _record_all(client: Client, stack: Stack) -> None:
    async def spec(task: Path, agent: str, **fields: object) -> RolloutSpec:
        endpoint = None if agent in ("oracle", "nop") else "scripted"
        known = await client.add_task(task)
        built = await client.spec(known, agent=agent, endpoint=endpoint)
        return built.model_copy(update=fields)

    long_wait = TASKS / "long-wait"
    hello = await spec(HELLO, "nop")
    ubuntu = hello.resources.model_copy(update={"image": "ubuntu:24.04"})
    waiting = await spec(long_wait, "bash")
    hurried = waiting.limits.model_copy(update={"agent_seconds": 1})
    await record(client, "completed", await spec(HELLO, "bash"))
    await record(client, "failed-image", await spec(HELLO, "nop", resources=ubuntu))
    await record(client, "failed-reward", await spec(TASKS / "no-reward", "oracle"))
    await record(client, "timed-out", await spec(long_wait, "bash", limits=hurried))
    await record(
        client,
        "stopped",
        await spec(long_wait, "bash"),
        at_stage("await_agent", RolloutHandle.stop),
    )
    for name, stage in (
        ("cancelled-create", "create_sandbox"),
        ("cancelled-agent", "await_agent"),
        ("cancelled-cleanup", "delete_sandbox"),
    ):
        task = HELLO if stage == "delete_sandbox" else long_wait
        await record(client, name, await spec(task, "bash"), at_stage(stage, RolloutHandle.cancel))
    await record(client, "new-attempt", await spec(long_wait, "bash", attempts=2), _lose_then_stop)
    for name, number in (("reset-before-create", 0), ("reset-after-create", 2)):
        await record(client, name, await spec(long_wait, "bash"), _reset_then_stop(number))
    await record(
        client, "worker-killed", await spec(long_wait, "bash"), _kill_worker_then_stop(stack)
    )
    await record_leak(client, stack, await spec(HELLO, "nop"))
    await record_sweep(client)


async def _record_grades(client: Client, stack: Stack) -> None:
    """A workspace that is kept, one that is kept after its grading failed, and a grade of each."""
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    kept = spec.model_copy(update={"keep_workspace": True})
    await record(client, "kept", kept)
    await record(client, "graded-again", await _grading(client, kept))
    late = await client.spec(TASKS / "graded-late", agent="bash", endpoint="scripted")
    late = late.model_copy(update={"attempts": 1})
    no_logs = Fault(method="GET", path="/.*/download", action=Answer(status=400), times=None)

    async def break_and_let_go(client: Client, handle: RolloutHandle) -> None:
        async with waiting_rollout(stack, client, late) as waiting:
            await sandboxd.add(no_logs)
            await waiting.let_go()

    async with FaultClient(stack.origin(Port.SANDBOXD), stack.settings.prime_api_key) as sandboxd:
        await record(client, "kept-after-failed-grade", late, break_and_let_go)
        await sandboxd.clear()
    unknown = (await _grading(client, late)).model_copy(update={"id": f"{late.id}/unknown"})
    point = ReplayPoint(kind=ReplayFrom.GRADE, attempt="nobody's")
    await record(client, "nothing-to-grade", unknown.model_copy(update={"replay": point}))


async def _grading(client: Client, spec: RolloutSpec) -> RolloutSpec:
    """A rollout that grades what another has left."""
    [attempt] = (await client.handle(spec.id).result()).attempts
    point = ReplayPoint(kind=ReplayFrom.GRADE, attempt=attempt.attempt)
    return spec.model_copy(update={"id": f"{spec.id}/grade", "replay_of": spec.id, "replay": point})


async def record_leak(client: Client, stack: Stack, spec: RolloutSpec) -> None:
    """A rollout whose sandbox cannot be deleted for as long as it tries."""
    hasty = client.settings.model_copy(update={"cleanup_hours": 3 / 3600})
    hurried = await Client.connect(hasty)
    refused = Fault(method="DELETE", path=".*", action=Answer(status=500), times=None)
    key = stack.settings.prime_api_key
    async with FaultClient(stack.origin(Port.SANDBOXD), key) as sandboxd:
        fault = await sandboxd.add(refused)
        await record(hurried, "leaked", spec)
        await sandboxd.remove(fault)


async def record_sweep(client: Client) -> None:
    """The reaper, with the leaked sandbox to delete."""
    report = await client.reap(grace_seconds=0)
    query = f"WorkflowType = '{names.REAPER_WORKFLOW}' AND ExecutionStatus = 'Completed'"
    while not (found := [one async for one in client.temporal.list_workflows(query)]):
        await asyncio.sleep(0.05)
    handle = client.temporal.get_workflow_handle(found[0].id, run_id=found[0].run_id)
    (HISTORIES / "sweep.json").write_text((await handle.fetch_history()).to_json())
    sys.stdout.write(f"sweep: {report.n_deleted} deleted\n")


def _reset_then_stop(number: int) -> Act:
    async def act(client: Client, handle: RolloutHandle) -> None:
        await at_stage("await_agent", _nothing)(client, handle)
        await reset(client, handle.id, number)
        await at_stage("await_agent", RolloutHandle.stop)(client, handle)

    return act


def _kill_worker_then_stop(stack: Stack) -> Act:
    async def act(client: Client, handle: RolloutHandle) -> None:
        await at_stage("await_agent", _nothing)(client, handle)
        stack.kill("worker")
        await stack.ready("worker")
        while (await handle.status()).tries < 2:
            await asyncio.sleep(0.05)
        await handle.stop()

    return act


async def _lose_then_stop(client: Client, handle: RolloutHandle) -> None:
    await at_stage("await_agent", _nothing)(client, handle)
    await lose_sandbox(client, handle)
    while (await handle.status()).stage == "await_agent":
        await asyncio.sleep(0.02)
    await at_stage("await_agent", RolloutHandle.stop)(client, handle)


async def _nothing(_: RolloutHandle) -> None:
    pass


def _scripts(home: Path) -> Path:
    directory = home / "scripts"
    directory.mkdir()
    for source in (ROOT / "examples" / "scripts", ROOT / "tests" / "scripts"):
        for script in source.glob("*.json"):
            (directory / script.name).write_text(script.read_text())
    return directory


if __name__ == "__main__":
    perform_in_order(main())
