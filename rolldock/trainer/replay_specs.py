"""From a rollout's result to the specs of its replays. Pure: reads no store and starts nothing."""

import hashlib
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from rolldock.agents.registry import agent_of
from rolldock.errors import UsageError
from rolldock.harbor.bundle import digest
from rolldock.harbor.task import Task
from rolldock.models.replay import ReplayFrom, ReplayPoint
from rolldock.models.result import RolloutResult
from rolldock.models.spec import RolloutSpec
from rolldock.trainer.replay_request import ReplayRequest

_ID_CHARACTERS: Final = 200
_GROUP_CHARACTERS: Final = 128
_DIGEST_CHARACTERS: Final = 8
_SEEDS: Final = 2**31
"""Model servers take 32 bits, some of them signed."""


def replay_specs(
    result: RolloutResult,
    request: ReplayRequest,
    point: ReplayPoint,
    tag: str,
    tests: Task | None = None,
) -> list[RolloutSpec]:
    """The specs of a rollout's replays: its own spec, less what is taken from the recording.

    Forks (`turn`) get a group of their own and a seed each; every other replay keeps both.

    Args:
        point: where they take up.
        tag: what tells these replays from others of the same rollout: 6 hex digits.
        tests: the task of `request.tests`.

    Raises:
        UsageError: this rollout cannot be replayed so; the message says why.
    """
    _check_agent(result.spec, request.kind)
    ids = _ids(result.rollout, request, tag)
    fields: dict[str, object] = {"replay_of": result.rollout, "replay": point}
    if request.kind is ReplayFrom.GRADE:
        # What is graded is kept already, by the attempt that it is taken from.
        fields["keep_workspace"] = False
    if tests is not None:
        fields |= _other_tests(result.spec, tests)
    if request.kind is ReplayFrom.TURN:
        fields["group"] = _cut(ids[0].removesuffix("/0") if request.n > 1 else ids[0])
    specs: list[RolloutSpec] = []
    for place, identity in enumerate(ids):
        own: dict[str, object] = {"id": identity}
        if request.kind is ReplayFrom.TURN:
            own["sampling"] = _seeded(result.spec, ids[0], place)
        specs.append(_changed(result.spec, fields | own))
    return specs


def _check_agent(spec: RolloutSpec, kind: ReplayFrom) -> None:
    agent = agent_of(spec.agent)
    if kind in (ReplayFrom.RECORDING, ReplayFrom.TURN) and agent.dialect is None:
        raise UsageError(f"agent {agent.name} calls no model, so there is no recording to play")


def _ids(origin: str, request: ReplayRequest, tag: str) -> list[str]:
    """Ids of at most 200 characters; of a long origin the end is replaced by a digest."""
    before = "" if request.id is None else f"{request.id}/"
    after = f"@{request.kind}-{tag}" if request.id is None else ""
    most = _ID_CHARACTERS - len(before) - len(after) - len(f"/{request.n}")
    if most <= _DIGEST_CHARACTERS + 1:
        raise UsageError(f"--id {request.id}: too long to begin an id of 200 characters")
    base = f"{before}{_shortened(origin, most)}{after}"
    return [base] if request.n == 1 else [f"{base}/{place}" for place in range(request.n)]


def _shortened(text: str, n_characters: int) -> str:
    if len(text) <= n_characters:
        return text
    end = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{text[: n_characters - _DIGEST_CHARACTERS - 1]}-{end}"


def _cut(identity: str) -> str:
    """An id as a group's name."""
    return _shortened(identity, _GROUP_CHARACTERS)


def _seeded(spec: RolloutSpec, first_id: str, place: int) -> object:
    """A seed for each fork; the same ids have the same seeds.

    Far apart: a call's seed is the spec's plus its slot, and forks may differ in their slots.
    """
    drawn = hashlib.sha256(f"{spec.sampling.seed}/{first_id}/{place}".encode()).digest()
    return spec.sampling.model_copy(update={"seed": int.from_bytes(drawn[:4]) % _SEEDS})


def _other_tests(spec: RolloutSpec, tests: Task) -> Mapping[str, object]:
    """Another bundle under the name of the rollout's task, with the time that its tests want."""
    seconds = tests.config.verifier.timeout_sec
    return {
        "task": spec.task.model_copy(update={"digest": digest(tests.bundle)}),
        "limits": spec.limits.model_copy(update={"grade_seconds": seconds}),
    }


def _changed(spec: RolloutSpec, fields: Mapping[str, object]) -> RolloutSpec:
    kept = {name: getattr(spec, name) for name in RolloutSpec.model_fields}
    if spec.model_extra:
        raise UsageError(
            f"its spec has fields that this version does not know ({', '.join(spec.model_extra)}): "
            "replay it with the version that wrote it"
        )
    try:
        return RolloutSpec.model_validate(kept | dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{where} = {first['input']!r}: {said}") from error
