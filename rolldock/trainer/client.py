"""The client: everything a trainer or the command line does with rollouts.

It talks to Temporal, the store and (to list) the sandbox API. Nothing of it has to stay alive:
every rollout can be found again by its id.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path
from typing import Final, Self

from pydantic import JsonValue
from temporalio.client import Client as Temporal

from rolldock.harbor.task import Task, read_task
from rolldock.index.cache import IndexCache
from rolldock.index.place import cache_file
from rolldock.models.reaping import SweepReport, SweepRequest, SweptSandbox
from rolldock.models.result import IndexEntry, RolloutResult
from rolldock.models.spec import RolloutSpec
from rolldock.models.trace import Sample, Trace
from rolldock.samples import samples
from rolldock.sandbox.client import Sandboxes
from rolldock.settings import Settings
from rolldock.store.deployments import mark_deployment
from rolldock.store.store import Store
from rolldock.trainer import housekeeping
from rolldock.trainer.connection import connect_temporal, deployment_of
from rolldock.trainer.endpoint_methods import EndpointMethods
from rolldock.trainer.handle import RolloutHandle
from rolldock.trainer.housekeeping import OwnedSandbox
from rolldock.trainer.live import LiveQuery, LiveRollout, count_live, list_live
from rolldock.trainer.logs import LogPiece
from rolldock.trainer.origins import link_origin
from rolldock.trainer.patience import patiently
from rolldock.trainer.reading import LogQuery, list_finished, read_logs, read_trace
from rolldock.trainer.replay_request import ReplayRequest
from rolldock.trainer.replaying import replay
from rolldock.trainer.running import run_many
from rolldock.trainer.specs import build_spec, spec_digest
from rolldock.trainer.starting import (
    check_attached,
    check_same,
    check_startable,
    hold_task,
    start_workflow,
)

_MAX_POLLS: Final = 500
"""Long polls at once: Temporal refuses more than about 1,200 for a namespace."""


class Client(EndpointMethods):
    """A connection to one Rolldock deployment."""

    def __init__(
        self, temporal: Temporal, store: Store, settings: Settings, deployment: str
    ) -> None:
        super().__init__(store, settings)
        self.temporal = temporal
        self.deployment = deployment
        self._polls = asyncio.Semaphore(_MAX_POLLS)
        self._is_marked = False
        """Whether this deployment's mark is known to be in the store."""

    @classmethod
    async def connect(cls, settings: Settings | None = None) -> Self:
        """Connect by the settings of this process, or by others.

        Raises:
            UnavailableError: Temporal does not answer.
        """
        settings = settings or Settings.load()
        temporal = await connect_temporal(settings)
        return cls(temporal, Store.open(settings.store), settings, await deployment_of(temporal))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close: the SDK's connection ends with its last reference."""

    async def add_task(self, directory: Path) -> Task:
        """Read a task directory and store its bundle.

        Raises:
            UsageError: it is no task that Rolldock can run; one line says why.
        """
        task = await asyncio.to_thread(read_task, directory)
        await self.store.put_blob(task.bundle)
        return task

    async def spec(
        self,
        task: Path | Task,
        *,
        agent: str,
        agent_version: str | None = None,
        endpoint: str | None = None,
        agent_options: Mapping[str, JsonValue] | None = None,
        agent_env: Mapping[str, str] | None = None,
        limits: Mapping[str, float | int | None] | None = None,
        id: str | None = None,
        image: str | None = None,
        **fields: object,
    ) -> RolloutSpec:
        """A spec for a task; see `build_spec` for its fields.

        Raises:
            UsageError: the task, the agent or a field cannot be used.
        """
        known = await self.add_task(task) if isinstance(task, Path) else task
        return build_spec(
            known,
            agent=agent,
            agent_version=agent_version,
            endpoint=endpoint,
            agent_options=agent_options,
            agent_env=agent_env,
            limits=limits,
            id=id,
            image=image,
            **fields,
        )

    async def start(self, spec: RolloutSpec) -> RolloutHandle:
        """Start a rollout, or re-attach to the one that has this id and this spec.

        Raises:
            UsageError: the id belongs to another spec, the endpoint is unknown, the task's bundle
                is not in the store, the sandbox would have to live longer than the provider
                allows, or Temporal does not take the workflow, such as for the size of a field.
            UnavailableError: Temporal stayed away for minutes; a restart of it is waited out.
        """
        handle, wanted = self.handle(spec.id), spec_digest(spec)
        done = await handle.stored()
        if done is not None:
            check_same(spec, wanted, done)
            return handle
        await check_startable(self.store, self.settings, spec)
        if not self._is_marked:
            await mark_deployment(self.store, self.deployment, self.temporal.namespace)
            self._is_marked = True
        await hold_task(self.store, spec)
        origins = await link_origin(self.store, spec)
        # The id makes it safe to ask again: a start whose answer was lost is found, not repeated.
        await patiently(
            lambda: start_workflow(self.temporal, self.settings, spec, wanted, origins), spec.id
        )
        await patiently(lambda: check_attached(self.temporal, spec, wanted), spec.id)
        return handle

    def handle(self, rollout: str) -> RolloutHandle:
        """A rollout by its id, whoever started it."""
        return RolloutHandle(self.temporal, self.store, self._polls, rollout)

    def run(
        self, specs: Iterable[RolloutSpec], max_in_flight: int = 32
    ) -> AsyncGenerator[RolloutResult, None]:
        """Start rollouts, so many at once, and yield results as they come.

        Leaving the loop early cancels nothing: the rollouts go on and can be found by their ids.

        Raises:
            UsageError: fewer than one at once, or what `start` refuses.
        """
        return run_many(self._run_one, specs, max_in_flight)

    async def replay(self, origins: Iterable[str], request: ReplayRequest) -> list[RolloutHandle]:
        """Start replays of ended rollouts, each a rollout of its own that names its origin.

        The same request again, with its `id`, re-attaches.

        Raises:
            ReplaysRefusedError: some are not replayed; the replays of the others were started,
                and the error has their handles.
            UsageError: the directory of other tests is no task.
            UnavailableError: Temporal or the store does not answer, and nothing was started.
        """
        return await replay(self.store, self.start, origins, request)

    async def live(
        self, query: LiveQuery | None = None, limit: int | None = None
    ) -> list[LiveRollout]:
        """The open rollouts, newest first; only those of a query, and so many at most."""
        return await list_live(self.temporal, query, limit)

    async def count_live(self, query: LiveQuery | None = None) -> int:
        """How many rollouts are open."""
        return await count_live(self.temporal, query)

    def finished(self, experiment: str | None = None) -> AsyncIterator[IndexEntry]:
        """The index's entries, in no particular order."""
        return list_finished(self.store, experiment)

    @asynccontextmanager
    async def index(self) -> AsyncGenerator[IndexCache, None]:
        """The ended rollouts, to be filtered, sorted and counted: refreshed when it is entered.

        Raises:
            UnavailableError: the store does not answer.
        """
        path = cache_file(self.settings.cache, self.store.where)
        with closing(IndexCache.open(self.store, path)) as cache:
            await cache.refresh()
            yield cache

    async def trace(self, rollout: str) -> Trace:
        """The sealed trace of a rollout's last attempt.

        Raises:
            UsageError: there is no such rollout, no result yet, or no model was called.
        """
        return await read_trace(self.store, self.handle(rollout))

    async def logs(
        self, rollout: str, query: LogQuery | None = None
    ) -> AsyncGenerator[LogPiece, None]:
        """The logs of a rollout that runs or has ended, piece by piece.

        Raises:
            UsageError: there is no such rollout, attempt or log.
        """
        async with self._sandboxes() as sandboxes:
            pieces = read_logs(
                self.handle(rollout),
                self.store,
                self.temporal,
                sandboxes,
                self.deployment,
                query or LogQuery(),
            )
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece

    async def samples(self, rollout: str) -> list[Sample]:
        """What a rollout's last attempt gives to train on; none where no turn has token ids.

        Whether to train on it is `RolloutResult.trainable`. For another treatment of auxiliary
        calls, give `rolldock.samples.samples` the trace.

        Raises:
            UsageError: as `trace`.
        """
        return samples(await self.trace(rollout))

    async def sandboxes(self) -> list[OwnedSandbox]:
        """Every living sandbox that our key can see, and whether it is ours."""
        async with self._sandboxes() as sandboxes:
            return await housekeeping.list_sandboxes(sandboxes, self.deployment)

    async def leaked(self) -> list[SweptSandbox]:
        """Our living sandboxes past the grace period that belong to no open rollout."""
        grace = self.settings.grace_seconds
        async with self._sandboxes() as sandboxes:
            return await housekeeping.list_leaked(sandboxes, self.temporal, self.deployment, grace)

    async def reap(
        self, *, dry_run: bool = False, grace_seconds: float | None = None
    ) -> SweepReport:
        """One sweep now, by a worker: what is leaked is deleted, missing results are written.

        Args:
            grace_seconds: how young a sandbox is spared; None: the worker's setting.

        Raises:
            UnavailableError: no worker answers, or the sweep failed.
        """
        request = SweepRequest(dry_run=dry_run, grace_seconds=grace_seconds)
        return await housekeeping.reap(self.temporal, request)

    async def delete_sandbox(self, sandbox_id: str, *, foreign: bool = False) -> None:
        """Delete one living sandbox by its id; with `foreign` also one that is not ours.

        Raises:
            UsageError: it is not alive, belongs to an open rollout, or is another's.
        """
        async with self._sandboxes() as sandboxes:
            await housekeeping.delete_by_id(
                sandboxes, self.temporal, self.deployment, sandbox_id, foreign=foreign
            )

    @asynccontextmanager
    async def _sandboxes(self) -> AsyncGenerator[Sandboxes, None]:
        settings = self.settings
        async with Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as found:
            yield found

    async def _run_one(self, spec: RolloutSpec) -> RolloutResult:
        return await (await self.start(spec)).result()
