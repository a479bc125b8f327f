"""From attempts to the result record: what is believed, trained on, listed and committed."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rolldock.models.failure import Cause, Failure
from rolldock.models.result import AttemptResult, IndexEntry, Stage, StopReason
from rolldock.models.result import Status as State
from rolldock.models.spec import AgentRef, Purpose, RolloutSpec, Sampling, TaskRef
from rolldock.models.stages import Order, SealRequest
from rolldock.models.trace import TraceSummary
from rolldock.results import build_result, commit, index_entry, read_result
from rolldock.store import keys
from rolldock.store.store import Store

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENDED = STARTED + timedelta(seconds=12.5)
DIGEST = "0" * 64
TRACE = TraceSummary(ref="sessions/x/trace", n_turns=3, n_samples=1, output_tokens=30)
PINNED = Sampling(temperature=1)


def request(
    *,
    status: State = State.COMPLETED,
    rewards: dict[str, float] | None = None,
    attempt: dict[str, Any] | None = None,
    **spec: Any,
) -> SealRequest:
    """The seal of a rollout that may be trained on, but for what a test says otherwise."""
    asked = RolloutSpec.model_validate(
        {
            "id": "exp/1/task/0",
            "task": TaskRef(name="task", digest=DIGEST),
            "agent": AgentRef(name="bash"),
            "sampling": PINNED,
            **spec,
        }
    )
    order = Order(
        rollout=asked.id,
        run="run",
        attempt="11111111-1111-4111-8111-111111111111",
        number=1,
        spec=asked,
        spec_digest=DIGEST,
        deadline=ENDED,
    )
    last: dict[str, Any] = {
        "attempt": order.attempt,
        "number": 1,
        "stage": Stage.GRADE,
        "stop_reason": StopReason.AGENT_COMPLETED,
        "agent_version": "1.2",
        "trace": TRACE,
        "timings": {"grade": 1.5},
        "started_at": STARTED,
    }
    return SealRequest(
        order=order,
        attempt=AttemptResult.model_validate(last | (attempt or {})),
        last=True,
        status=status,
        rewards={"reward": 1.0} if rewards is None else rewards,
        started_at=STARTED,
    )


def test_a_good_rollout_is_trained_on() -> None:
    """Graded, with samples, at temperature 1: nothing speaks against it."""
    result = build_result(request(), ENDED)
    assert (result.reward, result.reward_valid, result.trainable) == (1.0, True, True)
    assert result.not_trainable_because is None
    assert result.timings == {"grade": 1.5, "total": 12.5}
    assert (result.agent_version, result.trace) == ("1.2", TRACE)
    assert [one.number for one in result.attempts] == [1]


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"purpose": Purpose.EVAL}, "its purpose is evaluation"),
        ({"status": State.FAILED}, "it is failed: it has no reward"),
        ({"status": State.CANCELLED}, "it is cancelled: it has no reward"),
        (
            {"attempt": {"stop_reason": StopReason.AGENT_TIMEOUT}},
            "it ended by agent_timeout",
        ),
        (
            {"attempt": {"stop_reason": StopReason.CONTEXT_LENGTH}},
            "it ended by context_length",
        ),
        ({"attempt": {"trace": None}}, "no model was called"),
        ({"attempt": {"trace": TraceSummary(ref="x")}}, "no model was called"),
        (
            {"attempt": {"trace": TraceSummary(ref="x", n_turns=1)}},
            "it gives no sample: no turn has token ids and a sampled token",
        ),
        (
            {"attempt": {"trace": TRACE.model_copy(update={"untrainable": "turn 1 was hot"})}},
            "turn 1 was hot",
        ),
        ({"sampling": Sampling()}, "its temperature is not pinned: set sampling.temperature"),
    ],
)
def test_what_is_not_trained_on_says_why(change: dict[str, Any], because: str) -> None:
    """Each rule gives its own reason."""
    result = build_result(request(**change), ENDED)
    assert not result.trainable
    assert result.not_trainable_because is not None
    assert result.not_trainable_because.startswith(because)


def test_sampling_is_judged_by_what_was_sent() -> None:
    """The spec has to pin a temperature; what it means is in the trace, turn by turn."""
    sampling = Sampling(temperature=0.7, top_p=0.9)
    assert build_result(request(sampling=sampling), ENDED).trainable


@pytest.mark.parametrize("reason", [StopReason.MAX_TURNS, StopReason.TOKEN_BUDGET])
def test_a_reached_budget_is_trained_on(reason: StopReason) -> None:
    """A budget is part of what the policy has to learn."""
    assert build_result(request(attempt={"stop_reason": reason}), ENDED).trainable


@pytest.mark.parametrize("status", [State.FAILED, State.CANCELLED])
def test_without_a_grade_there_is_no_reward_not_even_zero(status: State) -> None:
    """Whatever the workflow still holds, a rollout that was not graded has no reward."""
    failure = Failure(stage="grade", cause=Cause.SANDBOX_LOST, message="m", retryable=True)
    result = build_result(request(status=status, attempt={"failure": failure}), ENDED)
    assert (result.reward, result.rewards, result.reward_valid) == (None, {}, False)
    assert result.failure == failure


@pytest.mark.parametrize(
    ("rewards", "reward"),
    [
        ({"reward": 0.5, "style": 1.0}, 0.5),
        ({"style": 0.25}, 0.25),
        ({"style": 0.25, "speed": 1.0}, None),
        ({}, None),
        ({"reward": 0.0}, 0.0),
    ],
)
def test_which_value_is_the_reward(rewards: dict[str, float], reward: float | None) -> None:
    """The key `reward`, else the only one, else none; all of them are kept."""
    result = build_result(request(rewards=rewards), ENDED)
    assert (result.reward, result.rewards, result.reward_valid) == (reward, rewards, True)


@pytest.mark.parametrize("task", ["t" * 200, "ä" * 200, "漢" * 200])
def test_an_index_entry_is_small_however_long_the_names_are(task: str) -> None:
    """At most 1 KB, with the whole id in it."""
    result = build_result(
        request(
            id="r" * 200,
            experiment="e" * 128,
            group="g" * 128,
            endpoint="m" * 128,
            task=TaskRef(name=task, digest=DIGEST),
            agent=AgentRef(name="a" * 64),
        ),
        ENDED,
    )
    entry = index_entry(result)
    assert len(entry.model_dump_json().encode()) <= 1000
    assert (entry.rollout, entry.group) == ("r" * 200, "g" * 128)
    assert task.startswith(entry.task)


def test_an_index_entry_says_what_lists_show() -> None:
    """Outcome and size of a rollout, without its record."""
    entry = index_entry(build_result(request(), ENDED))
    assert (entry.task, entry.reward, entry.n_turns, entry.seconds) == ("task", 1.0, 3, 12.5)


def test_an_index_entry_counts_the_tokens_of_all_attempts() -> None:
    """What a lost attempt cost is in the sum; a trace that two attempts name is counted once."""
    lost, last = (
        TRACE.model_copy(update={"ref": f"sessions/{name}/trace", "input_tokens": n})
        for name, n in (("lost", 7), ("last", 100))
    )
    asked = request(attempt={"trace": last})
    again = asked.attempt.model_copy(update={"number": 2})
    earlier = (asked.attempt.model_copy(update={"trace": lost}), again)
    entry = index_entry(build_result(asked.model_copy(update={"earlier": earlier}), ENDED))
    assert (entry.n_turns, entry.input_tokens, entry.output_tokens) == (3, 107, 60)


async def test_the_first_commit_stands(tmp_path: Path) -> None:
    """Of two results of one rollout the first is kept, returned to both, and listed once."""
    store = Store.open(str(tmp_path))
    first = build_result(request(), ENDED)
    second = build_result(request(status=State.CANCELLED), ENDED + timedelta(days=1))
    assert await commit(store, first) == first
    assert await commit(store, second) == first
    assert [name async for name in store.names("index")] == [
        keys.index(ENDED, first.experiment, first.rollout)
    ]


async def test_commits_at_once_agree(tmp_path: Path) -> None:
    """Whoever seals at the same time, all report the one result that is stored."""
    store = Store.open(str(tmp_path))
    results = [build_result(request(), ENDED + timedelta(seconds=n)) for n in range(8)]
    committed = await asyncio.gather(*(commit(store, result) for result in results))
    stored = await store.get(keys.result("exp/1/task/0"))
    assert stored is not None
    assert {result.ended_at for result in committed} == {read_result(stored).ended_at}


async def test_an_index_entry_that_a_crash_left_out_is_written_later(tmp_path: Path) -> None:
    """A process that dies between record and index is made good by the next seal."""
    store = Store.open(str(tmp_path))
    result = build_result(request(), ENDED)
    await store.create(keys.result(result.rollout), result.model_dump_json().encode())
    await commit(store, result)
    [name] = [name async for name in store.names("index")]
    content = await store.get(name)
    assert content is not None
    assert IndexEntry.model_validate_json(content) == index_entry(result)


def test_a_result_of_a_later_version_is_read() -> None:
    """New fields anywhere in it, also in the spec, and causes without a name here."""
    written = build_result(request(), ENDED).model_dump(mode="json")
    written["carbon"] = 3
    written["spec"]["colour"] = "blue"
    written["spec"]["limits"]["max_laughs"] = 2
    written["attempts"][0]["weather"] = "fine"
    written["failure"] = {"stage": "s", "cause": "moon", "message": "", "retryable": False}
    result = read_result(json.dumps(written).encode())
    assert result.failure is not None
    assert (result.failure.cause, result.model_extra) == ("moon", {"carbon": 3})
    assert result.spec.limits.total_seconds == 6 * 3600
