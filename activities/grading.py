"""Stage 6: the task's tests are run on what the agent left."""

from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.failures import as_failures
from activities.heartbeat import heartbeating
from activities.leaving import unless_leaving
from activities.tools import Tools
from rolldock.models.result import Stage
from rolldock.models.stages import GradeRequest, GradeResult
from rolldock.sandbox.evidence import keep
from rolldock.sandbox.grading import Tests


class GradingActivities:
    """What happens to the work that an agent left."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    @activity.defn(name=Stage.GRADE)
    async def grade(self, request: GradeRequest) -> GradeResult:
        """Safe to run twice: a try goes on with the tests that an earlier one launched, else it
        launches them; one that was overtaken can do neither."""
        async with as_failures(), heartbeating():
            tests = await self._tests(request)
            # Asked of the sandbox: heartbeats are throttled, and what a killed worker wanted to
            # say with its last one is lost.
            again = activity.info().attempt > 1
            launched_ago = await tests.launched_ago() if again else None
            if launched_ago is None:
                await tests.launch(tests.task.verifier_env(self._tools.environment))
            left = timedelta(seconds=tests.seconds - (launched_ago or 0.0))
            in_time = await unless_leaving(tests.in_time(datetime.now(UTC) + left))
            graded = await tests.grade(in_time=in_time)
            return GradeResult(
                rewards=graded.rewards,
                failure=graded.failure,
                artifacts=await keep(self._tools.store, graded.files),
            )

    async def _tests(self, request: GradeRequest) -> Tests:
        spec = request.order.spec
        scheduled_at = activity.info().current_attempt_scheduled_time
        return Tests(
            sandboxes=self._tools.sandboxes,
            watch=self._tools.watch,
            sandbox_id=request.sandbox_id,
            task=await self._tools.tasks.get(spec.task),
            run=request.order.run,
            attempt=request.order.attempt,
            workdir=request.workdir,
            seconds=spec.limits.grade_seconds,
            # The server's clock, not the number of the try: a reset begins to count anew.
            ticket=int(scheduled_at.timestamp() * 1000),
        )
