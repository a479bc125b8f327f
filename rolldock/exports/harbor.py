"""A rollout as a trial of Harbor's: its result document, and the files of its directory.

Of the last attempt, which is what Harbor keeps; earlier ones are kept beside it, under `attempts/`,
where Harbor does not look. Written from Harbor's published models, which the tests hold it against.
"""

import hashlib
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import orjson
from pydantic import JsonValue
from pydantic_core import to_json

from rolldock.exports.atif import atif
from rolldock.exports.material import Attempted, Material
from rolldock.exports.tree import Tree, part
from rolldock.models.base import JsonObject
from rolldock.models.result import AttemptResult, RolloutResult, Stage, Status
from rolldock.store import keys

_NAMESPACE: Final = uuid.UUID("5f2d8f0e-6f0b-5d8e-9d56-0a2b6a3f9c11")
"""Of the ids that an export makes: Harbor wants UUIDs, and the same export gives the same ones."""

_TASK_CHARACTERS: Final = 32
_DIGEST_CHARACTERS: Final = 12
_UNKNOWN: Final = "unknown"
_PHASES: Final = {
    "environment_setup": Stage.CREATE_SANDBOX,
    "agent_setup": Stage.SET_UP_SANDBOX,
    "agent_execution": Stage.AWAIT_AGENT,
    "verifier": Stage.GRADE,
}
"""Harbor's phases and the stages that are nearest to them."""


def job_name(result: RolloutResult) -> str:
    """The job of a rollout: its experiment, as one part of a path that no other one has."""
    return part(keys.segment(result.experiment))


def trial_name(result: RolloutResult) -> str:
    """Task and rollout, as Harbor names trials: `hello-world__3f2a9c01d4e5`."""
    digest = hashlib.sha256(result.rollout.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    task = part(result.spec.task.name.split("/")[-1])[:_TASK_CHARACTERS].rstrip("_- .") or "task"
    return f"{task}__{digest}"


def export_id(name: str) -> str:
    """The UUID of what an export names."""
    return str(uuid.uuid5(_NAMESPACE, name))


def add_trial(tree: Tree, material: Material) -> None:
    """Put the files of a trial into the tree, below its job."""
    result = material.result
    place = f"{job_name(result)}/{trial_name(result)}"
    tree.add(f"{place}/config.json", pretty(trial_config(result)))
    tree.add(f"{place}/result.json", pretty(trial_result(material)))
    tree.add(f"{place}/rolldock.json", pretty(result.model_dump(mode="json")))
    if result.failure is not None:
        tree.add(f"{place}/exception.txt", f"{_said(result)}\n".encode())
    for attempted in reversed(material.attempts):
        last = attempted is material.attempts[-1]
        within = place if last else f"{place}/attempts/{attempted.record.number}"
        _add_attempt(tree, within, material, attempted)
    if result.rewards and not _has_reward(result):
        tree.add(f"{place}/verifier/reward.json", pretty({**result.rewards}))


def _add_attempt(tree: Tree, place: str, material: Material, attempted: Attempted) -> None:
    trajectory = atif(material, attempted)
    if trajectory is not None:
        tree.add(f"{place}/agent/trajectory.json", orjson.dumps(trajectory))
    for artifact in attempted.record.artifacts:
        tree.add(f"{place}/{_where(artifact.name)}", artifact)


def _where(name: str) -> str:
    """Where an artifact stands in a trial: the agent's own output among its logs."""
    return f"agent/{name.removeprefix('agent-')}" if name.startswith("agent-std") else name


def _has_reward(result: RolloutResult) -> bool:
    names = {artifact.name for artifact in result.artifacts}
    return bool(names & {"verifier/reward.txt", "verifier/reward.json"})


def pretty(document: object) -> bytes:
    """A JSON document for people and programs: indented, with an end of line.

    An agent's options may hold integers of any length, which orjson refuses.
    """
    return to_json(document, indent=2, inf_nan_mode="null") + b"\n"


def trial_config(result: RolloutResult) -> JsonObject:
    """What Harbor would have been asked for this trial."""
    spec = result.spec
    return {
        "task": {"path": _task_path(result)},
        "trial_name": trial_name(result),
        "trials_dir": job_name(result),
        "job_id": export_id(f"job {result.experiment}"),
        "agent": agent_config(result),
        "environment": {
            "type": "prime",
            "override_cpus": max(1, round(spec.resources.cpu_cores)),
            "override_memory_mb": round(spec.resources.memory_gb * 1024),
            "override_storage_mb": round(spec.resources.disk_gb * 1024),
        },
    }


def agent_config(result: RolloutResult) -> JsonObject:
    """The agent as Harbor names it, without its variables: Harbor takes those for keys."""
    spec = result.spec
    return {
        "name": spec.agent.name,
        "model_name": spec.endpoint,
        "override_timeout_sec": spec.limits.agent_seconds,
        "kwargs": dict(spec.agent.options),
    }


def _task_path(result: RolloutResult) -> str:
    return f"tasks/{part(result.spec.task.name)}"


def trial_result(material: Material) -> JsonObject:
    """Harbor's `TrialResult`: no rewards and an exception where there was no grade."""
    result = material.result
    graded = result.status is Status.COMPLETED
    last = result.attempts[-1] if result.attempts else None
    model: JsonObject | None = {"name": result.spec.endpoint} if result.spec.endpoint else None
    agent: JsonObject = {
        "name": result.agent,
        "version": result.agent_version or _UNKNOWN,
        "model_info": model,
    }
    return {
        "id": export_id(f"trial {result.rollout}"),
        "task_name": result.spec.task.name,
        "trial_name": trial_name(result),
        "trial_uri": f"rolldock:{result.rollout}",
        "task_id": {"path": _task_path(result)},
        "source": result.experiment,
        "task_checksum": result.task_digest,
        "config": trial_config(result),
        "agent_info": agent,
        "agent_result": _agent_result(material),
        "verifier_result": {"rewards": dict[str, JsonValue](result.rewards)} if graded else None,
        "verifier_environment_mode": "shared",
        "exception_info": None if graded else _exception(result),
        "started_at": result.started_at.isoformat(),
        "finished_at": result.ended_at.isoformat(),
        **(_phases(last) if last is not None else {}),
    }


def _agent_result(material: Material) -> JsonObject:
    result, recorded = material.result, material.last
    trace = result.trace
    turns = recorded.trace.turns if recorded is not None else ()
    return {
        "n_input_tokens": trace.input_tokens if trace else 0,
        "n_cache_tokens": sum(turn.usage.cached_tokens for turn in turns),
        "n_output_tokens": trace.output_tokens if trace else 0,
        "metadata": {
            "rollout": result.rollout,
            "run": result.run,
            "group": result.group,
            "stop_reason": str(result.stop_reason),
            "n_attempts": len(result.attempts),
            "trainable": result.trainable,
            "not_trainable_because": result.not_trainable_because,
            "replay_of": result.spec.replay_of,
        },
    }


def _exception(result: RolloutResult) -> JsonObject:
    """Why there is no grade. A cancel has the name that Harbor counts by."""
    cause = str(result.failure.cause) if result.failure else _UNKNOWN
    cancelled = result.status is Status.CANCELLED
    return {
        "exception_type": "CancelledError" if cancelled else cause,
        "exception_message": _said(result),
        "exception_traceback": _said(result),
        "occurred_at": result.ended_at.isoformat(),
    }


def _said(result: RolloutResult) -> str:
    failed = result.failure
    if failed is None:
        return str(result.status)
    return f"{failed.cause} in {failed.stage}: {failed.message}"


def _phases(attempt: AttemptResult) -> JsonObject:
    """Begin and end of Harbor's phases: stages follow each other, and each one's seconds are kept.

    What passed between two of them is counted to the later one.
    """
    bounds = dict(_stages(attempt.started_at, attempt.timings.items()))
    return {
        phase: {"started_at": bounds[stage][0], "finished_at": bounds[stage][1]}
        for phase, stage in _PHASES.items()
        if stage in bounds
    }


def _stages(
    began: datetime, timings: Iterable[tuple[str, float]]
) -> Iterable[tuple[str, tuple[str, str]]]:
    seconds = dict(timings)
    for stage in Stage:
        if stage in seconds:
            ended = began + timedelta(seconds=seconds[stage])
            yield str(stage), (began.isoformat(), ended.isoformat())
            began = ended
