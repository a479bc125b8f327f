"""The chaos cases: which process dies or stalls, at which stage, at which moment of it.

`all_cases()` is the full product; `chosen()` is what `make test-all` has the time for. 25 cases
cannot hold every pair, since 5 processes times 8 stages are 40 pairs already: the choice covers
every other pair and as many of these as fit. With the one optional stage there would be 26 pairs of
a stage and a moment, so the choice is made without it. The tunnel's processes are not among them:
without a tunnel there are none (`tunnel_blows.py`). Plays nothing.
"""

from collections.abc import Iterator
from enum import StrEnum
from itertools import combinations, product
from typing import Final

from rolldock.models.base import Contract
from rolldock.models.result import Stage

MOST_CHOSEN: Final = 25


class Process(StrEnum):
    """A process of the stack that can be struck."""

    WORKER = "worker"
    GATEWAY = "gateway"
    """The child that serves."""
    GATEWAY_PARENT = "gateway-parent"
    """The one that holds the listening socket."""
    SANDBOXD = "sandboxd"
    TEMPORAL = "temporal"


class Blow(StrEnum):
    """What happens to the process."""

    KILL = "kill"
    PAUSE = "pause"
    """Stopped for longer than others are patient, then resumed."""


class Moment(StrEnum):
    """How far the stage is."""

    BEFORE = "before"
    """Taken by a worker, nothing done."""
    DURING = "during"
    """Its request has taken effect, the answer is still out."""
    AFTER = "after"
    """Done, not yet reported."""


class Case(Contract):
    """One blow to one process."""

    process: Process
    blow: Blow
    stage: Stage
    moment: Moment

    @property
    def id(self) -> str:
        """Its name among the tests."""
        return f"{self.blow}-{self.process}-{self.moment}-{self.stage}"


Pair = tuple[tuple[str, str], tuple[str, str]]


def moments(stage: Stage) -> tuple[Moment, ...]:
    """The moments of a stage; the seal asks no server, so nothing of it can be on its way."""
    if stage is Stage.SEAL_TRACE:
        return (Moment.BEFORE, Moment.AFTER)
    return tuple(Moment)


def all_cases() -> list[Case]:
    """The full product; neighbours strike different processes, whose restarts take a while."""
    return [
        Case(process=process, blow=blow, stage=stage, moment=moment)
        for stage in Stage
        for moment in moments(stage)
        for blow, process in product(Blow, Process)
    ]


def choosable() -> list[Case]:
    """The cases of the stages that every rollout has."""
    return [case for case in all_cases() if case.stage is not Stage.KEEP_WORKSPACE]


def pairs(case: Case) -> Iterator[Pair]:
    """Every two of a case's values."""
    yield from combinations(sorted((name, str(value)) for name, value in case), 2)


def chosen() -> list[Case]:
    """At most 25 cases: always the one with the most pairs that no case before it has.

    Pairs of a process and a stage count a little less: not all of them fit.
    """
    candidates, covered, taken = choosable(), set[Pair](), list[Case]()

    def gain(case: Case) -> float:
        fresh = [pair for pair in pairs(case) if pair not in covered]
        return sum(0.9 if {name for name, _ in pair} == _UNFIT else 1.0 for pair in fresh)

    while len(taken) < MOST_CHOSEN:
        best = max(candidates, key=gain)
        taken.append(best)
        covered.update(pairs(best))
    return taken


_UNFIT: Final = {"process", "stage"}
