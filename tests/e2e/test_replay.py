"""Replays as a person and a trainer ask for them: of one rollout, of a query, of a file of ids."""

import asyncio
import json
import os
import pty
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rolldock.cli.stack.stack import Stack
from rolldock.models import names
from rolldock.models.endpoint import Endpoint
from rolldock.models.failure import Cause
from rolldock.models.replay import ReplayFrom
from rolldock.models.result import RolloutResult, Status
from rolldock.models.spec import Purpose
from rolldock.store import endpoints
from rolldock.trainer.client import Client
from rolldock.trainer.replay_request import ReplayRequest
from rolldock.trainer.replaying import ReplaysRefusedError
from tests.e2e.runs import HELLO, run

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the bubblewrap backend needs root"),
]

ROLLDOCK = Path(sys.executable).with_name("rolldock")
_FOREIGN = ("ROLLDOCK_", "PRIME_", "TEMPORAL_")


class Said:
    """What a command came to."""

    def __init__(self, code: int | None, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out.decode()
        self.err = err.decode()

    @property
    def results(self) -> list[RolloutResult]:
        """The results on stdout, one a line."""
        return [RolloutResult.model_validate_json(line) for line in self.out.splitlines()]


async def rolldock(stack: Stack, *arguments: str, stdin: str = "") -> Said:
    """The real command, typed beside the stack."""
    process = await _begun(stack, arguments, PIPE)
    out, err = await process.communicate(stdin.encode())
    return Said(process.returncode, out, err)


async def rolldock_at_a_terminal(stack: Stack, *arguments: str, answer: str) -> Said:
    """The same with a person who answers its question."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        process = await _begun(stack, arguments, theirs)
        out, err = await process.communicate()
    finally:
        os.close(ours)
        os.close(theirs)
    return Said(process.returncode, out, err)


async def _begun(stack: Stack, arguments: tuple[str, ...], stdin: int) -> Process:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return await asyncio.create_subprocess_exec(
        *(ROLLDOCK, *arguments),
        env=kept | {"ROLLDOCK_HOME": str(stack.home.root)},
        stdin=stdin,
        stdout=PIPE,
        stderr=PIPE,
    )


async def test_a_replay_and_its_origin_name_each_other(stack: Stack, client: Client) -> None:
    """By the command and by the client: new ids, the same spec, links in store and Temporal."""
    origin = await run(client, HELLO, "bash", "scripted")
    said = await rolldock(stack, "replay", origin.rollout, "--from", "start", "--json")
    assert said.code == 0, said.err
    [result] = said.results
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0)
    assert result.spec.replay_of == origin.rollout
    assert result.trace is not None
    assert origin.trace is not None
    assert result.trace.n_turns == origin.trace.n_turns

    [handle] = await client.replay([result.rollout], ReplayRequest(kind=ReplayFrom.START))
    again = await handle.result()
    assert again.spec.replay_of == result.rollout
    described = await client.temporal.get_workflow_handle(again.rollout).describe()
    assert described.search_attributes[names.ATTRIBUTE_REPLAY_OF] == [
        result.rollout,
        origin.rollout,
    ]
    assert await described.memo_value(names.MEMO_REPLAY_OF, type_hint=str) == result.rollout

    shown = await rolldock(stack, "show", origin.rollout)
    assert result.rollout in shown.out
    assert "start" in shown.out
    shown = await rolldock(stack, "show", again.rollout)
    assert f"{result.rollout}, from its start" in shown.out
    assert (await client.handle(origin.rollout).stored()) == origin, "evidence is never touched"


async def test_failed_rollouts_are_replayed_by_a_query(stack: Stack, client: Client) -> None:
    """A model server that was not there: once it is, all that failed for it are run again; the
    replays are not counted beside what they repeat unless that is asked for."""
    experiment = f"mended-{uuid.uuid4().hex[:8]}"
    broken = Endpoint(
        name=experiment,
        version=1,
        replicas=(f"{stack.scripted_url}/nowhere",),
        model="scripted",
        created_at=datetime.now(UTC),
    )
    await endpoints.add(client.store, broken)
    specs = [
        await client.spec(
            HELLO,
            agent="bash",
            endpoint=experiment,
            experiment=experiment,
            purpose=Purpose.EVAL,
            attempts=1,
        )
        for _ in range(2)
    ]
    failed = [result async for result in client.run(specs)]
    assert {result.failure and result.failure.cause for result in failed} == {Cause.NO_MODEL_CALL}
    await client.add_endpoint(experiment, url=stack.scripted_url, model="scripted")

    query = ("--experiment", experiment, "--cause", "no_model_call")
    command = ("replay", *query, "--from", "start", "--id", f"again-{experiment}")
    planned = await rolldock(stack, *command, "--dry-run", "--json")
    ids = {json.loads(line)["id"] for line in planned.out.splitlines()}
    assert ids == {f"again-{experiment}/{spec.id}" for spec in specs}
    refused = await rolldock_at_a_terminal(stack, *command, answer="n")
    assert refused.code == 1
    assert f"Replay 2 rollouts (experiment {experiment}, cause no_model_call)" in refused.err
    assert "nothing was started" in refused.err
    first = await rolldock(stack, *command, "--json")
    assert first.code == 0, first.err
    assert {result.rollout for result in first.results} == ids
    assert {result.reward for result in first.results} == {1.0}
    same = ReplayRequest(kind=ReplayFrom.START, id=f"again-{experiment}")
    handles = await client.replay([spec.id for spec in specs], same)
    attached = [await handle.result() for handle in handles]
    assert {result.run for result in attached} == {result.run for result in first.results}
    for more, n_counted in ((), 2), (("--replays",), 4):
        counted = await rolldock(stack, "stats", "--experiment", experiment, "--json", *more)
        assert json.loads(counted.out)["n"] == n_counted
        assert ("left out: 2 replays" in counted.err) is not bool(more)


async def test_a_file_of_ids_names_what_is_refused(stack: Stack, client: Client) -> None:
    """The others are started; the exit code says that not all were."""
    origin = await run(client, HELLO, "oracle")
    lines = f"{origin.rollout}\n\n" + json.dumps({"rollout": "no/one"}) + "\n"
    said = await rolldock(stack, "replay", "--ids", "-", "--from", "start", stdin=lines)
    assert said.code == 1
    assert "no/one: not replayed: it has no result" in said.err
    assert f"{origin.rollout}@start-" in said.out
    with pytest.raises(ReplaysRefusedError, match="no turn was recorded") as raised:
        await client.replay([origin.rollout], ReplayRequest(kind=ReplayFrom.RECORDING))
    assert [refusal.rollout for refusal in raised.value.refused] == [origin.rollout]
    assert raised.value.started == ()
