"""What Temporal knows of a rollout's runs, for whoever must not act on a living one."""

from typing import Final

from temporalio.client import Client as Temporal
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from rolldock.errors import UnavailableError
from rolldock.sandbox.reaping import RunState

CLOSED: Final = frozenset(
    {
        WorkflowExecutionStatus.CANCELED,
        WorkflowExecutionStatus.COMPLETED,
        WorkflowExecutionStatus.CONTINUED_AS_NEW,
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.TERMINATED,
        WorkflowExecutionStatus.TIMED_OUT,
    }
)
"""Whatever else a status says, such as that a run is paused, the run is not over."""

_FORGOTTEN: Final = RunState(is_open=False, why="Temporal knows no such rollout (any more)")


class Runs:
    """Looks up runs, each time anew: what was true a moment ago may have been reset since."""

    def __init__(self, temporal: Temporal) -> None:
        self._temporal = temporal

    async def state(self, rollout: str, run: str | None) -> RunState:
        """Whether a rollout has an open run, this one or a later one.

        Raises:
            UnavailableError: Temporal does not say.
        """
        newest = await self._describe(rollout, None)
        if newest is None:
            return _FORGOTTEN
        if newest.status not in CLOSED:
            return RunState(is_open=True, why=f"run {newest.run_id} is open")
        if run is not None and run != newest.run_id:
            labelled = await self._describe(rollout, run)
            if labelled is not None and labelled.status not in CLOSED:
                return RunState(is_open=True, why=f"run {run} is open")
        status = newest.status.name.lower() if newest.status else "closed"
        at = f" at {newest.close_time:%Y-%m-%d %H:%M:%S} UTC" if newest.close_time else ""
        return RunState(is_open=False, why=f"its rollout was {status}{at}")

    async def is_open(self, rollout: str) -> bool:
        """Whether a rollout has an open run.

        Raises:
            UnavailableError: Temporal does not say.
        """
        return (await self.state(rollout, None)).is_open

    async def is_newest(self, rollout: str, run: str) -> bool:
        """Whether a run is the newest of its rollout: none has been reset out of it.

        Raises:
            UnavailableError: Temporal does not say.
        """
        newest = await self._describe(rollout, None)
        return newest is not None and newest.run_id == run

    async def _describe(self, rollout: str, run: str | None) -> WorkflowExecutionDescription | None:
        try:
            return await self._temporal.get_workflow_handle(rollout, run_id=run).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise UnavailableError(
                f"Temporal could not describe {rollout}: {error.message}"
            ) from error
        except ValueError as error:
            # A status that this SDK does not know yet.
            raise UnavailableError(f"Temporal says of {rollout}: {error}") from error
