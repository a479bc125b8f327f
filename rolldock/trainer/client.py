"""The client: everything a trainer or the command line does with rollouts.

It talks to Temporal, the store and (to list) the sandbox API. Nothing of it has to stay alive:
every rollout can be found again by its id.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from pydantic import JsonValue
from temporalio.client import Client as Temporal
from temporalio.client import WorkflowExecution
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from rolldock.errors import UsageError
from rolldock.harbor.task import Task, read_task
from rolldock.models import names
from rolldock.models.base import Contract
from rolldock.models.endpoint import Endpoint, EngineMode
from rolldock.models.result import IndexEntry, RolloutResult
from rolldock.models.spec import RolloutSpec
from rolldock.models.stages import Pace, RolloutRequest
from rolldock.models.trace import Trace
from rolldock.sandbox.client import Sandboxes, SandboxSummary
from rolldock.settings import Settings
from rolldock.store import endpoints, keys
from rolldock.store.store import Store
from rolldock.trainer.connection import connect_temporal, deployment_of
from rolldock.trainer.handle import RolloutHandle
from rolldock.trainer.probe import probe_endpoint
from rolldock.trainer.specs import build_spec, spec_digest
from rolldock.trainer.starting import (
    check_same,
    check_startable,
    search_attributes,
    summary,
)

_MAX_POLLS: Final = 500
"""Long polls at once: Temporal refuses more than about 1,200 for a namespace."""


class LiveRollout(Contract):
    """A rollout that Temporal has open."""

    id: str
    experiment: str
    task: str
    agent: str
    endpoint: str | None
    stage: str
    """As last marked: `create_sandbox`, `await_agent` or `grade`."""
    started_at: datetime


class OwnedSandbox(Contract):
    """A living sandbox, and whether it is of this deployment."""

    sandbox: SandboxSummary
    ours: bool


class Client:
    """A connection to one Rolldock deployment."""

    def __init__(
        self, temporal: Temporal, store: Store, settings: Settings, deployment: str
    ) -> None:
        self.temporal = temporal
        self.store = store
        self.settings = settings
        self.deployment = deployment
        self._polls = asyncio.Semaphore(_MAX_POLLS)

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
            limits=limits,
            id=id,
            image=image,
            **fields,
        )

    async def start(self, spec: RolloutSpec) -> RolloutHandle:
        """Start a rollout, or re-attach to the one that has this id and this spec.

        Raises:
            UsageError: the id belongs to another spec, the endpoint is unknown, or the sandbox
                would have to live longer than the provider allows.
        """
        handle, wanted = self.handle(spec.id), spec_digest(spec)
        done = await handle.stored()
        if done is not None:
            check_same(spec, wanted, done)
            return handle
        await check_startable(self.store, self.settings, spec)
        with suppress(WorkflowAlreadyStartedError):
            await self.temporal.start_workflow(
                names.ROLLOUT_WORKFLOW,
                RolloutRequest(spec=spec, spec_digest=wanted, pace=self._pace()),
                id=spec.id,
                task_queue=names.ROLLOUT_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                memo={names.MEMO_SPEC_DIGEST: wanted},
                search_attributes=search_attributes(spec),
                static_summary=summary(spec),
                priority=Priority(
                    priority_key=spec.priority, fairness_key=(spec.tenant or spec.experiment)[:64]
                ),
            )
        await self._check_attached(spec, wanted)
        return handle

    def handle(self, rollout: str) -> RolloutHandle:
        """A rollout by its id, whoever started it."""
        return RolloutHandle(self.temporal, self.store, self._polls, rollout)

    async def run(
        self, specs: Iterable[RolloutSpec], max_in_flight: int = 32
    ) -> AsyncGenerator[RolloutResult, None]:
        """Start rollouts, so many at once, and yield results as they come.

        Leaving the loop early cancels nothing: the rollouts go on and can be found by their ids.

        Raises:
            UsageError: fewer than one at once, or what `start` refuses.
        """
        if max_in_flight < 1:
            raise UsageError(f"max_in_flight = {max_in_flight}: at least 1 has to run at once")
        waiting: set[asyncio.Task[RolloutResult]] = set()
        remaining = iter(specs)
        try:
            while True:
                while len(waiting) < max_in_flight and (spec := next(remaining, None)) is not None:
                    waiting.add(asyncio.create_task(self._run_one(spec)))
                if not waiting:
                    return
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for finished in done:
                    yield finished.result()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def live(self) -> list[LiveRollout]:
        """The open rollouts, newest first."""
        query = f"WorkflowType = '{names.ROLLOUT_WORKFLOW}' AND ExecutionStatus = 'Running'"
        return [_live(found) async for found in self.temporal.list_workflows(query)]

    async def finished(self, experiment: str | None = None) -> AsyncIterator[IndexEntry]:
        """The index's entries, in no particular order."""
        wanted = None if experiment is None else keys.segment(experiment)
        async for name in self.store.names("index"):
            if wanted is None or name.split("/")[2] == wanted:
                content = await self.store.get(name)
                if content is not None:
                    yield IndexEntry.model_validate_json(content)

    async def trace(self, rollout: str) -> Trace:
        """The sealed trace of a rollout's last attempt.

        Raises:
            UsageError: there is no such rollout, no result yet, or no model was called.
        """
        handle = self.handle(rollout)
        result = await handle.stored()
        if result is None:
            status = await handle.status()
            raise UsageError(
                f"rollout {rollout!r} has no trace yet, it is {status.state} ({status.stage}): "
                f"wait for its result, or see `rolldock show {rollout}`"
            )
        if result.trace is None or (content := await self.store.get(result.trace.ref)) is None:
            raise UsageError(f"rollout {rollout!r} has no trace: its agent called no model")
        return Trace.model_validate_json(content)

    async def add_endpoint(
        self,
        name: str,
        *,
        url: str,
        model: str,
        api_key: str | None = None,
        mode: EngineMode = EngineMode.CHAT,
        policy_version: str | None = None,
    ) -> Endpoint:
        """Probe a model server and write it as the newest version of an endpoint.

        The same endpoint again writes nothing.

        Raises:
            UsageError: the server refuses, answers 401, or does not speak the protocol.
        """
        token_ids = await probe_endpoint(url, model, api_key)
        current = await endpoints.newest(self.store, name)
        secret = self.settings.read_secret()
        unchanged = (
            current is not None
            and (current.replicas, current.model, current.mode) == ((url,), model, mode)
            and (current.token_ids, current.policy_version) == (token_ids, policy_version)
            and _has_key(secret, current, api_key)
        )
        if current is not None and unchanged:
            return current
        return await endpoints.add(
            self.store,
            Endpoint(
                name=name,
                version=1,
                replicas=(url,),
                model=model,
                api_key=None if api_key is None else endpoints.encrypt_key(secret, api_key),
                mode=mode,
                token_ids=token_ids,
                policy_version=policy_version,
                created_at=datetime.now(UTC),
            ),
        )

    async def endpoints(self) -> list[Endpoint]:
        """The newest version of every endpoint, by name."""
        known = [
            await endpoints.newest(self.store, name) for name in await endpoints.names(self.store)
        ]
        return [endpoint for endpoint in known if endpoint is not None]

    async def sandboxes(self) -> list[OwnedSandbox]:
        """Every living sandbox that our key can see, and whether it is ours."""
        async with self._sandboxes() as sandboxes:
            return [
                OwnedSandbox(sandbox=found, ours=found.owner.deployment == self.deployment)
                for found in await sandboxes.alive()
            ]

    @asynccontextmanager
    async def _sandboxes(self) -> AsyncGenerator[Sandboxes, None]:
        settings = self.settings
        async with Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as found:
            yield found

    async def _run_one(self, spec: RolloutSpec) -> RolloutResult:
        return await (await self.start(spec)).result()

    async def _check_attached(self, spec: RolloutSpec, wanted: str) -> None:
        """Whether the workflow of this id, just started or found, runs this spec."""
        described = await self.temporal.get_workflow_handle(spec.id).describe()
        running = await described.memo_value(names.MEMO_SPEC_DIGEST, default="", type_hint=str)
        if running != wanted:
            raise UsageError(
                f"rollout id {spec.id!r} is in use by a rollout with another spec: "
                "choose another id, or start that one again as it was"
            )

    def _pace(self) -> Pace:
        return Pace(
            heartbeat_seconds=self.settings.heartbeat_seconds,
            quota_hours=self.settings.quota_hours,
            cleanup_hours=self.settings.cleanup_hours,
        )


def _has_key(secret: bytes, endpoint: Endpoint, api_key: str | None) -> bool:
    """Whether an endpoint holds this key; one that another secret encrypted has to be replaced."""
    try:
        return endpoints.decrypt_key(secret, endpoint) == api_key
    except UsageError:
        return False


def _live(found: WorkflowExecution) -> LiveRollout:
    attributes = found.typed_search_attributes

    def value(name: str) -> str | None:
        return attributes.get(SearchAttributeKey.for_keyword(name))

    return LiveRollout(
        id=found.id,
        experiment=value(names.ATTRIBUTE_EXPERIMENT) or "",
        task=value(names.ATTRIBUTE_TASK) or "",
        agent=value(names.ATTRIBUTE_AGENT) or "",
        endpoint=value(names.ATTRIBUTE_ENDPOINT),
        stage=value(names.ATTRIBUTE_STAGE) or "",
        started_at=found.start_time,
    )
