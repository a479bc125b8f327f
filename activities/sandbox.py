"""Stages 1, 2 and 8: the sandbox is created, filled and deleted."""

import math
from urllib.parse import urlsplit

from temporalio import activity
from temporalio.client import Client as Temporal
from temporalio.exceptions import ApplicationError

from activities.failures import as_failures
from activities.heartbeat import heartbeating
from activities.tools import Tools
from rolldock.agents.agent import Agent
from rolldock.agents.registry import agent_of
from rolldock.deadlines import attempt_seconds
from rolldock.errors import StageError
from rolldock.gateway.session_log import SessionLog
from rolldock.harbor.task import Task
from rolldock.models import names
from rolldock.models.result import Stage
from rolldock.models.session import EndReason
from rolldock.models.stages import (
    CreateResult,
    DeleteRequest,
    DeleteResult,
    InSandbox,
    LeftWork,
    Order,
    SetUpResult,
)
from rolldock.results import read_result, without_artifacts
from rolldock.sandbox.agent_archive import AgentArchives
from rolldock.sandbox.checkpoints import take_up
from rolldock.sandbox.client import SandboxRequest
from rolldock.sandbox.creation import CreateRefused, create_sandbox, tunnel_of
from rolldock.sandbox.deletion import delete_listed, delete_sandboxes
from rolldock.sandbox.labels import Ownership
from rolldock.sandbox.launch import assignments
from rolldock.sandbox.setup import set_up
from rolldock.sandbox.superseding import superseded
from rolldock.store import keys
from rolldock.trainer.runs import Runs
from rolldock.tunnel.reach import Reach

_SECONDS_PER_MINUTE = 60
_TUNNEL_SHARE = 0.5
"""Of a create's seconds, at most, for a tunnel to come up."""


class SandboxActivities:
    """What happens to a sandbox as a whole."""

    def __init__(self, tools: Tools, temporal: Temporal) -> None:
        self._tools = tools
        self._reach = Reach(tools.settings, tools.store)
        self._runs = Runs(temporal)
        self._archives = AgentArchives(tools.store)

    @activity.defn(name=Stage.CREATE_SANDBOX)
    async def create_sandbox(self, order: Order) -> CreateResult:
        """Safe to run twice: the attempt is the idempotency key."""
        async with as_failures(), heartbeating():
            done = await self._tools.store.get(keys.result(order.rollout))
            if done is not None:
                return CreateResult(existing=without_artifacts(read_result(done)))
            task = await self._tools.tasks.get(order.spec.task)
            await self._end_superseded(order)
            checkpoint, left = await self._take_up(order)
            tunnel_url = await self._tunnel_url(order, task)
            request = self._request(order, task, tunnel_url, checkpoint)
            try:
                created = await create_sandbox(
                    self._tools.sandboxes,
                    self._tools.store,
                    request,
                    max_live=self._tools.settings.max_live_sandboxes,
                    seconds=order.spec.limits.create_seconds,
                )
            except CreateRefused as error:
                raise _refused(error) from error
            _check_not_leaving()
            return CreateResult(sandbox_id=created, left=left)

    @activity.defn(name=Stage.SET_UP_SANDBOX)
    async def set_up_sandbox(self, place: InSandbox) -> SetUpResult:
        """Safe to run twice: files are overwritten, an installed agent is left alone."""
        async with as_failures(), heartbeating():
            spec = place.order.spec
            agent = agent_of(spec.agent)
            task = await self._tools.tasks.get(spec.task)
            self._check_variables(task, agent)
            workdir = await set_up(
                self._tools.sandboxes,
                place.sandbox_id,
                task,
                agent,
                spec.limits.setup_seconds,
                attempt=place.order.attempt,
                archives=self._archives,
            )
            return SetUpResult(agent_version=agent.version, workdir=workdir)

    @activity.defn(name=Stage.DELETE_SANDBOX)
    async def delete_sandbox(self, request: DeleteRequest) -> DeleteResult:
        """Safe to run twice: what is gone stays gone."""
        async with as_failures(), heartbeating():
            deleted = await delete_sandboxes(
                self._tools.sandboxes,
                self._tools.store,
                self._owner(request.order),
                sandbox_id=request.sandbox_id,
                create_sent=request.create_sent,
                settle_seconds=self._tools.settings.create_settle_seconds
                + self._tools.settings.listing_lag_seconds,
            )
            await self._end_superseded(request.order)
            return DeleteResult(deleted=deleted)

    async def _end_superseded(self, order: Order) -> None:
        """After a reset: end the sessions of the rollout's other attempts, delete their sandboxes.

        At the create, so that never two agents work; again after the delete, for an old create that
        took effect meanwhile. A try that was stalled until its run was reset ends nothing.
        """
        if not order.after_reset or not await self._runs.is_newest(order.rollout, order.run):
            return
        for found in await superseded(self._tools.sandboxes, self._owner(order)):
            log = SessionLog(self._tools.store, str(found.owner.attempt))
            await log.end(EndReason.SUPERSEDED, by=f"attempt:{order.attempt}")
            await delete_listed(self._tools.sandboxes, self._tools.store, found.owner, found.id)

    async def _take_up(self, order: Order) -> tuple[str | None, LeftWork | None]:
        """The checkpoint that the sandbox is made of and what is in it; none, for a new one."""
        replay = order.spec.replay
        if replay is None or not order.spec.only_grades:
            return None, None
        return await take_up(self._tools.store, replay.attempt, now=None)

    def _check_variables(self, task: Task, agent: Agent) -> None:
        """Refuse what the launches to come would refuse: before the agent has cost anything.

        Here and not at the create, whose worker may be another one and offer other variables.

        Raises:
            StageError: `task_invalid`, a variable is not to be had, or bash cannot hold it.
        """
        assignments(task.verifier_env(self._tools.environment))
        if agent.needs_solution:
            assignments(task.solution_env(self._tools.environment))

    def _owner(self, order: Order) -> Ownership:
        return Ownership(
            deployment=self._tools.deployment,
            rollout=order.rollout,
            run=order.run,
            attempt=order.attempt,
        )

    async def _tunnel_url(self, order: Order, task: Task) -> str | None:
        """The tunnel that the sandbox has to be allowed; None: none, or it may connect anywhere.

        Read before the first create and the same at every try; a sandbox that could only reach a
        tunnel that is gone is not asked for again.
        """
        if not self._reach.uses_tunnel or _is_public(task):
            return None
        if agent_of(order.spec.agent).dialect is None or order.spec.endpoint is None:
            return None
        if order.spec.only_grades:
            return None
        first = await tunnel_of(self._tools.store, order.attempt)
        if first is None:
            return await self._reach.tunnel_url(order.spec.limits.create_seconds * _TUNNEL_SHARE)
        await self._reach.check(first)
        return first

    def _allowed_hosts(self, task: Task) -> tuple[str, ...] | None:
        """Where the sandbox may connect to; wherever it is, the gateway is among it.

        A local sandbox reaches the gateway by an address of its own, whatever its network is. The
        tunnel is no part of this: it is of the request's own.
        """
        if _is_public(task):
            return None
        named = task.config.environment.allowed_hosts or ()
        gateway = urlsplit(self._tools.settings.gateway_url).hostname or ""
        if self._reach.uses_tunnel or gateway.startswith("127."):
            return named
        return (*named, gateway)

    def _request(
        self, order: Order, task: Task, tunnel_url: str | None, checkpoint: str | None
    ) -> SandboxRequest:
        resources = order.spec.resources
        # The same at every try: a provider refuses a key that comes again with another request.
        longest = attempt_seconds(order.spec.limits)
        lifetime = longest + self._tools.settings.lifetime_slack_seconds
        return SandboxRequest(
            attempt=order.attempt,
            owner=self._owner(order),
            image=resources.image or task.docker_image or self._tools.settings.default_image,
            cpu_cores=resources.cpu_cores,
            memory_gb=resources.memory_gb,
            disk_gb=resources.disk_gb,
            lifetime_minutes=max(1, math.ceil(lifetime / _SECONDS_PER_MINUTE)),
            allowed_hosts=self._allowed_hosts(task),
            tunnel_url=tunnel_url,
            checkpoint_id=checkpoint,
            env=task.environment_env(self._tools.environment),
        )


def _is_public(task: Task) -> bool:
    return task.config.environment.network_mode == "public"


def _check_not_leaving() -> None:
    """A create that a stopping worker cut short has an id, but its sandbox may not run yet."""
    cancelled = activity.cancellation_details()
    if cancelled is not None and not cancelled.cancel_requested:
        raise ApplicationError("this worker is shutting down", type="worker_shutdown")


def _refused(error: StageError) -> ApplicationError:
    """A create's final failure; certain to have made nothing only if no earlier try was sent."""
    details = (names.DETAIL_REFUSED,) if activity.info().attempt == 1 else ()
    return ApplicationError(str(error), *details, type=error.cause, non_retryable=True)
