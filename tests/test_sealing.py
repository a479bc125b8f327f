"""Sealing a rollout: a broken session costs its trace, never the result."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rolldock.errors import UsageError
from rolldock.models.result import AttemptResult, Stage, Status, StopReason
from rolldock.models.spec import AgentRef, RolloutSpec, TaskRef
from rolldock.models.stages import Order, SealRequest
from rolldock.sealing import seal_attempt, seal_rollout
from rolldock.store import keys
from rolldock.store.recordings import delete_recordings
from rolldock.store.store import Store
from rolldock.trainer.recordings import read_recording
from tests.ended import conversation, end_rollout, spec_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ATTEMPT = "11111111-1111-4111-8111-111111111111"
DIGEST = "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path))


def graded(rollout: str = "exp/1/task/0") -> SealRequest:
    """The seal of a rollout with reward 1 whose agent called a model."""
    spec = RolloutSpec(
        id=rollout, task=TaskRef(name="task", digest=DIGEST), agent=AgentRef(name="bash")
    )
    order = Order(
        rollout=rollout,
        run="run",
        attempt=ATTEMPT,
        number=1,
        spec=spec,
        spec_digest=DIGEST,
        deadline=NOW + timedelta(hours=1),
    )
    attempt = AttemptResult(
        attempt=ATTEMPT,
        number=1,
        stage=Stage.GRADE,
        stop_reason=StopReason.AGENT_COMPLETED,
        started_at=NOW,
    )
    return SealRequest(
        order=order,
        attempt=attempt,
        last=True,
        status=Status.COMPLETED,
        rewards={"reward": 1.0},
        started_at=NOW,
    )


@pytest.mark.parametrize("record", [b"{", b'{"kind": "dream"}', b'{"kind": "turn", "turn": 7}'])
async def test_a_broken_record_costs_the_trace_not_the_reward(store: Store, record: bytes) -> None:
    """The result keeps its reward, says why there is no trace, and is not trained on."""
    await store.create(keys.reply(ATTEMPT, 0), record)
    result = await seal_rollout(store, graded(), NOW)
    assert (result.status, result.reward, result.trace) == (Status.COMPLETED, 1.0, None)
    assert result.attempts[-1].trace_error is not None
    assert not result.trainable
    assert "could not be sealed" in str(result.not_trainable_because)
    assert await store.get(keys.result("exp/1/task/0")) is not None
    assert await store.get(keys.reply(ATTEMPT, 0)) == record


async def test_the_first_seal_stands(store: Store) -> None:
    """A second one, whatever it brings, returns what was committed."""
    first = await seal_rollout(store, graded(), NOW)
    other = graded().model_copy(update={"status": Status.FAILED, "rewards": {}})
    assert await seal_rollout(store, other, NOW + timedelta(seconds=5)) == first


async def test_a_deleted_recording_is_not_sealed_again(store: Store) -> None:
    """As by a run that was reset long after its end: no empty trace takes the old one's place."""
    ended = await end_rollout(store, spec_of("long-ago"), conversation(2))
    await delete_recordings(store, ended, datetime.now(UTC))
    [attempt] = ended.attempts
    request = graded("long-ago")
    again = request.model_copy(
        update={"attempt": request.attempt.model_copy(update={"attempt": attempt.attempt})}
    )
    sealed = await seal_attempt(store, again, NOW)
    assert sealed.trace is None
    assert "was deleted at" in str(sealed.trace_error)
    assert await store.get(keys.trace(attempt.attempt)) is None
    assert await seal_rollout(store, again, NOW) == ended


async def test_what_an_interrupted_delete_left_is_no_recording(store: Store) -> None:
    """The mark is written first, and counts: a reader is told, whatever is still there."""
    ended = await end_rollout(store, spec_of("long-ago"), conversation(2))
    assert ended.trace is not None
    assert len((await read_recording(store, "long-ago", ended.trace)).turns) == 2
    content = await store.get(ended.trace.ref)
    await delete_recordings(store, ended, datetime.now(UTC))
    await store.create(ended.trace.ref, content or b"")
    with pytest.raises(UsageError, match="recording of rollout 'long-ago' was deleted after"):
        await read_recording(store, "long-ago", ended.trace)
