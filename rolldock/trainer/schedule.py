"""The reaper's schedule: made once for a deployment, brought up to date by `init` and `up`."""

from datetime import timedelta

from temporalio.client import Client as Temporal
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from rolldock.models import names
from rolldock.models.reaping import SweepRequest


async def schedule_reaper(temporal: Temporal, every: timedelta) -> bool:
    """Make the schedule, or give the one that is there this interval; whether it was made.

    A schedule that somebody paused stays paused.
    """
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)])
    action = ScheduleActionStartWorkflow(
        names.REAPER_WORKFLOW,
        SweepRequest(),
        id=names.REAPER_SCHEDULE,
        task_queue=names.ROLLOUT_QUEUE,
        static_summary="Sweep: sandboxes and rollouts that nobody else will see to",
    )
    # After an outage one sweep does what all that were missed would have done.
    policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=every)
    try:
        await temporal.create_schedule(
            names.REAPER_SCHEDULE, Schedule(action=action, spec=spec, policy=policy)
        )
    except ScheduleAlreadyRunningError:

        def update(found: ScheduleUpdateInput) -> ScheduleUpdate:
            state = found.description.schedule.state
            return ScheduleUpdate(Schedule(action=action, spec=spec, policy=policy, state=state))

        await temporal.get_schedule_handle(names.REAPER_SCHEDULE).update(update)
        return False
    return True
