"""Between the agent's end and its grade: what it left is kept, where that is asked for."""

from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio import activity

from activities.failures import as_failures
from activities.heartbeat import heartbeating
from activities.tools import Tools
from rolldock.models.checkpoint import CheckpointAsked
from rolldock.models.result import Stage
from rolldock.models.stages import KeepRequest, KeepResult
from rolldock.sandbox.checkpoints import keep_workspace

_NOT_HERE: Final = "this installation keeps no workspaces: ROLLDOCK_CHECKPOINT_DAYS is 0"
_UNBOUNDED: Final = timedelta(minutes=5)
"""Where the stage has no bound of its own."""


class WorkspaceActivities:
    """What happens to a sandbox's files as a whole."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    @activity.defn(name=Stage.KEEP_WORKSPACE)
    async def keep_workspace(self, request: KeepRequest) -> KeepResult:
        """Safe to run twice: the ledger comes first, and a checkpoint under way is waited for."""
        async with as_failures(), heartbeating():
            days = self._tools.settings.checkpoint_days
            if days == 0:
                return KeepResult(error=_NOT_HERE)
            bound = activity.info().start_to_close_timeout or _UNBOUNDED
            made = await keep_workspace(
                self._tools.sandboxes,
                self._tools.store,
                self._asked(request, timedelta(days=days)),
                bound.total_seconds(),
            )
            return KeepResult(checkpoint=made.checkpoint_id)

    def _asked(self, request: KeepRequest, lifetime: timedelta) -> CheckpointAsked:
        now = datetime.now(UTC)
        return CheckpointAsked(
            deployment=self._tools.deployment,
            rollout=request.order.rollout,
            run=request.order.run,
            attempt=request.order.attempt,
            sandbox_id=request.sandbox_id,
            workdir=request.workdir,
            stop_reason=request.stop_reason,
            agent_version=request.agent_version,
            agent_exit_code=request.agent_exit_code,
            asked_at=now,
            expires_at=now + lifetime,
        )
