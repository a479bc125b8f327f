"""Starting a rollout: what is checked before, its workflow, and how Temporal shows that."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from temporalio.client import Client as Temporal
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from rolldock.errors import UsageError
from rolldock.models import names
from rolldock.models.replay import OnDivergence, ReplayFrom
from rolldock.models.result import RolloutResult
from rolldock.models.spec import GRADE_RESERVE_SECONDS, Purpose, RolloutSpec
from rolldock.models.stages import Pace, RolloutRequest
from rolldock.origin import origin
from rolldock.settings import Settings
from rolldock.store import endpoints
from rolldock.store.store import Store
from rolldock.trainer.runs import describe

_SUMMARY_BYTES: Final = 400
"""Temporal's limit for a summary."""


async def check_startable(store: Store, settings: Settings, spec: RolloutSpec) -> None:
    """Refuse what could only fail after a sandbox was made for it.

    Raises:
        UsageError: the endpoint is unknown or gives no token ids to train on, the total leaves the
            agent no time, or the sandbox would have to live longer than the provider allows.
    """
    if spec.endpoint is not None and not _asks_no_model(spec):
        await _check_endpoint(store, spec, spec.endpoint)
    least = spec.limits.grade_seconds + GRADE_RESERVE_SECONDS
    if spec.limits.total_seconds <= least:
        raise UsageError(
            f"limits.total_seconds = {spec.limits.total_seconds:g} leaves the agent no time: "
            f"grade_seconds and {GRADE_RESERVE_SECONDS:g} s around it are kept back, so give more "
            f"than {least:g}"
        )
    longest = settings.max_lifetime_minutes * 60
    if spec.limits.total_seconds + settings.lifetime_slack_seconds > longest:
        raise UsageError(
            f"limits.total_seconds = {spec.limits.total_seconds:g}: with "
            f"{settings.lifetime_slack_seconds:g} s of slack that is more than a sandbox may live "
            f"({longest} s): lower it, or raise ROLLDOCK_MAX_LIFETIME_MINUTES"
        )


def _asks_no_model(spec: RolloutSpec) -> bool:
    """Whether the endpoint is only a name: no call can come to go to the model."""
    point = spec.replay
    if point is None or spec.only_grades:
        return spec.only_grades
    return point.kind is ReplayFrom.RECORDING and point.on_divergence is OnDivergence.STOP


async def _check_endpoint(store: Store, spec: RolloutSpec, name: str) -> None:
    endpoint = await endpoints.newest(store, name)
    if endpoint is None:
        known = ", ".join(await endpoints.names(store)) or "none"
        raise UsageError(
            f"no endpoint {name!r}: add it with `rolldock endpoint add {name} --url URL "
            f"--model MODEL` (known: {known})"
        )
    if spec.purpose is Purpose.TRAIN and endpoint.token_ids is False:
        raise UsageError(
            f"endpoint {name!r} gave no token ids and log-probs when it was added, so nothing of "
            'this rollout could be trained on: serve the model with them, or use purpose="eval"'
        )


async def hold_task(store: Store, spec: RolloutSpec) -> None:
    """Keep the task's bundle in the store while no result names it.

    Raises:
        UsageError: it is not there.
    """
    if not await store.hold_blob(spec.task.digest):
        raise UsageError(
            f"the bundle of task {spec.task.name} ({spec.task.digest[:12]}) is not in the store "
            f"{store.where}: add the task again (`Client.add_task`); `rolldock gc` deletes bundles "
            "that no rollout has named for a day"
        )


def check_same(spec: RolloutSpec, wanted: str, done: RolloutResult) -> None:
    """Refuse an id whose result is another spec's; `wanted` is the digest of `spec`.

    Raises:
        UsageError: with every field that differs.
    """
    if wanted == done.spec_digest:
        return
    old = dict(_leaves("", done.spec.model_dump(mode="json")))
    new = dict(_leaves("", spec.model_dump(mode="json")))
    differing = ", ".join(
        f"{name}: {old.get(name)!r} -> {value!r}"
        for name, value in new.items()
        if old.get(name) != value
    )
    raise UsageError(
        f"rollout id {spec.id!r} has a result for another spec ({differing}): choose another id"
    )


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    """The values of nested objects by their dotted names."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in cast(dict[str, Any], value).items():
        yield from _leaves(f"{path}.{key}".lstrip("."), inner)


async def start_workflow(
    temporal: Temporal,
    settings: Settings,
    spec: RolloutSpec,
    wanted: str,
    origins: Sequence[str] = (),
) -> None:
    """Start the workflow of a spec, unless one of its id is there.

    Args:
        wanted: the spec's digest.
        origins: of a replay: what it replays, and what that one replays, the oldest last.
    """
    pace = Pace(
        heartbeat_seconds=settings.heartbeat_seconds,
        quota_hours=settings.quota_hours,
        cleanup_hours=settings.cleanup_hours,
    )
    tenant = spec.tenant or spec.experiment
    with suppress(WorkflowAlreadyStartedError):
        await temporal.start_workflow(
            names.ROLLOUT_WORKFLOW,
            RolloutRequest(spec=spec, spec_digest=wanted, pace=pace),
            id=spec.id,
            task_queue=names.ROLLOUT_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            memo={names.MEMO_SPEC_DIGEST: wanted} | _origin_memo(spec),
            search_attributes=_search_attributes(spec, origins),
            static_summary=_summary(spec),
            priority=Priority(priority_key=spec.priority, fairness_key=tenant[:64]),
        )


async def check_attached(temporal: Temporal, spec: RolloutSpec, wanted: str) -> None:
    """Whether the workflow of this id, just started or found, runs the spec of this digest.

    Raises:
        UsageError: it runs another.
    """
    described = (await describe(temporal, spec.id)).description.workflow_execution_info
    memo = described.memo.fields.get(names.MEMO_SPEC_DIGEST)
    if memo is None or await temporal.data_converter.decode([memo], [str]) != [wanted]:
        raise UsageError(
            f"rollout id {spec.id!r} is in use by a rollout with another spec: "
            "choose another id, or start that one again as it was"
        )


def _origin_memo(spec: RolloutSpec) -> dict[str, str]:
    if spec.replay_of is None:
        return {}
    kind = {names.MEMO_REPLAY_FROM: str(spec.replay.kind)} if spec.replay else {}
    return {names.MEMO_REPLAY_OF: spec.replay_of} | kind


def _search_attributes(spec: RolloutSpec, origins: Sequence[str]) -> TypedSearchAttributes:
    """What the UI and queries can filter by from the start."""
    values = {
        names.ATTRIBUTE_EXPERIMENT: spec.experiment,
        names.ATTRIBUTE_GROUP: spec.group,
        names.ATTRIBUTE_TASK: spec.task.name,
        names.ATTRIBUTE_AGENT: spec.agent.name,
        names.ATTRIBUTE_ENDPOINT: spec.endpoint,
        names.ATTRIBUTE_STAGE: "create_sandbox",
    }
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(SearchAttributeKey.for_keyword(name), value)
        for name, value in values.items()
        if value is not None
    ]
    if origins:
        replay_of = SearchAttributeKey.for_keyword_list(names.ATTRIBUTE_REPLAY_OF)
        pairs.append(SearchAttributePair(replay_of, tuple(origins)))
    return TypedSearchAttributes(pairs)


def _summary(spec: RolloutSpec) -> str:
    """A rollout in the UI's list: task, agent, model, and what it replays."""
    words = [spec.task.name, spec.agent.name, spec.endpoint or "no model", origin(spec)]
    summary = " · ".join(word for word in words if word)
    return summary.encode()[:_SUMMARY_BYTES].decode(errors="ignore")
