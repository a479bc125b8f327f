"""Statistics of ended rollouts against published values and plain counts."""

import itertools
import statistics

import pytest

from rolldock.index.stats import count, mean_interval, pass_at_k, student_t
from rolldock.models.result import Status
from tests.index.entries import entry, failed


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (1000, 1.962)],
)
def test_student_t(degrees: int, quantile: float) -> None:
    """The quantile of every table of Student's distribution, to 0.2 %."""
    assert student_t(degrees) == pytest.approx(quantile, rel=2e-3)


def test_wilson_interval() -> None:
    """Rewards of 0 and 1: 8 of 10 give the textbook's 0.490 to 0.943; none of 10 begins at 0."""
    found = mean_interval([1] * 8 + [0] * 2)
    assert found is not None
    assert (round(found.low, 3), round(found.high, 3)) == (0.490, 0.943)
    none = mean_interval([0] * 10)
    assert none is not None
    assert none.low == 0
    assert none.high == pytest.approx(0.2775, abs=1e-3)


def test_t_interval() -> None:
    """Other rewards: six have the mean and 2.571 standard errors; one alone has no interval."""
    rewards = [0.1, 0.4, 0.5, 0.5, 0.7, 0.9]
    found = mean_interval(rewards)
    assert found is not None
    half = 2.571 * statistics.stdev(rewards) / 6**0.5
    assert found.high == pytest.approx(statistics.fmean(rewards) + half, rel=2e-3)
    assert found.low == pytest.approx(statistics.fmean(rewards) - half, rel=2e-3)
    assert mean_interval([0.5]) is None
    assert mean_interval([]) is None


def test_pass_at_k_is_the_mean_over_all_choices() -> None:
    """pass@k of a task is the share of its k-sample choices in which one passes."""
    samples = [True, False, False, True, False, False]
    for k in (1, 2, 5, 6):
        choices = [any(choice) for choice in itertools.combinations(samples, k)]
        assert pass_at_k([samples], k) == pytest.approx(statistics.fmean(choices))
    assert pass_at_k([samples, [False] * 6], 1) == pytest.approx(1 / 6)


def test_pass_at_k_needs_k_samples_of_every_task() -> None:
    """A task with fewer samples than k leaves no answer, rather than a flattering one."""
    assert pass_at_k([[True] * 8, [False] * 7], 8) is None
    assert pass_at_k([], 1) is None


def test_failures_are_never_rewards_of_0() -> None:
    """What failed or was cancelled is counted apart: not in the mean, nor in pass@k or seconds."""
    rows = count(
        [
            entry("a", task="t1", reward=1, seconds=10, input_tokens=5),
            entry("b", task="t1", reward=0, seconds=20),
            failed("c", "sandbox_lost", task="t1", seconds=1000, input_tokens=7),
            failed("d", "sandbox_lost", task="t1"),
            failed("e", "quota", task="t1"),
            failed("f", "cancelled", task="t1", status=Status.CANCELLED),
            failed("g", "quota", task="t2"),
        ],
        ["task", "agent"],
        [1, 2],
        threshold=1,
    )
    assert [row.by for row in rows] == [
        {"task": "t1", "agent": "bash"},
        {"task": "t2", "agent": "bash"},
    ]
    first, second = rows
    assert (first.n, first.n_graded, first.n_failed, first.n_cancelled) == (6, 2, 3, 1)
    assert (first.reward, first.pass_at) == (0.5, {1: 0.5, 2: 1.0})
    assert list(first.causes.items()) == [("sandbox_lost", 2), ("quota", 1)]
    assert (first.input_tokens, first.seconds_median, first.seconds_p90) == (12, 15, 19)
    assert (second.reward, second.reward_interval, second.pass_at) == (
        None,
        None,
        {1: None, 2: None},
    )


def test_the_threshold_says_what_passes() -> None:
    """A reward passes from the threshold on."""
    entries = [entry("a", reward=0.5), entry("b", reward=0.4)]
    [row] = count(entries, ["experiment"], [1], threshold=0.5)
    assert row.pass_at == {1: 0.5}
    [none] = count(entries, [], [1], threshold=1)
    assert (none.by, none.pass_at) == ({}, {1: 0.0})
