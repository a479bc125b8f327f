"""Records in words: verdicts, causes, durations, sizes. Reads nothing, and knows no HTML."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from rolldock.models.collecting import RecordingDeleted
from rolldock.models.failure import Cause
from rolldock.models.replay import ReplayFrom, ReplayPoint
from rolldock.models.result import RolloutResult, Stage, Status, StopReason

STAGES: Final[Mapping[str, str]] = {
    Stage.CREATE_SANDBOX: "create the sandbox",
    Stage.SET_UP_SANDBOX: "set it up",
    Stage.START_AGENT: "start the agent",
    Stage.AWAIT_AGENT: "the agent works",
    Stage.STOP_AGENT: "stop the agent",
    Stage.GRADE: "grade",
    Stage.SEAL_TRACE: "seal the trace",
    Stage.DELETE_SANDBOX: "delete the sandbox",
}

_ENDINGS: Final[Mapping[str, str]] = {
    StopReason.AGENT_COMPLETED: "the agent ended by itself",
    StopReason.AGENT_ERROR: "the agent ended with an error",
    StopReason.AGENT_TIMEOUT: "the agent's time was over",
    StopReason.MAX_TURNS: "the agent had used all of its turns",
    StopReason.TOKEN_BUDGET: "the agent had used all of its tokens",
    StopReason.CONTEXT_LENGTH: "the conversation no longer fitted the model's context",
    StopReason.STOPPED: "the agent was told to stop",
    StopReason.CANCELLED: "the rollout was cancelled",
    StopReason.INFRASTRUCTURE: "its infrastructure failed",
}

_CAUSES: Final[Mapping[str, str]] = {
    Cause.SANDBOX_UNAVAILABLE: "no sandbox could be created",
    Cause.QUOTA: "the limit of living sandboxes never eased",
    Cause.SANDBOX_LOST: "the sandbox was lost while it was in use",
    Cause.SANDBOX_OOM: "the sandbox ran out of memory",
    Cause.SANDBOX_EXPIRED: "the sandbox came to the end of its own lifetime",
    Cause.SETUP_FAILED: "the sandbox could not be set up",
    Cause.JOB_LOST: "the agent's process vanished without an exit code",
    Cause.GATEWAY_LOST: "the last turn never reached the agent",
    Cause.TUNNEL_LOST: "the gateway's public URL was lost",
    Cause.VERIFIER_FAILED: "the infrastructure of grading failed",
    Cause.STORE_UNAVAILABLE: "records could not be written to the store",
    Cause.INTERNAL: "something failed that has no name yet",
    Cause.NO_MODEL_CALL: "the agent never called its model",
    Cause.REWARD_INVALID: "the tests left no reward that can be read",
    Cause.VERIFIER_TIMEOUT: "the tests ran past their limit",
    Cause.TASK_INVALID: "the task breaks the format",
    Cause.IMAGE_UNAVAILABLE: "the image could not be had",
    Cause.SANDBOX_REFUSED: "the provider cannot make such a sandbox",
    Cause.UNAUTHORIZED: "the provider refused the key",
    Cause.PAYMENT_REQUIRED: "there is no credit at the provider",
    Cause.ENDPOINT_INVALID: "the endpoint is missing or cannot be read",
    Cause.DEADLINE_EXCEEDED: "the rollout's total time was over",
    Cause.REPLAY_DIVERGED: "the agent asked something else than was recorded",
    Cause.REPLAY_UNAVAILABLE: "the recording or the checkpoint is gone or damaged",
    Cause.CANCELLED: "somebody cancelled it",
    Cause.TERMINATED: "the workflow was ended from outside",
}

_NONE: Final = "\N{EN DASH}"

_REPLAYS: Final[Mapping[str, str]] = {
    ReplayFrom.START: "from the start, with the live model",
    ReplayFrom.GRADE: "from its grading: no agent runs",
    ReplayFrom.RECORDING: "from its recording: the recorded turns answer",
}


def plainly(name: str) -> str:
    """A name of a contract as words."""
    return name.replace("_", " ")


def stage(name: str) -> str:
    """A stage in words; one of a later version by its name."""
    return STAGES.get(name, plainly(name))


def cause(name: str) -> str:
    """A cause in words; one of a later version by its name."""
    return _CAUSES.get(name, plainly(name))


def ending(name: str) -> str:
    """A stop reason in words."""
    return _ENDINGS.get(name, plainly(name))


def headline(result: RolloutResult) -> str:
    """The verdict, in a few words."""
    if result.status is Status.COMPLETED:
        return "Graded" if result.reward is None else f"Reward {number(result.reward)}"
    return "Cancelled" if result.status is Status.CANCELLED else "Failed: no reward"


def verdict(result: RolloutResult) -> str:
    """What became of a rollout, in one or two sentences."""
    tries = len(result.attempts)
    took = seconds(result.timings.get("total"))
    told = f"{tries} attempts" if tries != 1 else "one attempt"
    if result.status is Status.COMPLETED:
        turns = _turns(result)
        return f"{_sentence(ending(result.stop_reason))}{turns}. It took {told} and {took}."
    if result.failure is None:
        return f"{_sentence(ending(result.stop_reason))}. It took {told} and {took}."
    failed = result.failure
    where = f" (stage: {stage(failed.stage)})"
    return f"{_sentence(cause(failed.cause))}{where}. It took {told} and {took}."


def replay(point: ReplayPoint | None) -> str:
    """From where a replay takes up."""
    if point is None:
        return ""
    if point.kind is ReplayFrom.TURN:
        return f"a fork: its slots up to {point.turn} answer, then the model"
    return _REPLAYS.get(point.kind, plainly(point.kind))


def gone(deleted: RecordingDeleted | None) -> str:
    """Why a conversation that there was cannot be read; None: nobody noted it."""
    if deleted is None:
        return "its recording is not in the store any more"
    return (
        f"its recording was deleted after {deleted.after_days:g} days, at "
        f"{deleted.deleted_at:%Y-%m-%d %H:%M} UTC"
    )


def number(value: float | None) -> str:
    """A reward as it was given, without a tail of zeros."""
    return _NONE if value is None else f"{value:g}"


def count(value: int) -> str:
    """A whole number with its thousands set apart."""
    return f"{value:,}"


def some(value: int, singular: str) -> str:
    """So many of something."""
    return f"{value:,} {singular}{'' if value == 1 else 's'}"


def seconds(value: float | None) -> str:
    """A duration as a person says it."""
    if value is None:
        return _NONE
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def size(n_bytes: int) -> str:
    """Bytes in the unit that fits."""
    if n_bytes < 1024:
        return f"{n_bytes} B"
    amount, unit = n_bytes / 1024, "KB"
    if amount >= 1024:
        amount, unit = amount / 1024, "MB"
    return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"


def moment(at: datetime) -> str:
    """A time, in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _turns(result: RolloutResult) -> str:
    return "" if result.trace is None else f" after {some(result.trace.n_turns, 'turn')}"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
