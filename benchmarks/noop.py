"""The baseline of `overhead.py`: a workflow with as many stages as a rollout, which do nothing."""

from datetime import timedelta

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from rolldock.models.result import Stage


@activity.defn
async def noop() -> None:
    """Nothing."""


@workflow.defn
class Noop:
    """As many activities, one after another, as a rollout has stages."""

    @workflow.run
    async def run(self) -> None:
        """Run them."""
        for _ in Stage:
            await workflow.execute_activity(noop, start_to_close_timeout=timedelta(seconds=60))
