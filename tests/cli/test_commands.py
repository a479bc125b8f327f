"""The commands against a running stack: the real one of the other tests."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rolldock.cli import agents, cancel, endpoints, ls, sandboxes, show, trace
from rolldock.cli.filters import Filters
from rolldock.cli.run import RunRequest, run
from rolldock.cli.stack.stack import Stack
from rolldock.errors import UsageError
from rolldock.models.result import RolloutResult, Status
from rolldock.trainer.client import Client

if TYPE_CHECKING:
    from tests.cli.conftest import Say

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the bubblewrap backend needs root"),
    pytest.mark.usefixtures("beside_the_stack"),
]

ROLLDOCK = Path(sys.executable).with_name("rolldock")
ROOT = Path(__file__).parents[2]
HELLO = ROOT / "examples" / "tasks" / "hello-world"


def oracle(run_id: str, **fields: object) -> RunRequest:
    given = {"tasks": (HELLO,), "agent": "oracle", "image": "host", "run_id": run_id} | fields
    return RunRequest.model_validate(given)


async def rolldock_run(*arguments: str | Path) -> Process:
    """`rolldock run --image host` in a process of its own."""
    return await asyncio.create_subprocess_exec(
        ROLLDOCK, "run", "--image", "host", *arguments, stdout=PIPE, stderr=PIPE
    )


async def test_json_has_only_results_on_stdout(client: Client) -> None:
    """`run --json` in a process of its own: a result per line, all else on stderr, exit code 0."""
    process = await rolldock_run(HELLO, "--agent", "oracle", "-n", "2", "--json")
    out, err = await process.communicate()
    results = [RolloutResult.model_validate_json(line) for line in out.splitlines()]
    assert [(result.status, result.reward) for result in results] == [(Status.COMPLETED, 1)] * 2
    assert {result.rollout.rsplit("/", 1)[1] for result in results} == {"0", "1"}
    assert b"[2/2]" in err
    assert process.returncode == 0


async def test_same_id_again_attaches(client: Client, say: "Say") -> None:
    """The same command with the same --id gives the stored results and runs nothing again."""
    first = json.loads(await say(run(oracle("again", as_json=True))))
    second = json.loads(await say(run(oracle("again", as_json=True))))
    assert second["run"] == first["run"]


async def test_same_id_with_another_spec_is_refused(client: Client, say: "Say") -> None:
    """An id that belongs to another spec is refused, and the difference is named."""
    await say(run(oracle("taken", as_json=True)))
    with pytest.raises(UsageError, match="attempts: 3 -> 2"):
        await run(oracle("taken", attempts=2))


async def test_a_rollout_that_is_not_graded_has_exit_code_1(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """A task whose tests write no reward fails the command; `show` names cause and logs."""
    task = ROOT / "tests" / "tasks" / "no-reward"
    assert await run(oracle("no-reward", tasks=(task,))) == 1
    said = capsys.readouterr()
    assert "failed: reward_invalid" in said.out
    assert "default/no-reward/oracle/no-reward/0" in said.err
    await show.show("default/no-reward/oracle/no-reward/0", as_json=False)
    shown = capsys.readouterr().out
    assert "reward_invalid" in shown
    assert "verifier/test-stdout.txt" in shown


async def test_a_rollout_is_listed_and_shown(client: Client, say: "Say") -> None:
    """`ls`, `show` and `trace` find a rollout with turns by its id, as text and as JSON."""
    request = oracle("seen", agent="bash", endpoint="scripted", experiment="seen")
    table = await say(run(request))
    assert "agent_completed" in table
    rollout = "seen/hello-world/bash/seen/0"
    listed = await say(ls.ls(Filters(experiment="seen")))
    [row] = [line.split() for line in listed.splitlines() if line.startswith(rollout)]
    assert row[1:5] == ["completed", "1", "agent_completed", "3"]
    assert (
        json.loads(await say(ls.ls(Filters(experiment="seen"), as_json=True)))["rollout"] == rollout
    )
    shown = await say(show.show(rollout, as_json=False))
    assert "await_agent" in shown
    assert "/blobs/" in shown
    assert "Temporal UI" in shown
    assert json.loads(await say(show.show(rollout, as_json=True)))["reward"] == 1
    turns = await say(trace.trace(rollout, as_json=False))
    assert "-- turn 0" in turns
    assert "[assistant]" in turns
    assert len(json.loads(await say(trace.trace(rollout, as_json=True)))["turns"]) == 3


async def test_ctrl_c_leaves_rollouts_that_can_be_cancelled(client: Client, say: "Say") -> None:
    """Ctrl-C during `run` says how to go on and ends nothing; `cancel` ends it."""
    rollout = "default/long-wait/bash/interrupted/0"
    task = ROOT / "tests" / "tasks" / "long-wait"
    process = await rolldock_run(
        task, "--agent", "bash", "--endpoint", "scripted", "--id", "interrupted"
    )
    assert process.stderr is not None
    async for line in process.stderr:
        if b"await_agent" in line:
            break
    assert any(alive.sandbox.owner.rollout == rollout for alive in await client.sandboxes())
    assert "ours" in await say(sandboxes.sandboxes(as_json=False))
    process.send_signal(signal.SIGINT)
    said = (await process.stderr.read()).decode()
    assert await process.wait() == 130
    assert "--id interrupted" in said
    assert f"rolldock cancel {rollout}" in said
    assert "running" in await say(show.show(rollout, as_json=False))
    assert "cancel asked for" in await say(cancel.cancel([rollout]))
    result = await client.handle(rollout).result()
    assert result.status is Status.CANCELLED
    assert "ended already (cancelled)" in await say(cancel.cancel([rollout]))


async def test_unknown_rollouts_are_named(client: Client) -> None:
    """`show`, `trace` and `cancel` of an id that is nobody's say so."""
    for action in (show.show("no/one", as_json=False), trace.trace("no/one", as_json=False)):
        with pytest.raises(UsageError, match="no rollout 'no/one'"):
            await action
    with pytest.raises(UsageError, match="no rollout 'no/one'"):
        await cancel.cancel(["no/one"])


async def test_an_unknown_rollout_keeps_no_other_from_its_cancel(
    client: Client, say: "Say"
) -> None:
    """Those that there are are cancelled; then the unknown ones are named."""
    task = ROOT / "tests" / "tasks" / "long-wait"
    spec = await client.spec(task, agent="bash", endpoint="scripted")
    handle = await client.start(spec)
    with pytest.raises(UsageError, match="no rollout 'no/one'"):
        await say(cancel.cancel(["no/one", handle.id]))
    assert (await handle.result()).status is Status.CANCELLED


async def test_an_endpoint_name_that_cannot_be_is_refused(client: Client) -> None:
    """Before any server is asked."""
    nowhere = "http://127.0.0.1:1/v1"
    with pytest.raises(UsageError, match="'my model': a name has"):
        await endpoints.add("my model", url=nowhere, model="m", api_key_env=None, mode="chat")


async def test_endpoints_are_added_and_listed(client: Client, stack: Stack, say: "Say") -> None:
    """`endpoint add` asks the server first; `endpoint ls` shows the newest version and no key."""
    url = stack.scripted_url
    os.environ["SOME_MODEL_KEY"] = "sk-not-to-be-shown"
    said = await say(
        endpoints.add("mine", url=url, model="m", api_key_env="SOME_MODEL_KEY", mode="chat")
    )
    del os.environ["SOME_MODEL_KEY"]
    assert "endpoint mine version 1" in said
    listed = await say(endpoints.ls(as_json=False)) + await say(endpoints.ls(as_json=True))
    assert url in listed
    assert "sk-not-to-be-shown" not in listed


async def test_a_refusing_model_server_is_no_endpoint(client: Client) -> None:
    """A server that refuses connections is a usage error, before any rollout is started."""
    url = "http://127.0.0.1:1/v1"
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:1"):
        await run(oracle("refused", agent="bash", model="m", model_url=url))
    assert "refused" not in " ".join(rollout.id for rollout in await client.live())


async def test_agents_are_listed(client: Client, say: "Say") -> None:
    """`agents ls` has every agent with its pinned version."""
    listed = await say(agents.ls())
    for name in ("bash", "nop", "opencode", "oracle"):
        assert name in listed
