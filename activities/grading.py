"""Stage 6: the task's tests are run on what the agent left."""

from temporalio import activity

from activities.failures import as_failures
from activities.heartbeat import heartbeating
from activities.tools import Tools
from rolldock.models.result import Stage
from rolldock.models.stages import GradeRequest, GradeResult
from rolldock.sandbox import jobs
from rolldock.sandbox.evidence import keep
from rolldock.sandbox.grading import grade


class GradingActivities:
    """What happens to the work that an agent left."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    @activity.defn(name=Stage.GRADE)
    async def grade(self, request: GradeRequest) -> GradeResult:
        """Safe to run twice: each try ends the one before it and empties its directories."""
        async with as_failures(), heartbeating():
            spec = request.order.spec
            task = await self._tools.tasks.get(spec.task)
            graded = await grade(
                self._tools.sandboxes,
                self._tools.watch,
                request.sandbox_id,
                task,
                job=jobs.job_id(request.order.attempt, "grade"),
                agent_job=jobs.job_id(request.order.attempt),
                workdir=request.workdir,
                env=task.verifier_env(self._tools.environment),
                seconds=spec.limits.grade_seconds,
            )
            return GradeResult(
                rewards=graded.rewards,
                failure=graded.failure,
                artifacts=await keep(self._tools.store, graded.files),
            )
