"""What is going on: counts of the open rollouts by stage, a page of them, and the last that ended.

A look costs a handful of requests, however many rollouts there are.
"""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rolldock.errors import UsageError
from rolldock.index.cache import IndexCache
from rolldock.index.query import Query
from rolldock.models.base import Contract
from rolldock.models.result import IndexEntry, Stage
from rolldock.trainer.live import LiveQuery, LiveRollout, count_live, count_stages, list_live

if TYPE_CHECKING:
    from rolldock.trainer.client import Client

MARKED_STAGES: Final = (Stage.CREATE_SANDBOX, Stage.AWAIT_AGENT, Stage.GRADE)
"""The stages that Temporal can count by: the others take a moment, and are within these."""
_DONE: Final = "done"
"""Marked once the result stands: only a sandbox is left to delete."""
_NAMES: Final = {_DONE: "ending"}
_RUNNING: Final = "running"
_REST_FACTOR: Final = 10


class OpenRollout(Contract):
    """A rollout that is open, as it is now."""

    id: str
    task: str
    agent: str
    stage: str
    tries: int = 1
    problem: str | None = None
    """Why its stage is tried again."""
    started_at: datetime


class Board(Contract):
    """One look."""

    at: datetime
    stages: dict[str, int]
    """Open rollouts by the stage that was marked last, and `ending`."""
    n_open: int
    rollouts: tuple[OpenRollout, ...]
    """The newest of them."""
    n_ended: int
    """In the index, by the same filters."""
    ended: tuple[IndexEntry, ...]
    """The newest of them."""


class Lookout:
    """Looks again and again; keeps the index's cache open between."""

    def __init__(
        self, client: "Client", index: IndexCache, live: LiveQuery, ended: Query, n_rows: int
    ) -> None:
        self._client = client
        self._index = index
        self._live = live
        self._ended = ended.model_copy(update={"limit": n_rows})
        self._n_rows = n_rows
        self._next_refresh = 0.0

    async def look(self) -> Board:
        """The rollouts now.

        Raises:
            UnavailableError: the store or Temporal does not answer.
        """
        temporal, stages = self._client.temporal, (*MARKED_STAGES, _DONE)
        n_open, by_stage, listed = await asyncio.gather(
            count_live(temporal, self._live),
            count_stages(temporal, self._live, stages),
            list_live(temporal, self._live, self._n_rows),
        )
        found = await asyncio.gather(*(self._open(rollout) for rollout in listed))
        await self._refresh()
        return Board(
            at=datetime.now(UTC),
            stages={_NAMES.get(stage, stage): n for stage, n in by_stage.items()},
            n_open=n_open,
            rollouts=tuple(rollout for rollout in found if rollout is not None),
            n_ended=self._index.count(self._ended),
            ended=tuple(self._index.find(self._ended)),
        )

    async def _refresh(self) -> None:
        """Refresh the index, but spend no more than a tenth of the time on it."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        if started >= self._next_refresh:
            await self._index.refresh()
            took = loop.time() - started
            self._next_refresh = started + took * _REST_FACTOR

    async def _open(self, rollout: LiveRollout) -> OpenRollout | None:
        """How a rollout fares; None: it has ended meanwhile."""
        try:
            status = await self._client.handle(rollout.id).status()
        except UsageError:
            return None
        if status.state != _RUNNING:
            return None
        return OpenRollout(
            id=rollout.id,
            task=rollout.task,
            agent=rollout.agent,
            stage=status.stage,
            tries=status.tries,
            problem=status.problem,
            started_at=rollout.started_at,
        )
