"""From what the store has of ended rollouts to the specs of their replays, and what is refused."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rolldock.errors import UsageError
from rolldock.harbor.bundle import digest
from rolldock.harbor.task import read_task
from rolldock.models.checkpoint import CheckpointAsked, CheckpointGone, CheckpointMade
from rolldock.models.failure import Cause
from rolldock.models.replay import OnDivergence, ReplayFrom, ReplayPoint
from rolldock.models.result import RolloutResult, StopReason
from rolldock.models.spec import AgentRef, Sampling
from rolldock.store import keys
from rolldock.store.recordings import delete_recordings
from rolldock.store.store import Store
from rolldock.trainer.origins import link_origin, replays_of
from rolldock.trainer.replay_points import turn_slot
from rolldock.trainer.replay_request import ReplayRequest
from rolldock.trainer.replay_specs import replay_specs
from rolldock.trainer.replaying import ReplayPlan, plan_replays
from tests.ended import conversation, end_rollout, spec_of
from tests.recording import Recording, make_trace

HELLO = Path(__file__).parents[2] / "examples" / "tasks" / "hello-world"
TAG = "abcdef"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path / "store"))


def asked(kind: ReplayFrom, **fields: Any) -> ReplayRequest:
    """A request."""
    return ReplayRequest(kind=kind, **fields)


def point(result: RolloutResult, kind: ReplayFrom, **fields: Any) -> ReplayPoint:
    """A point in the last attempt."""
    return ReplayPoint(kind=kind, attempt=result.attempts[-1].attempt, **fields)


def refusals(plan: ReplayPlan) -> list[str]:
    """Why rollouts are not replayed; nothing may be planned for them."""
    assert not plan.specs
    return [refusal.why for refusal in plan.refused]


async def keep(store: Store, result: RolloutResult, *, days: float = 7) -> str:
    """The ledger's records of a checkpoint of the last attempt, as its stage writes them."""
    now = datetime.now(UTC)
    attempt = result.attempts[-1].attempt
    wanted = CheckpointAsked(
        deployment="deployment",
        rollout=result.rollout,
        run=result.run,
        attempt=attempt,
        sandbox_id="sandbox",
        workdir="/app",
        stop_reason=StopReason.AGENT_COMPLETED,
        asked_at=now,
        expires_at=now + timedelta(days=days),
    )
    made = CheckpointMade(checkpoint_id="checkpoint", made_at=now)
    await store.create(keys.checkpoint_asked(attempt), wanted.model_dump_json().encode())
    await store.create(keys.checkpoint_made(attempt), made.model_dump_json().encode())
    return attempt


async def test_from_start_is_the_same_spec_under_another_id(store: Store) -> None:
    """Seed, group and limits stay; only the id is new, and it names its origin."""
    sampling = Sampling(seed=7, temperature=1.0)
    origin = spec_of("exp/1/task/0", sampling=sampling, group="g", keep_workspace=True)
    result = await end_rollout(store, origin)
    plan = await plan_replays(store, [origin.id], asked(ReplayFrom.START))
    [spec] = plan.specs
    assert spec.id.startswith("exp/1/task/0@start-")
    assert spec.replay == point(result, ReplayFrom.START)
    same = spec.model_copy(update={"id": origin.id, "replay_of": None, "replay": None})
    assert same == origin


async def test_from_a_recording_takes_the_last_attempt_with_turns(store: Store) -> None:
    """What is played is that attempt's session; on a divergence it does as asked."""
    result = await end_rollout(store, spec_of("a"), conversation(3))
    request = asked(ReplayFrom.RECORDING, on_divergence=OnDivergence.LIVE)
    [spec] = (await plan_replays(store, ["a"], request)).specs
    live = {"on_divergence": OnDivergence.LIVE}
    assert spec.replay == point(result, ReplayFrom.RECORDING, **live)
    assert spec.plays_recording


async def test_from_a_turn_makes_forks(store: Store) -> None:
    """Each with a seed that no other has, in a group of their own, from the slot of turn K."""
    origin = spec_of("a/b", sampling=Sampling(seed=5), group="g")
    result = await end_rollout(store, origin, conversation(3))
    [*specs] = (await plan_replays(store, ["a/b"], asked(ReplayFrom.TURN, turn=2, n=3))).specs
    base = specs[0].id.removesuffix("/0")
    assert [spec.id for spec in specs] == [f"{base}/{place}" for place in range(3)]
    assert {spec.group for spec in specs} == {base}
    seeds = [spec.sampling.seed for spec in specs]
    assert len({5, *seeds}) == 4
    assert [spec.replay for spec in specs] == [point(result, ReplayFrom.TURN, turn=1)] * 3


async def test_a_rollout_without_a_seed_gives_its_forks_seeds(store: Store) -> None:
    """They are drawn from the id, so that the same command again finds the same rollouts."""
    await end_rollout(store, spec_of("a"), conversation(2))
    request = asked(ReplayFrom.TURN, turn=1, n=4, id="forks")
    first = await plan_replays(store, ["a"], request)
    assert first.specs == (await plan_replays(store, ["a"], request)).specs
    assert [spec.id for spec in first.specs] == [f"forks/a/{place}" for place in range(4)]
    seeds = {spec.sampling.seed for spec in first.specs}
    assert len(seeds) == 4
    assert None not in seeds


async def test_turns_are_counted_on_the_conversations_branch() -> None:
    """A branch is the path to a turn; by default to the last one that is not auxiliary."""
    recording = Recording()
    for after in (None, 0, 0, 2):
        recording.say(after, [1])
    recording.say(None, [2])
    trace = make_trace(list(recording.turns.values()))
    assert [turn_slot(trace, 1), turn_slot(trace, 1, branch=3)] == [4, 0]
    aside = trace.model_copy(update={"auxiliary": (4,)})
    assert [turn_slot(aside, turn) for turn in (1, 2, 3)] == [0, 2, 3]
    assert turn_slot(aside, 2, branch=1) == 1
    with pytest.raises(UsageError, match=r"turn 4: the branch to slot 3 has 3 turns.* 0, 2, 3"):
        turn_slot(aside, 4)
    with pytest.raises(UsageError, match="slot 9 is no turn"):
        turn_slot(aside, 1, branch=9)


async def test_a_grade_needs_a_checkpoint(store: Store) -> None:
    """Refused before the start, with what keeps one; expired or deleted ones count for nothing."""
    result = await end_rollout(store, spec_of("a"), conversation(1), cause=Cause.VERIFIER_FAILED)
    request = asked(ReplayFrom.GRADE)
    [why] = refusals(await plan_replays(store, ["a"], request))
    assert "rolldock run --keep-workspace" in why
    attempt = await keep(store, result)
    [spec] = (await plan_replays(store, ["a"], request)).specs
    assert spec.replay == ReplayPoint(kind=ReplayFrom.GRADE, attempt=attempt)
    assert spec.only_grades
    assert not spec.keep_workspace
    gone = CheckpointGone(gone_at=datetime.now(UTC))
    await store.create(keys.checkpoint_gone(attempt), gone.model_dump_json().encode())
    [why] = refusals(await plan_replays(store, ["a"], request))
    assert "expired" in why


async def test_what_was_graded_again_can_be_graded_once_more(store: Store) -> None:
    """A replay from the grade kept nothing itself: its origin's checkpoint is taken."""
    attempt = await keep(store, await end_rollout(store, spec_of("a"), conversation(1)))
    [again] = (await plan_replays(store, ["a"], asked(ReplayFrom.GRADE))).specs
    await end_rollout(store, again.model_copy(update={"endpoint": None}))
    [spec] = (await plan_replays(store, [again.id], asked(ReplayFrom.GRADE))).specs
    assert spec.replay_of == again.id
    assert spec.replay is not None
    assert spec.replay.attempt == attempt


async def test_other_tests_come_with_their_time(store: Store) -> None:
    """The bundle is the given one, the task's name the rollout's own."""
    result = await end_rollout(store, spec_of("a"), conversation(1))
    await keep(store, result)
    plan = await plan_replays(store, ["a"], asked(ReplayFrom.GRADE, tests=HELLO))
    task = read_task(HELLO)
    [spec] = plan.specs
    assert (spec.task.name, spec.task.digest) == ("task", digest(task.bundle))
    assert spec.limits.grade_seconds == task.config.verifier.timeout_sec
    assert plan.tests == task.bundle


async def test_what_cannot_be_replayed_says_why_and_keeps_nobody_back(store: Store) -> None:
    """An unknown one, one without a model, one without turns, a deleted one; the others go on."""
    await end_rollout(store, spec_of("good"), conversation(1))
    await end_rollout(store, spec_of("silent"))
    await end_rollout(store, spec_of("oracle", agent=AgentRef(name="oracle"), endpoint=None))
    deleted = await end_rollout(store, spec_of("deleted"), conversation(1))
    await delete_recordings(store, deleted, deleted.ended_at + timedelta(days=200))
    ids = ["nobody", "silent", "oracle", "good", "deleted", "good"]
    plan = await plan_replays(store, ids, asked(ReplayFrom.RECORDING))
    assert [spec.replay_of for spec in plan.specs] == ["good"]
    whys = {refusal.rollout: refusal.why for refusal in plan.refused}
    assert set(whys) == {"nobody", "silent", "oracle", "deleted"}
    assert "no result" in whys["nobody"]
    assert "no turn was recorded" in whys["silent"]
    assert "no turn was recorded" in whys["oracle"]
    assert "deleted after 200 days" in whys["deleted"]
    [why] = refusals(await plan_replays(store, ["good"], asked(ReplayFrom.START, attempt=2)))
    assert "no attempt 2" in why


@pytest.mark.parametrize("request_id", [None, "p/q"])
@pytest.mark.parametrize("n", [1, 12])
@pytest.mark.parametrize("origin", ["o", "x" * 200, f"{'y' * 180}/{'z' * 19}", "o@turn-a/1"])
async def test_every_origin_gives_legal_ids(
    store: Store, origin: str, n: int, request_id: str | None
) -> None:
    """At most 200 characters whatever the origin is, and no two alike."""
    await end_rollout(store, spec_of(origin), conversation(1))
    request = asked(ReplayFrom.TURN, turn=1, n=n, id=request_id)
    specs = (await plan_replays(store, [origin], request)).specs
    assert len({spec.id for spec in specs}) == n
    assert all(spec.replay_of == origin for spec in specs)
    if request_id is not None and len(origin) < 150:
        assert specs[0].id == f"p/q/{origin}{'/0' if n > 1 else ''}"


async def test_long_origins_that_begin_alike_do_not_share_an_id(store: Store) -> None:
    """What is cut off is told apart by a digest."""
    ids = [f"{'x' * 198}{end}" for end in "ab"]
    for one in ids:
        await end_rollout(store, spec_of(one))
    plan = await plan_replays(store, ids, asked(ReplayFrom.START, id="again"))
    assert len({spec.id for spec in plan.specs}) == 2


async def test_a_spec_of_a_later_version_is_not_replayed_by_guess(store: Store) -> None:
    """A field that is not known here might be what the rollout was about."""
    result = await end_rollout(store, spec_of("a"))
    content = result.model_dump_json().replace('"attempts":3', '"attempts":3,"later":1', 1)
    read = RolloutResult.model_validate_json(content, extra="allow")
    with pytest.raises(UsageError, match="later"):
        replay_specs(read, asked(ReplayFrom.START), point(result, ReplayFrom.START), TAG)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "turn"}, "turn"),
        ({"kind": "start", "turn": 1}, "turn"),
        ({"kind": "turn", "turn": 0}, "turn"),
        ({"kind": "recording", "branch": 1}, "branch"),
        ({"kind": "start", "tests": "x"}, "tests"),
        ({"kind": "grade", "on_divergence": "live"}, "on_divergence"),
        ({"kind": "start", "id": "a//b"}, "id"),
    ],
)
def test_a_request_has_to_make_sense(fields: dict[str, Any], field: str) -> None:
    """What one kind of replay does not know is refused, not ignored."""
    with pytest.raises(ValidationError, match=field):
        ReplayRequest.model_validate(fields)


async def test_links_go_both_ways(store: Store) -> None:
    """The origin names its replays; a replay's origins are found, the oldest last."""
    await end_rollout(store, spec_of("a"))
    assert await link_origin(store, spec_of("a")) == ()
    first = spec_of("b", replay_of="a")
    assert await link_origin(store, first) == ("a",)
    await end_rollout(store, first)
    assert await link_origin(store, spec_of("c", replay_of="b")) == ("b", "a")
    assert await link_origin(store, spec_of("d", replay_of="a")) == ("a",)
    assert await replays_of(store, "a") == ["b", "d"]
    assert await replays_of(store, "c") == []
