"""Sandboxes that are alive, whose they are, and what is done about those that nobody will delete.

Only `delete_by_id` touches a sandbox that is not this deployment's, and only because a person named
it.
"""

import uuid

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client as Temporal
from temporalio.client import WorkflowFailureError

from rolldock.errors import UnavailableError, UsageError
from rolldock.models import names
from rolldock.models.base import Contract
from rolldock.models.reaping import SweepReport, SweepRequest, SweptSandbox, Verdict
from rolldock.sandbox.client import Sandboxes, SandboxSummary
from rolldock.sandbox.reaping import judge
from rolldock.trainer.runs import Runs


class OwnedSandbox(Contract):
    """A living sandbox, and whether it is of this deployment."""

    sandbox: SandboxSummary
    ours: bool


async def list_sandboxes(sandboxes: Sandboxes, deployment: str) -> list[OwnedSandbox]:
    """Every living sandbox that our key can see."""
    return [
        OwnedSandbox(sandbox=found, ours=found.owner.deployment == deployment)
        for found in await sandboxes.alive()
    ]


async def list_leaked(
    sandboxes: Sandboxes, temporal: Temporal, deployment: str, grace_seconds: float
) -> list[SweptSandbox]:
    """Our living sandboxes that belong to no open rollout, or to none that can be told."""
    judged = await judge(sandboxes, deployment, Runs(temporal).state, grace_seconds)
    return [one for one in judged if one.verdict in (Verdict.ORPHAN, Verdict.UNKNOWN)]


async def reap(temporal: Temporal, request: SweepRequest) -> SweepReport:
    """One sweep by a worker of this deployment; beside another one it does no harm.

    Raises:
        UnavailableError: no worker is there, or the sweep failed; the message says why.
    """
    await _check_worker(temporal)
    try:
        return await temporal.execute_workflow(
            names.REAPER_WORKFLOW,
            request,
            id=f"{names.REAPER_SCHEDULE}-{uuid.uuid4().hex[:8]}",
            task_queue=names.ROLLOUT_QUEUE,
            result_type=SweepReport,
        )
    except WorkflowFailureError as error:
        why = error.cause
        while why.__cause__ is not None:
            why = why.__cause__
        raise UnavailableError(f"the sweep failed: {why}") from error


async def _check_worker(temporal: Temporal) -> None:
    queue = TaskQueue(name=names.ROLLOUT_QUEUE)
    described = await temporal.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(namespace=temporal.namespace, task_queue=queue)
    )
    if not described.pollers:
        raise UnavailableError(
            "no worker has asked for work lately: start one with `rolldock up`, or "
            "`python worker.py`"
        )


async def delete_by_id(
    sandboxes: Sandboxes, temporal: Temporal, deployment: str, sandbox_id: str, *, foreign: bool
) -> None:
    """Delete one living sandbox that a person named.

    Raises:
        UsageError: it is not alive, belongs to an open rollout, or is another's and `foreign` was
            not said.
    """
    alive = {found.id: found for found in await sandboxes.alive()}
    found = alive.get(sandbox_id)
    if found is None:
        raise UsageError(f"no living sandbox {sandbox_id!r}: `rolldock sandboxes` lists them")
    if found.owner.deployment != deployment:
        if not foreign:
            raise UsageError(
                f"sandbox {sandbox_id} is not of this deployment: add --foreign if you are sure "
                "that nobody needs it"
            )
    elif found.owner.rollout is not None:
        await _check_not_open(temporal, found.owner.rollout, found.owner.run, sandbox_id)
    await sandboxes.delete(sandbox_id)


async def _check_not_open(
    temporal: Temporal, rollout: str, run: str | None, sandbox_id: str
) -> None:
    state = await Runs(temporal).state(rollout, run)
    if state.is_open:
        raise UsageError(
            f"sandbox {sandbox_id} belongs to rollout {rollout!r}, which runs: "
            f"`rolldock cancel {rollout}` ends both"
        )
