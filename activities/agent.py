"""Stages 3, 4 and 5: the agent is launched, watched and ended."""

from datetime import UTC, datetime
from typing import Final

from temporalio import activity

from activities.failures import as_failures
from activities.heartbeat import Pulse, heartbeating
from activities.leaving import unless_leaving
from activities.telling import Telling
from activities.tools import Tools
from rolldock.agents import outcome
from rolldock.agents.agent import Agent, AgentContext
from rolldock.agents.registry import agent_of
from rolldock.agents.told import ToldDeadline, told_deadline
from rolldock.deadlines import agent_deadline
from rolldock.errors import StageError, TransientStageError
from rolldock.gateway.facts import read_facts
from rolldock.gateway.replaying.recording import is_recorded
from rolldock.gateway.session_log import SessionLog
from rolldock.gateway.tokens import sign_session
from rolldock.models.failure import Cause
from rolldock.models.replay import ReplayPoint
from rolldock.models.result import Artifact, Stage, StopReason
from rolldock.models.session import EndReason, Session, SessionFacts, TurnError, TurnReply
from rolldock.models.spec import RolloutSpec
from rolldock.models.stages import (
    AwaitRequest,
    AwaitResult,
    Order,
    StartRequest,
    StartResult,
    StopRequest,
    StopResult,
)
from rolldock.sandbox import jobs
from rolldock.sandbox.creation import tunnel_of
from rolldock.sandbox.ending import end_agent, keep_agent_logs
from rolldock.sandbox.launch import launch_job
from rolldock.sandbox.polling import poll
from rolldock.sandbox.setup import INSTRUCTION_FILE, agent_home
from rolldock.store.recordings import refuse_deleted
from rolldock.tunnel.reach import Reach

_TRIES_TO_END: Final = 4


class AgentActivities:
    """What happens to an agent inside its sandbox."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._reach = Reach(tools.settings, tools.store)

    @activity.defn(name=Stage.START_AGENT)
    async def start_agent(self, request: StartRequest) -> StartResult:
        """Safe to run twice: the launch is guarded inside the sandbox by the attempt's job id."""
        async with as_failures(), heartbeating():
            order = request.order
            agent = agent_of(order.spec.agent)
            task = await self._tools.tasks.get(order.spec.task)
            session = await self._open_session(order, agent)
            tunnel_url = None if session is None else session.tunnel_url
            context = self._context(order, agent, request.workdir, tunnel_url)
            told = self._told(order, task.instruction) if order.spec.tell_deadline else None
            if told is not None:
                context = context.model_copy(update={"instruction_file": told.file})
            launch = agent.launch(context)
            token = self._token(session)
            job = jobs.job_id(order.attempt)
            solution = task.solution_env(self._tools.environment) if agent.needs_solution else {}
            pid = await launch_job(
                self._tools.sandboxes,
                request.sandbox_id,
                job,
                launch.command,
                env={
                    **launch.env,
                    **({} if told is None else told.env),
                    **order.spec.agent.env,
                    **dict.fromkeys(launch.api_key_variables, token or ""),
                    **solution,
                },
                cwd=request.workdir,
                user=task.agent_user,
                otherwise=Cause.SETUP_FAILED,
                files=launch.files | ({} if told is None else {told.file: told.content}),
            )
            return StartResult(job_id=job, pid=pid)

    @activity.defn(name=Stage.AWAIT_AGENT)
    async def await_agent(self, request: AwaitRequest) -> AwaitResult:
        """Safe to run twice, or at once in two workers: it only looks."""
        async with as_failures(), heartbeating() as pulse:
            # Another worker goes on watching; the agent is none the wiser.
            return await unless_leaving(self._observe(request, pulse))

    @activity.defn(name=Stage.STOP_AGENT)
    async def stop_agent(self, request: StopRequest) -> StopResult:
        """Safe to run twice: END is written once, a dead process stays dead."""
        async with as_failures(), heartbeating():
            agent = agent_of(request.order.spec.agent)
            facts = SessionFacts()
            if agent.dialect is not None and not request.order.spec.only_grades:
                facts = await self._end_session(request.order)
            exit_code, artifacts = None, ()
            if request.sandbox_id is not None:
                exit_code, artifacts = await self._end(request, request.sandbox_id)
            reason = outcome.stop_reason(request.stop_reason, facts)
            return StopResult(
                stop_reason=reason,
                exit_code=exit_code,
                failure=outcome.failure(agent, reason, facts),
                artifacts=artifacts,
            )

    async def _end_session(self, order: Order) -> SessionFacts:
        """Write END, and say what the session holds.

        Records that cannot be read cost the trace, not the grade: the agent has worked.
        """
        log = SessionLog(self._tools.store, order.attempt)
        try:
            await log.end(EndReason.STOPPED, by=Stage.STOP_AGENT)
            return await read_facts(log)
        except ValueError as error:
            activity.logger.warning("session %s cannot be read: %s", order.attempt, error)
            return SessionFacts(has_turn=True)

    async def _open_session(self, order: Order, agent: Agent) -> Session | None:
        """Write the session record; None for an agent that calls no model.

        An earlier try may have launched the agent behind the tunnel of its own time.

        Raises:
            StageError: `tunnel_lost`, that tunnel is gone: no agent is launched behind it;
                `replay_unavailable`, the attempt is of a run that was reset after its recording
                had been deleted.
        """
        spec = order.spec
        if agent.dialect is None or spec.endpoint is None:
            return None
        session = Session(
            attempt=order.attempt,
            rollout=order.rollout,
            endpoint=spec.endpoint,
            sampling=spec.sampling,
            limits=spec.limits,
            purpose=spec.purpose,
            delivery=spec.delivery,
            hold_seconds=agent.hold_seconds,
            tunnel_url=await self._tunnel_url(order.attempt),
            replay=await self._recording(spec),
            expires_at=order.deadline,
            created_at=datetime.now(UTC),
        )
        await refuse_deleted(self._tools.store, order.attempt)
        log = SessionLog(self._tools.store, order.attempt)
        await log.open(session)
        if session.tunnel_url is not None:
            session = await log.session() or session
            await self._reach.check(session.tunnel_url)
        return session

    async def _recording(self, spec: RolloutSpec) -> ReplayPoint | None:
        """What the session's calls are answered from; None: the model.

        Raises:
            StageError: `replay_unavailable`, the recording is gone.
        """
        if spec.replay is None or not spec.plays_recording:
            return None
        if not await is_recorded(self._tools.store, spec.replay.attempt):
            raise StageError(
                Cause.REPLAY_UNAVAILABLE,
                f"the recording of attempt {spec.replay.attempt} of rollout {spec.replay_of} is "
                "gone: replay it from its start",
            )
        return spec.replay

    async def _tunnel_url(self, attempt: str) -> str | None:
        """What the sandbox was allowed; one that may connect anywhere takes what there is now."""
        if not self._reach.uses_tunnel:
            return None
        return await tunnel_of(self._tools.store, attempt) or await self._reach.tunnel_url()

    def _token(self, session: Session | None) -> str | None:
        if session is None:
            return None
        return sign_session(self._tools.secret, session.attempt, session.expires_at)

    def _told(self, order: Order, instruction: str) -> ToldDeadline:
        ends = agent_deadline(order.spec.limits, datetime.now(UTC), order.deadline)
        return told_deadline(instruction, ends)

    def _context(
        self, order: Order, agent: Agent, workdir: str, tunnel_url: str | None
    ) -> AgentContext:
        return AgentContext(
            version=agent.version,
            home=agent_home(agent),
            workdir=workdir,
            instruction_file=INSTRUCTION_FILE,
            base_url=self._reach.base_url(tunnel_url),
            model=order.spec.endpoint or "none",
            hold_seconds=agent.hold_seconds,
            options=order.spec.agent.options,
        )

    async def _observe(self, request: AwaitRequest, pulse: Pulse) -> AwaitResult:
        """Poll the job and its session until one of them ends, or the deadline comes."""
        log = SessionLog(self._tools.store, request.order.attempt)
        job = jobs.job_id(request.order.attempt)
        has_session = agent_of(request.order.spec.agent).dialect is not None
        session = await log.session() if has_session else None
        tunnel_url = None if session is None else session.tunnel_url
        telling = Telling(pulse, log)

        async def look(patience_seconds: float) -> AwaitResult | None:
            await self._reach.check(tunnel_url)
            code = await self._tools.watch.exit_code(
                request.sandbox_id, job, patience_seconds=patience_seconds
            )
            if code is not None:
                ended = StopReason.AGENT_COMPLETED if code == 0 else StopReason.AGENT_ERROR
                return AwaitResult(stop_reason=ended, exit_code=code)
            end = await log.ended() if has_session else None
            await telling.tell()
            over = None if end is None else outcome.session_over(end.reason)
            return None if over is None else AwaitResult(stop_reason=over)

        seen = await poll(look, until=request.deadline)
        if session is not None and seen is not None and seen.stop_reason is StopReason.AGENT_ERROR:
            await self._reach.settle(tunnel_url, since=await _answered_at(log, session))
        return seen or AwaitResult(stop_reason=StopReason.AGENT_TIMEOUT)

    async def _end(
        self, request: StopRequest, sandbox_id: str
    ) -> tuple[int | None, tuple[Artifact, ...]]:
        """End the agent, keep its logs if asked; a sandbox that is gone has ended it already."""
        artifacts: tuple[Artifact, ...]
        job = jobs.job_id(request.order.attempt)
        code, artifacts = None, ()
        try:
            if request.running:
                code = await end_agent(self._tools.sandboxes, sandbox_id, job)
            if request.collect:
                artifacts = await keep_agent_logs(
                    self._tools.sandboxes, self._tools.store, sandbox_id, job
                )
        except TransientStageError as error:
            if activity.info().attempt < _TRIES_TO_END:
                raise
            # Work that can still be graded is worth more than a tidy end.
            activity.logger.warning("the agent was not ended, or its logs not kept: %s", error)
        except StageError as error:
            activity.logger.warning("nothing to end: %s", error)
        return code, artifacts


async def _answered_at(log: SessionLog, session: Session) -> datetime:
    """When the last of a session's delivered replies came; before the first, when it was opened."""
    if session.tunnel_url is None:
        return session.created_at
    delivered = (await log.listing()).delivered
    newest = await log.reply(max(delivered)) if delivered else None
    match newest:
        case None:
            return session.created_at
        case TurnReply():
            return newest.turn.ended_at
        case TurnError():
            return newest.ended_at
