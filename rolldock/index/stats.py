"""What many ended rollouts come to: rewards with their uncertainty, pass@k, failures, cost.

A rollout without a reward is never counted as one with reward 0: those that failed and those that
were cancelled are counted apart. Loads no result.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import Field

from rolldock.models.base import Contract
from rolldock.models.result import IndexEntry, Status

GROUPINGS: Final = ("experiment", "task", "agent", "endpoint", "group")
"""What rollouts may be counted by."""
_CONFIDENCE: Final = 0.95
_DIGITS: Final = 12
"""Beyond them is only the noise of floating point, such as an interval that begins below 0."""
_Z: Final = statistics.NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)


class Interval(Contract):
    """A range that holds the true mean with 95 % confidence."""

    low: float
    high: float


class Stats(Contract):
    """The rollouts that share some names."""

    by: dict[str, str | None]
    """The names, in the order asked for."""
    n: int
    n_graded: int
    n_failed: int
    """Without a reward, for a cause that `causes` counts."""
    n_cancelled: int
    reward: float | None
    """The mean of the rewards there are; None: no rollout has one."""
    reward_interval: Interval | None
    """See `mean_interval`."""
    pass_at: dict[int, float | None] = Field(default_factory=dict[int, float | None])
    """See `pass_at_k`."""
    causes: dict[str, int] = Field(default_factory=dict[str, int])
    """Failures by cause, the most frequent first."""
    input_tokens: int
    output_tokens: int
    seconds_median: float | None
    """Of the graded ones, from the start to the last stage."""
    seconds_p90: float | None


def count(
    entries: Iterable[IndexEntry], by: Sequence[str], ks: Sequence[int], threshold: float
) -> list[Stats]:
    """Statistics of rollouts by some of `GROUPINGS`, sorted by their names.

    Args:
        ks: of each pass@k that is wanted.
        threshold: the reward from which on a rollout passes.
    """
    groups: defaultdict[tuple[str | None, ...], list[IndexEntry]] = defaultdict(list)
    for entry in entries:
        groups[tuple(getattr(entry, name) for name in by)].append(entry)
    ordered = sorted(groups.items(), key=lambda item: [name or "" for name in item[0]])
    return [
        _stats(dict(zip(by, names, strict=True)), members, ks, threshold)
        for names, members in ordered
    ]


def _stats(
    by: dict[str, str | None], entries: list[IndexEntry], ks: Sequence[int], threshold: float
) -> Stats:
    graded = [entry for entry in entries if entry.status is Status.COMPLETED]
    failed = [entry for entry in entries if entry.status is Status.FAILED]
    rewards = [entry.reward for entry in graded if entry.reward is not None]
    seconds = [entry.seconds for entry in graded]
    passes: defaultdict[str, list[bool]] = defaultdict(list)
    for entry in graded:
        if entry.reward is not None:
            passes[entry.task].append(entry.reward >= threshold)
    return Stats(
        by=by,
        n=len(entries),
        n_graded=len(graded),
        n_failed=len(failed),
        n_cancelled=len(entries) - len(graded) - len(failed),
        reward=statistics.fmean(rewards) if rewards else None,
        reward_interval=mean_interval(rewards),
        pass_at={k: pass_at_k(list(passes.values()), k) for k in ks},
        causes=dict(Counter(entry.cause or "unknown" for entry in failed).most_common()),
        input_tokens=sum(entry.input_tokens for entry in entries),
        output_tokens=sum(entry.output_tokens for entry in entries),
        seconds_median=statistics.median(seconds) if seconds else None,
        seconds_p90=_p90(seconds),
    )


def mean_interval(rewards: Sequence[float]) -> Interval | None:
    """The 95 % interval of a mean: Wilson's score interval where all rewards are 0 or 1, else
    Student's t interval, which needs two rewards and gives None for one.

    Rollouts count as independent draws: with many samples of few tasks the truth is wider.
    """
    n = len(rewards)
    if n == 0:
        return None
    mean = statistics.fmean(rewards)
    if all(reward in (0, 1) for reward in rewards):
        # E. B. Wilson, "Probable inference", 1927.
        centre = (mean + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(mean * (1 - mean) / n + _Z**2 / (4 * n**2))
        low, high = (round(end, _DIGITS) for end in (centre - half, centre + half))
        return Interval(low=low, high=high)
    if n == 1:
        return None
    half = student_t(n - 1) * statistics.stdev(rewards) / math.sqrt(n)
    return Interval(low=mean - half, high=mean + half)


def student_t(degrees: int) -> float:
    """The 97.5 % quantile of Student's distribution, to 0.2 %.

    Exact for 1 and 2 degrees of freedom, else the expansion 26.7.5 of Abramowitz and Stegun.
    """
    p = (1 + _CONFIDENCE) / 2
    if degrees == 1:
        return math.tan(math.pi * (p - 0.5))
    if degrees == 2:
        return (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    z = _Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / degrees**power for power, term in enumerate(terms))


def pass_at_k(tasks: Sequence[Sequence[bool]], k: int) -> float | None:
    """The chance that one of k samples of a task passes, averaged over tasks.

    Per task the unbiased estimator 1 - C(n - c, k) / C(n, k) of n samples of which c pass (Chen
    et al., "Evaluating Large Language Models Trained on Code", 2021); None unless every task has k
    samples, as there.
    """
    if not tasks or any(len(samples) < k for samples in tasks):
        return None
    return statistics.fmean(
        1 - math.comb(len(samples) - sum(samples), k) / math.comb(len(samples), k)
        for samples in tasks
    )


def _p90(seconds: Sequence[float]) -> float | None:
    if len(seconds) < 2:
        return seconds[0] if seconds else None
    return round(statistics.quantiles(seconds, n=10, method="inclusive")[-1], _DIGITS)
