"""What the pages show of rollouts that still run. Who knows of them is given from outside."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from rolldock.models.base import Contract, UtcTime


class OpenRollout(Protocol):
    """A rollout that is open, for the list."""

    @property
    def id(self) -> str: ...
    @property
    def experiment(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def agent(self) -> str: ...
    @property
    def endpoint(self) -> str | None: ...
    @property
    def stage(self) -> str: ...
    @property
    def started_at(self) -> datetime: ...


class OpenAttempt(Contract):
    """An attempt of a rollout that has no result yet."""

    attempt: str
    number: int
    started_at: UtcTime


class Running(Contract):
    """A rollout that has no result yet, for its own page."""

    id: str
    stage: str
    problem: str | None = None
    """Why the stage was tried again."""
    started_at: UtcTime
    attempts: tuple[OpenAttempt, ...] = ()


class LiveSource(Protocol):
    """Whoever knows of open rollouts; it answers within about a second, or not at all."""

    async def rollouts(self) -> Sequence[OpenRollout] | None:
        """The open rollouts, newest first; None: nobody can say."""
        ...

    async def running(self, rollout: str) -> Running | None:
        """An open rollout; None: there is none of this id, or nobody can say."""
        ...


class Nobody:
    """Knows of no open rollout."""

    async def rollouts(self) -> Sequence[OpenRollout] | None:
        """Nobody can say."""
        return None

    async def running(self, rollout: str) -> Running | None:
        """Nobody can say."""
        del rollout
        return None
