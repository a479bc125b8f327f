"""From a task directory and a few words to a whole `RolloutSpec`."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue, ValidationError

from rolldock.agents.registry import agent_of, check_options, get_agent
from rolldock.errors import UsageError
from rolldock.harbor.bundle import digest
from rolldock.harbor.task import Task
from rolldock.models.spec import AgentRef, Limits, Resources, RolloutSpec, TaskRef

_MB_PER_GB: Final = 1024


def spec_digest(spec: RolloutSpec) -> str:
    """SHA-256 of a spec without priority and policy version, which may differ between starts.

    What has its default is left out, so that a field that a later version adds changes no digest.
    """
    content = spec.model_dump(
        mode="json", exclude={"priority", "policy_version"}, exclude_defaults=True
    )
    packed = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(packed.encode()).hexdigest()


def build_spec(
    task: Task,
    *,
    agent: str,
    agent_version: str | None = None,
    agent_options: Mapping[str, JsonValue] | None = None,
    agent_env: Mapping[str, str] | None = None,
    endpoint: str | None = None,
    id: str | None = None,
    image: str | None = None,
    limits: Mapping[str, float | int | None] | None = None,
    **fields: object,
) -> RolloutSpec:
    """A spec whose limits and resources are the task's where nothing else is said.

    Args:
        id: None: `{experiment}/{task}/{agent}/{8 random hex digits}`.
        limits: fields of `Limits` that win over the task's.
        fields: other fields of `RolloutSpec`.

    Raises:
        UsageError: a field that cannot be used, named with its value.
    """
    ref = AgentRef(
        name=agent,
        version=agent_version,
        options=dict(agent_options or {}),
        env=dict(agent_env or {}),
    )
    _check_agent(task, ref, endpoint)
    _check_image(task, image)
    experiment = str(fields.get("experiment", "default"))
    try:
        return RolloutSpec.model_validate(
            {
                "id": id or f"{experiment}/{_plain(task.name)}/{agent}/{uuid.uuid4().hex[:8]}",
                "task": TaskRef(name=task.name, digest=digest(task.bundle)),
                "agent": ref,
                "endpoint": endpoint,
                "limits": _limits(task, limits or {}),
                "resources": _resources(task, image),
                **fields,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{name} = {first['input']!r}: {message}") from error


def _check_agent(task: Task, ref: AgentRef, endpoint: str | None) -> None:
    check_options(get_agent(ref.name), ref.options)
    agent = agent_of(ref)
    if agent.needs_solution and not task.has_solution:
        raise UsageError(
            f"agent {agent.name} runs solution/solve.sh, and task {task.name} has none: "
            "choose another agent, or add one"
        )
    if agent.dialect is not None and endpoint is None:
        raise UsageError(
            f"agent {agent.name} calls a model: name an endpoint (--model, --endpoint)"
        )


def _check_image(task: Task, image: str | None) -> None:
    if image is None and task.needs_image_build:
        raise UsageError(
            f"task {task.name} has a Dockerfile and names no image, and Rolldock builds none: "
            "push the image and set [environment].docker_image, or run on this machine's own "
            "system with --image host"
        )


def _limits(task: Task, given: Mapping[str, float | int | None]) -> Limits:
    """The task's own timeouts under what the caller says."""
    wanted: dict[str, float | int | None] = {"grade_seconds": task.config.verifier.timeout_sec}
    if task.config.agent.timeout_sec is not None:
        wanted["agent_seconds"] = task.config.agent.timeout_sec
    wanted.update({name: value for name, value in given.items() if value is not None})
    return Limits.model_validate(wanted)


def _resources(task: Task, image: str | None) -> Resources:
    environment, default = task.config.environment, Resources()
    return Resources(
        image=image,
        cpu_cores=environment.cpus or default.cpu_cores,
        memory_gb=(environment.memory_mb or default.memory_gb * _MB_PER_GB) / _MB_PER_GB,
        disk_gb=(environment.storage_mb or default.disk_gb * _MB_PER_GB) / _MB_PER_GB,
    )


def _plain(name: str) -> str:
    """A task's name as one part of a rollout id."""
    return name.rsplit("/", 1)[-1]
