"""The ledger of checkpoints: written first, found again, and what it gives to grade again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from rolldock.errors import StageError, TransientStageError
from rolldock.models.checkpoint import CheckpointAsked
from rolldock.models.failure import Cause
from rolldock.models.result import AttemptResult, RolloutResult, Status, StopReason
from rolldock.models.spec import AgentRef, RolloutSpec, TaskRef
from rolldock.models.trace import TraceSummary
from rolldock.sandbox.checkpoints import keep_workspace, read_asked, take_up, write_gone
from rolldock.sandbox.client import Sandboxes, SandboxRequest
from rolldock.store import keys
from rolldock.store.store import Store

if TYPE_CHECKING:
    from tests.sandbox.conftest import Provider

ATTEMPT = "11111111-2222-4333-8444-555555555555"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
DIGEST = "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path / "store"))


def asked_of(sandbox: str) -> CheckpointAsked:
    """What is asked of the attempt's sandbox, for a week."""
    return CheckpointAsked(
        deployment="d",
        rollout="exp/1",
        run="r",
        attempt=ATTEMPT,
        sandbox_id=sandbox,
        workdir="/work",
        stop_reason=StopReason.MAX_TURNS,
        agent_version="1.2",
        agent_exit_code=3,
        asked_at=NOW,
        expires_at=NOW + timedelta(days=7),
    )


async def test_the_ledger_is_written_before_the_request(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox: str
) -> None:
    """When the request arrives the entry is there; a second try asks for nothing."""
    seen: list[CheckpointAsked | None] = []

    async def look(request: web.Request) -> web.StreamResponse:
        seen.append(await read_asked(store, ATTEMPT))
        return await provider.make_checkpoint(request)

    provider.instead[f"POST /api/v1/sandbox/{sandbox}/checkpoints"] = look
    made = await keep_workspace(sandboxes, store, asked_of(sandbox), 5)
    assert await keep_workspace(sandboxes, store, asked_of(sandbox), 5) == made
    assert seen == [asked_of(sandbox)]
    assert list(provider.checkpoints) == [made.checkpoint_id]


async def test_a_checkpoint_whose_answer_was_lost_is_found(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox: str
) -> None:
    """The next try finds it by its sandbox and makes no other."""

    async def lose(request: web.Request) -> web.StreamResponse:
        await provider.make_checkpoint(request)
        return web.json_response({"detail": "lost"}, status=502)

    place = f"POST /api/v1/sandbox/{sandbox}/checkpoints"
    provider.instead[place] = lose
    with pytest.raises(TransientStageError):
        await keep_workspace(sandboxes, store, asked_of(sandbox), 5)
    made = await keep_workspace(sandboxes, store, asked_of(sandbox), 5)
    assert list(provider.checkpoints) == [made.checkpoint_id]


async def test_a_failed_checkpoint_is_made_anew(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox: str
) -> None:
    """One that never becomes durable is a transient error, and is not waited for again."""
    provider.checkpoint_state = "FAILED"
    with pytest.raises(TransientStageError, match="FAILED"):
        await keep_workspace(sandboxes, store, asked_of(sandbox), 5)
    provider.checkpoint_state = "DURABLE"
    made = await keep_workspace(sandboxes, store, asked_of(sandbox), 5)
    assert provider.checkpoints[made.checkpoint_id]["state"] == "DURABLE"
    assert len(provider.checkpoints) == 2


async def test_a_sandbox_that_is_gone_cannot_be_kept(sandboxes: Sandboxes, store: Store) -> None:
    """It is no transient error; the entry stays for the reaper."""
    with pytest.raises(StageError) as caught:
        await keep_workspace(sandboxes, store, asked_of("nobody"), 5)
    assert caught.value.cause is Cause.SANDBOX_LOST
    assert not isinstance(caught.value, TransientStageError)
    assert await read_asked(store, ATTEMPT) is not None


async def test_what_was_kept_is_taken_up_with_its_attempts_end(
    sandboxes: Sandboxes, store: Store, sandbox: str
) -> None:
    """Work directory, stop reason and version by the ledger, the trace by the result."""
    made = await keep_workspace(sandboxes, store, asked_of(sandbox), 5)
    with pytest.raises(StageError, match="has no result yet"):
        await take_up(store, ATTEMPT, NOW)
    result = _failed_result()
    await store.create(keys.result(result.rollout), result.model_dump_json().encode())
    checkpoint, left = await take_up(store, ATTEMPT, NOW)
    assert checkpoint == made.checkpoint_id
    assert (left.workdir, left.stop_reason) == ("/work", StopReason.MAX_TURNS)
    assert (left.agent_version, left.agent_exit_code) == ("1.2", 3)
    assert left.trace == result.attempts[0].trace


async def test_what_is_not_there_is_not_taken_up(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox: str
) -> None:
    """Never asked for, never made, expired, deleted: `replay_unavailable`, in words of its own."""

    async def refusal(now: datetime = NOW) -> str:
        with pytest.raises(StageError) as caught:
            await take_up(store, ATTEMPT, now)
        assert caught.value.cause is Cause.REPLAY_UNAVAILABLE
        return str(caught.value)

    assert "start its rollout with keep_workspace" in await refusal()
    provider.checkpoint_state = "FAILED"
    with pytest.raises(StageError):
        await keep_workspace(sandboxes, store, asked_of(sandbox), 5)
    assert "never came to be" in await refusal()
    provider.checkpoint_state = "DURABLE"
    await keep_workspace(sandboxes, store, asked_of(sandbox), 5)
    assert "expired at 2026-01-09 00:00 UTC" in await refusal(NOW + timedelta(days=7))
    await write_gone(store, ATTEMPT, ())
    assert "expired" in await refusal()


async def test_a_sandbox_of_a_checkpoint_has_no_image(
    provider: "Provider", sandboxes: Sandboxes, sandbox_request: SandboxRequest
) -> None:
    """Image and disk are left out; a checkpoint that the provider lacks is no sandbox's fault."""
    bodies: list[dict[str, object]] = []

    async def look(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        return web.json_response({"detail": "no checkpoint"}, status=404)

    provider.instead["POST /api/v1/sandbox"] = look
    restored = sandbox_request.model_copy(update={"checkpoint_id": "chk9"})
    with pytest.raises(StageError) as caught:
        await sandboxes.create(restored)
    assert caught.value.cause is Cause.REPLAY_UNAVAILABLE
    assert bodies[0]["checkpoint_id"] == "chk9"
    assert not {"docker_image", "disk_size_gb"} & bodies[0].keys()


def _failed_result() -> RolloutResult:
    spec = RolloutSpec(id="exp/1", task=TaskRef(name="t", digest=DIGEST), agent=AgentRef(name="a"))
    attempt = AttemptResult(
        attempt=ATTEMPT,
        number=1,
        stage="grade",
        stop_reason=StopReason.INFRASTRUCTURE,
        trace=TraceSummary(ref=keys.trace(ATTEMPT), n_turns=3),
        started_at=NOW,
    )
    return RolloutResult(
        rollout=spec.id,
        run="r",
        experiment=spec.experiment,
        spec=spec,
        spec_digest=DIGEST,
        task_digest=DIGEST,
        agent="a",
        status=Status.FAILED,
        stop_reason=StopReason.INFRASTRUCTURE,
        attempts=(attempt,),
        started_at=NOW,
        ended_at=NOW,
    )
