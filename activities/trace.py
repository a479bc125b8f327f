"""Stage 7: the session becomes a trace; on the last attempt the result is committed."""

from datetime import UTC, datetime

from temporalio import activity

from activities.failures import as_failures
from activities.heartbeat import heartbeating
from activities.tools import Tools
from rolldock.agents.registry import get_agent
from rolldock.gateway.seal import seal
from rolldock.models.result import AttemptResult, Stage
from rolldock.models.stages import SealRequest, SealResult
from rolldock.results import build_result, commit, without_artifacts


class TraceActivities:
    """What happens to what a session recorded."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    @activity.defn(name=Stage.SEAL_TRACE)
    async def seal_trace(self, request: SealRequest) -> SealResult:
        """Safe to run twice: trace and result are created once, a second run returns the first."""
        async with as_failures(), heartbeating():
            sealed = await self._seal(request)
            request = request.model_copy(update={"attempt": sealed})
            if not request.last:
                return SealResult(attempt=sealed)
            result = await commit(self._tools.store, build_result(request, datetime.now(UTC)))
            return SealResult(attempt=sealed, result=without_artifacts(result))

    async def _seal(self, request: SealRequest) -> AttemptResult:
        """The attempt with its trace; an agent that calls no model has none."""
        attempt, spec = request.attempt, request.order.spec
        now = datetime.now(UTC)
        if get_agent(spec.agent.name).dialect is None:
            return attempt.model_copy(update={"ended_at": now})
        summary = await seal(self._tools.store, attempt.attempt, request.order.rollout, now)
        return attempt.model_copy(update={"ended_at": now, "trace": summary})
