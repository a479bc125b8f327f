"""Stage 7: the session becomes a trace; on the last attempt the result is committed."""

from datetime import UTC, datetime

from temporalio import activity

from activities.failures import as_failures
from activities.heartbeat import heartbeating
from activities.tools import Tools
from rolldock.models.result import Stage
from rolldock.models.stages import SealRequest, SealResult
from rolldock.results import without_artifacts
from rolldock.sealing import seal_attempt, seal_rollout


class TraceActivities:
    """What happens to what a session recorded."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    @activity.defn(name=Stage.SEAL_TRACE)
    async def seal_trace(self, request: SealRequest) -> SealResult:
        """Safe to run twice: trace and result are created once, a second run returns the first."""
        async with as_failures(), heartbeating():
            store, now = self._tools.store, datetime.now(UTC)
            if not request.last:
                return SealResult(attempt=await seal_attempt(store, request, now))
            result = await seal_rollout(store, request, now)
            # The record that stands may be another's, written after this run was terminated.
            sealed = result.attempts[-1] if result.attempts else request.attempt
            return SealResult(attempt=sealed, result=without_artifacts(result))
