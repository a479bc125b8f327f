"""One attempt: one sandbox and one trace, from create to the certainty that it is deleted."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError

from workflows import policies, story
from workflows.attempt_facts import AttemptFacts
from workflows.faults import was_refused
from workflows.settle import abandon, cancel_check, settle

with workflow.unsafe.imports_passed_through():
    from activities.agent import AgentActivities
    from activities.grading import GradingActivities
    from activities.sandbox import SandboxActivities
    from activities.trace import TraceActivities
    from rolldock.deadlines import agent_deadline, attempt_deadline
    from rolldock.models.result import (
        AttemptResult,
        RolloutResult,
        Stage,
        StopReason,
    )
    from rolldock.models.stages import (
        AwaitRequest,
        DeleteRequest,
        GradeRequest,
        InSandbox,
        Order,
        Pace,
        SealRequest,
        SealResult,
        StartRequest,
    )


class Attempt(AttemptFacts):
    """The stages of one attempt. `carry_out` never raises; `wind_up` leaves nothing alive."""

    def __init__(self, order: Order, pace: Pace, stop_requested: Callable[[], bool]) -> None:
        super().__init__(order, pace)
        self._stop_requested = stop_requested

    async def carry_out(self) -> None:
        """The phases of an attempt, up to the grade or to whatever ended it before."""
        try:
            async with asyncio.timeout((self._deadline - workflow.now()).total_seconds()) as bound:
                await self._create_sandbox()
                if self.existing is not None:
                    return
                if bound.expired():
                    # A create that ends well swallows the timeout that came while it ran.
                    raise TimeoutError
                # Tries of a stage that hang are bounded together, by what the attempt may take.
                left = (self._order.deadline - workflow.now()).total_seconds()
                bound.reschedule(asyncio.get_running_loop().time() + left)
                if not self._order.spec.only_grades:
                    await self._work()
                await self._grade()
        except ActivityError as error:
            self._fail(error)
        except (asyncio.CancelledError, TimeoutError):
            self._interrupt()

    async def wind_up(
        self, *, last: bool, earlier: tuple[AttemptResult, ...], started_at: datetime
    ) -> tuple[AttemptResult, RolloutResult | None, bool]:
        """Stop and collect where that is still to be done, then seal and delete side by side.

        Returns:
            The attempt's record, the committed result where this was the last attempt, and
            whether its sandbox is certainly gone.
        """
        if self._sandbox_id is not None and not self._collected:
            await self._workspace.keep_after(self.failure, self._keep_request())
            await self._collect()
        sealing = self._seal(last, earlier, started_at)
        deleting = workflow.start_activity_method(
            SandboxActivities.delete_sandbox,
            DeleteRequest(
                order=self._order, sandbox_id=self._sandbox_id, create_sent=self._create_sent
            ),
            **policies.clean_up(story.delete(self._sandbox_id), self._pace),
        )
        record, result = await self._sealed(sealing)
        try:
            await settle(deleting)
        except ActivityError as error:
            workflow.logger.error("attempt %s leaked its sandbox: %s", self._order.attempt, error)
            story.count_leak()
            return record, result, False
        return record, result, True

    async def commit(
        self, earlier: tuple[AttemptResult, ...], started_at: datetime
    ) -> RolloutResult | None:
        """Write the result although another attempt was meant to follow: a cancel came."""
        self._interrupt()
        return (await self._sealed(self._seal(True, earlier, started_at)))[1]

    async def _work(self) -> None:
        """The agent's part: from an empty sandbox to what is graded."""
        await self._set_up_sandbox()
        await self._start_agent()
        await self._await_agent()
        await self._stop_agent()
        await self._keep_workspace()

    async def _create_sandbox(self) -> None:
        async with self._phase(Stage.CREATE_SANDBOX):
            try:
                created = await workflow.execute_activity_method(
                    SandboxActivities.create_sandbox,
                    self._order,
                    **policies.create_sandbox(
                        story.create(self._order), self._order.spec.limits, self._pace
                    ),
                )
            except ActivityError as error:
                self._create_sent = not was_refused(error)
                raise
            self._sandbox_id, self.existing = created.sandbox_id, created.existing
            if created.left is not None:
                self._take_up(created.left)
            ends = attempt_deadline(self._order.spec.limits, workflow.now(), self._deadline)
            self._order = self._order.model_copy(update={"deadline": ends})

    async def _set_up_sandbox(self) -> None:
        async with self._phase(Stage.SET_UP_SANDBOX):
            ready = await workflow.execute_activity_method(
                SandboxActivities.set_up_sandbox,
                InSandbox(order=self._order, sandbox_id=self._sandbox()),
                **policies.set_up_sandbox(
                    story.set_up(self._order), self._order.spec.limits, self._pace
                ),
            )
            self._workdir, self._agent_version = ready.workdir, ready.agent_version

    async def _start_agent(self) -> None:
        async with self._phase(Stage.START_AGENT):
            self._running = True
            await workflow.execute_activity_method(
                AgentActivities.start_agent,
                StartRequest(order=self._order, sandbox_id=self._sandbox(), workdir=self._workdir),
                **policies.start_agent(story.start(self._order), self._pace),
            )

    async def _await_agent(self) -> None:
        async with self._phase(Stage.AWAIT_AGENT):
            story.mark_stage(Stage.AWAIT_AGENT)
            deadline = self._agent_deadline()
            watching = workflow.start_activity_method(
                AgentActivities.await_agent,
                AwaitRequest(
                    order=self._order,
                    sandbox_id=self._sandbox(),
                    deadline=deadline,
                ),
                **policies.await_agent(
                    story.watch(self._order, deadline),
                    (deadline - workflow.now()).total_seconds(),
                    self._pace,
                ),
            )
            try:
                await workflow.wait_condition(lambda: self._stop_requested() or watching.done())
            except BaseException:
                abandon(watching)
                raise
            if watching.done():
                ended = watching.result()
                self._stop_reason, self._exit_code = ended.stop_reason, ended.exit_code
                self._running = ended.exit_code is None
            else:
                abandon(watching)
                self._stop_reason = StopReason.STOPPED

    async def _stop_agent(self) -> None:
        async with self._phase(Stage.STOP_AGENT):
            stopped = await workflow.execute_activity_method(
                AgentActivities.stop_agent,
                self._stop_request(collect=False),
                **policies.stop_agent(story.stop(self._stop_reason), self._pace),
            )
            if self._running:
                self._exit_code = stopped.exit_code
            self._running = False
            self._stop_reason = self._ended_by = stopped.stop_reason
            self.failure = stopped.failure

    async def _keep_workspace(self) -> None:
        if self.failure is not None or not self._order.spec.keep_workspace:
            return
        async with self._phase(Stage.KEEP_WORKSPACE):
            await self._workspace.keep(self._keep_request(), self._order.deadline)

    async def _grade(self) -> None:
        if self.failure is not None:
            return
        async with self._phase(Stage.GRADE):
            story.mark_stage(Stage.GRADE)
            graded = await workflow.execute_activity_method(
                GradingActivities.grade,
                GradeRequest(order=self._order, sandbox_id=self._sandbox(), workdir=self._workdir),
                **policies.grade(story.grade(self._order), self._order.spec.limits, self._pace),
            )
            self._collected = True
            self._rewards, self.failure = graded.rewards, graded.failure
            self._artifacts += graded.artifacts

    async def _collect(self) -> None:
        """End session and agent after a failure and keep what logs there are, within bounds."""
        try:
            stopped = await settle(
                workflow.start_activity_method(
                    AgentActivities.stop_agent,
                    self._stop_request(collect=True),
                    **policies.collect(story.collect(), self._pace),
                )
            )
        except ActivityError as error:
            workflow.logger.warning("nothing collected: %s", error)
            return
        self._artifacts += stopped.artifacts
        if self._running:
            self._exit_code = stopped.exit_code

    def _seal(
        self, last: bool, earlier: tuple[AttemptResult, ...], started_at: datetime
    ) -> workflow.ActivityHandle[SealResult]:
        request = SealRequest(
            order=self._order,
            attempt=self._record(),
            earlier=earlier,
            last=last,
            status=self._status(),
            rewards=self._rewards,
            started_at=started_at,
        )
        return workflow.start_activity_method(
            TraceActivities.seal_trace,
            request,
            **policies.clean_up(story.seal(last), self._pace),
        )

    async def _sealed(
        self, sealing: workflow.ActivityHandle[SealResult]
    ) -> tuple[AttemptResult, RolloutResult | None]:
        """The sealed attempt and the committed result; neither where the store stayed away."""
        try:
            sealed = await settle(sealing)
        except ActivityError as error:
            workflow.logger.error("attempt %s was not sealed: %s", self._order.attempt, error)
            return self._record(), None
        return sealed.attempt, sealed.result

    @asynccontextmanager
    async def _phase(self, stage: Stage) -> AsyncGenerator[None, None]:
        """Name the stage, time it, and look for a cancel once it is over.

        Nothing begins after the deadline.
        """
        self._stage = stage
        began = workflow.now()
        if began >= self._order.deadline:
            raise TimeoutError
        story.tell(self._order, stage, self._timings)
        try:
            yield
        finally:
            # A run that is dropped from memory unwinds outside of the workflow, where no time is.
            if workflow.in_workflow():
                self._timings[stage] = (workflow.now() - began).total_seconds()
        cancel_check()

    def _agent_deadline(self) -> datetime:
        """The agent's own seconds, less where the rollout's total leaves no more.

        Raises:
            TimeoutError: it leaves none: what has not run must not be graded.
        """
        deadline = agent_deadline(self._order.spec.limits, workflow.now(), self._deadline)
        if deadline <= workflow.now():
            raise TimeoutError
        return deadline
