"""Looking at rollouts, running and ended: `ls`, `stats`, `watch` and `logs` on a real stack."""

import asyncio
import json
import os
import pty
import signal
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from rolldock.cli import logs, ls, stats, watch
from rolldock.cli.filters import Filters
from rolldock.cli.stack.stack import Stack
from rolldock.errors import UsageError
from rolldock.models import names
from rolldock.models.result import Status
from rolldock.settings import HOME_VARIABLE
from rolldock.trainer.client import Client
from rolldock.trainer.live import LiveQuery
from rolldock.trainer.reading import LogQuery
from tests.e2e.runs import HELLO, LONG_WAIT, TASKS
from tests.e2e.waiting import waiting_rollout

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the bubblewrap backend needs root"),
]

ROLLDOCK = Path(sys.executable).with_name("rolldock")
PATIENCE_SECONDS = 60
FOREIGN = ("ROLLDOCK_", "PRIME_", "TEMPORAL_")

Say = Callable[[Awaitable[int]], Awaitable[tuple[str, str]]]


@asynccontextmanager
async def rolldock(
    *arguments: str, stdin: int | None = None, stdout: int = PIPE
) -> AsyncGenerator[Process, None]:
    """The command beside the stack; it is killed unless it has ended."""
    process = await asyncio.create_subprocess_exec(
        ROLLDOCK,
        *arguments,
        env=os.environ | {"TERM": "xterm"},
        stdin=stdin,
        stdout=stdout,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture(autouse=True)
def beside_the_stack(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run in this process find the stack by its home."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(HOME_VARIABLE, str(stack.home.root))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command's action, which must succeed: what it prints on stdout and on stderr."""

    async def run_action(action: Awaitable[int]) -> tuple[str, str]:
        capsys.readouterr()
        assert await action == 0
        return capsys.readouterr()

    return run_action


@pytest.fixture(scope="module")
def experiment() -> str:
    """The experiment of this module's ended rollouts."""
    return f"looked-at-{uuid.uuid4().hex[:6]}"


async def test_ended_rollouts_are_listed_counted_and_read(
    client: Client, experiment: str, say: Say
) -> None:
    """Solved, unsolved and failed ones: filters tell them apart, a failure is never a reward of 0,
    and what agent and tests wrote can be read."""

    async def run(
        name: str,
        task: Path,
        agent: str,
        endpoint: str | None = None,
        image: str | None = None,
        group: str | None = None,
    ) -> None:
        spec = await client.spec(
            task,
            agent=agent,
            endpoint=endpoint,
            image=image,
            id=f"{experiment}/{name}",
            experiment=experiment,
            group=group,
        )
        await (await client.start(spec)).result()

    await asyncio.gather(
        run("solved", HELLO, "bash", "scripted", group="g1"),
        run("unsolved", HELLO, "nop"),
        run("ungraded", TASKS / "no-reward", "oracle"),
        run("no-image", HELLO, "nop", image="ubuntu:24.04"),
    )

    async def ids(**given: str | float) -> list[str]:
        chosen = Filters.model_validate({"experiment": experiment, **given})
        out, _ = await say(ls.ls(chosen, sort="rollout", as_json=True))
        found = [json.loads(line)["rollout"] for line in out.splitlines()]
        return [str(rollout).removeprefix(f"{experiment}/") for rollout in found]

    assert await ids() == ["no-image", "solved", "ungraded", "unsolved"]
    assert await ids(group="g1", since="1h") == ["solved"]
    assert await ids(cause="image_unavailable", stage="create_sandbox") == ["no-image"]
    assert await ids(reward_below=1) == ["unsolved"]
    assert await ids(endpoint="scripted", status="completed") == ["solved"]
    assert await ids(status="running") == []
    of_all = Filters(experiment=experiment)
    page, more = await say(ls.ls(of_all, limit=1, as_json=True))
    assert len(page.splitlines()) == 1
    assert "3 ended more: --limit 0 lists all" in more

    out, _ = await say(stats.stats(of_all, by=["experiment"], ks=[1], as_json=True))
    row = json.loads(out)
    assert (row["n"], row["n_graded"], row["n_failed"], row["n_cancelled"]) == (4, 2, 2, 0)
    assert (row["reward"], row["pass_at"]) == (0.5, {"1": 0.5})
    assert row["causes"] == {"reward_invalid": 1, "image_unavailable": 1}
    assert "image_unavailable 1" in (await say(stats.stats(of_all, by=["agent"])))[0]

    solved = f"{experiment}/solved"
    shown, _ = await say(logs.logs(solved, LogQuery(), as_json=False))
    assert "==> agent-stdout.log <==\n" in shown
    assert "hello.txt" in shown
    one = LogQuery(name="verifier/reward.txt", attempt=1)
    assert (await say(logs.logs(solved, one, as_json=False)))[0] == "1\n"
    with pytest.raises(UsageError, match=r"no log 'no-such': it left .*verifier/reward\.txt"):
        await logs.logs(solved, LogQuery(name="no-such"), as_json=False)
    with pytest.raises(UsageError, match="has no attempt 2"):
        await logs.logs(solved, LogQuery(attempt=2), as_json=False)


async def test_a_running_rollout_is_listed_watched_and_followed(
    client: Client, stack: Stack, say: Say
) -> None:
    """`ls` and `watch` show where it is; `logs -f` goes on to the last byte and the verdict."""
    name = f"followed-{uuid.uuid4().hex[:6]}"
    spec = await client.spec(
        LONG_WAIT, agent="bash", endpoint="scripted", experiment=name, group="it", id=f"{name}/0"
    )
    async with waiting_rollout(stack, client, spec) as waiting:
        chosen = Filters(experiment=name, group="it", task="long-wait")
        row = json.loads((await say(ls.ls(chosen, as_json=True)))[0])
        assert (row["id"], row["status"], row["stage"]) == (spec.id, "running", "await_agent")
        for other in ({"status": "completed"}, {"stage": "grade"}, {"agent": "nop"}):
            none = chosen.model_copy(update=other)
            assert (await say(ls.ls(none, as_json=True)))[0] == ""
        board = json.loads((await say(watch.watch(chosen, as_json=True)))[0])
        assert (board["n_open"], board["n_ended"]) == (1, 0)
        assert board["stages"] == {"create_sandbox": 0, "await_agent": 1, "grade": 0, "ending": 0}
        assert spec.id in (await say(watch.watch(chosen)))[0]
        assert "/tmp/waiting" in (await say(logs.logs(spec.id, LogQuery(), as_json=False)))[0]
        async with rolldock("logs", "-f", spec.id) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            async for line in process.stdout:
                if b"/tmp/waiting" in line:
                    break
            result = await waiting.let_go()
            rest, verdict = await asyncio.gather(process.stdout.read(), process.stderr.read())
            assert await process.wait() == 0
    assert result.status is Status.COMPLETED
    assert rest.decode().rstrip().endswith("Done.")
    assert b"completed: reward 1, agent_completed" in verdict
    whole = [piece.text async for piece in client.logs(spec.id, LogQuery(name="agent-stdout.log"))]
    assert "".join(whole).rstrip().endswith(rest.decode().rstrip())


@pytest.mark.parametrize("how", ["q", "ctrl-c"])
async def test_the_board_ends_in_order(client: Client, how: str) -> None:
    """On a terminal `watch` goes on until q or Ctrl-C, which are no failure: exit code 0."""
    ours, its = pty.openpty()
    try:
        async with rolldock("watch", stdin=its, stdout=its) as process:
            seen = b""
            while b" open   create_sandbox" not in seen:
                seen += await asyncio.to_thread(os.read, ours, 65536)
            if how == "q":
                os.write(ours, b"q")
            else:
                process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    finally:
        os.close(ours)
        os.close(its)


async def test_filters_of_open_rollouts_take_any_text(client: Client) -> None:
    """A task's name with quotes is found by itself, and no value says more than its text."""
    odd = "it's 'odd'; -- 100 %"
    workflow_id = f"odd-{uuid.uuid4().hex[:6]}"
    task = SearchAttributeKey.for_keyword(names.ATTRIBUTE_TASK)
    handle = await client.temporal.start_workflow(
        names.ROLLOUT_WORKFLOW,
        id=workflow_id,
        task_queue="nobody-works-here",
        search_attributes=TypedSearchAttributes([SearchAttributePair(task, odd)]),
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := await client.live(LiveQuery(task=odd))):
                await asyncio.sleep(0.05)
        assert [rollout.id for rollout in found] == [workflow_id]
        assert await client.count_live(LiveQuery(task=odd)) == 1
        for other in ("it's", "x' OR 'a'='a", r"x\' OR 'a'='a", "\\", '"'):
            assert await client.count_live(LiveQuery(task=other)) == 0
    finally:
        await handle.terminate()
