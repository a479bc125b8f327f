"""From a task and a few words to a whole spec, and the digest that tells two specs apart."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from rolldock.errors import UsageError
from rolldock.harbor.task import Task, read_task
from rolldock.models.spec import AgentRef, Limits, RolloutSpec, Sampling, TaskRef
from rolldock.trainer.specs import build_spec, spec_digest

DIGEST = "0" * 64


def spec(**fields: Any) -> RolloutSpec:
    """A small spec."""
    known = {
        "id": "exp/1/task/0",
        "task": TaskRef(name="task", digest=DIGEST),
        "agent": AgentRef(name="bash", options={"a": 1, "b": [2]}),
        "endpoint": "Qwen/Qwen3-4B",
    }
    return RolloutSpec.model_validate(known | fields)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task with limits and resources of its own."""
    directory = tmp_path / "small-task"
    (directory / "tests").mkdir(parents=True)
    (directory / "tests" / "test.sh").write_text("#!/bin/bash\n")
    (directory / "instruction.md").write_text("Do it.\n")
    (directory / "task.toml").write_text(
        "[agent]\ntimeout_sec = 77\n[verifier]\ntimeout_sec = 55\n"
        "[environment]\ncpus = 3\nmemory_mb = 512\n"
    )
    return read_task(directory)


def test_the_digest_is_the_same_in_every_version() -> None:
    """It is in memos and records: another one here would cut users off from their rollouts."""
    packed = (
        '{"agent":{"name":"bash","options":{"a":1,"b":[2]}},"endpoint":"Qwen/Qwen3-4B",'
        '"id":"exp/1/task/0","task":{"digest":"' + DIGEST + '","name":"task"}}'
    )
    assert spec_digest(spec()) == hashlib.sha256(packed.encode()).hexdigest()


def test_what_has_its_default_is_not_in_the_digest() -> None:
    """So a field that a later version adds changes no digest."""
    said = spec(limits=Limits(), sampling=Sampling(), attempts=3, experiment="default", group=None)
    assert spec_digest(said) == spec_digest(spec())


@pytest.mark.parametrize("blind", [{"priority": 1}, {"policy_version": "v2"}])
def test_the_digest_is_blind_to_what_may_differ_between_starts(blind: dict[str, Any]) -> None:
    """A step later the same rollout has another policy version, and may be more urgent."""
    assert spec_digest(spec(**blind)) == spec_digest(spec())


@pytest.mark.parametrize(
    "change",
    [
        {"id": "exp/1/task/1"},
        {"task": TaskRef(name="task", digest="1" * 64)},
        {"agent": AgentRef(name="bash", options={"a": 1, "b": [3]})},
        {"agent": AgentRef(name="bash", version="2", options={"a": 1, "b": [2]})},
        {"endpoint": "other"},
        {"sampling": Sampling(temperature=1)},
        {"limits": Limits(max_turns=3)},
        {"attempts": 1},
        {"experiment": "e"},
        {"group": "g"},
        {"tenant": "t"},
        {"purpose": "eval"},
        {"delivery": "live"},
        {"replay_of": "other"},
    ],
)
def test_every_other_field_is_in_the_digest(change: dict[str, Any]) -> None:
    """Two rollouts that differ in it are two."""
    assert spec_digest(spec(**change)) != spec_digest(spec())


def test_the_order_of_options_does_not_matter() -> None:
    """A dictionary is the same in any order."""
    agent = AgentRef(name="bash", options={"b": [2], "a": 1})
    assert spec_digest(spec(agent=agent)) == spec_digest(spec())


def test_a_spec_survives_storage_with_its_digest() -> None:
    """What comes back from a record has the digest of what went in."""
    whole = spec(limits=Limits(agent_seconds=5), sampling=Sampling(temperature=1, seed=3))
    assert spec_digest(RolloutSpec.model_validate_json(whole.model_dump_json())) == spec_digest(
        whole
    )


def test_the_tasks_limits_and_resources_are_the_default(task: Task) -> None:
    """What the task says holds where the caller says nothing."""
    built = build_spec(task, agent="nop")
    assert (built.limits.agent_seconds, built.limits.grade_seconds) == (77, 55)
    assert (built.resources.cpu_cores, built.resources.memory_gb) == (3, 0.5)
    assert built.resources.disk_gb == 5


def test_the_callers_limits_win(task: Task) -> None:
    """None leaves the task's."""
    limits = {"agent_seconds": 5.0, "grade_seconds": None, "max_turns": 2}
    built = build_spec(task, agent="nop", limits=limits)
    assert (built.limits.agent_seconds, built.limits.grade_seconds) == (5, 55)
    assert built.limits.max_turns == 2


def test_an_id_is_made_where_none_is_given(task: Task) -> None:
    """It says what runs, and two are never the same."""
    one, other = (build_spec(task, agent="nop", experiment="e").id for _ in range(2))
    assert one.startswith("e/small-task/nop/")
    assert one != other


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"agent": "nopp"}, "unknown agent 'nopp': did you mean nop"),
        ({"agent": "bash"}, "agent bash calls a model: name an endpoint"),
        ({"agent": "nop", "id": "a//b"}, "id = 'a//b': 'a//b' is not a rollout id"),
        ({"agent": "nop", "attempts": 11}, "attempts = 11: "),
        ({"agent": "nop", "colour": "blue"}, "colour = 'blue': "),
        ({"agent": "nop", "agent_options": {"x": 1}}, "agent nop has no option 'x'"),
    ],
)
def test_a_bad_field_is_named_in_one_line(task: Task, fields: dict[str, Any], message: str) -> None:
    """The field, its value and what is wrong with it."""
    with pytest.raises(UsageError) as raised:
        build_spec(task, **fields)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_limit_that_cannot_be_used_is_named_in_one_line(task: Task) -> None:
    """Limits are checked like every other field."""
    with pytest.raises(UsageError, match=r"total_seconds = 999999\.0: ") as raised:
        build_spec(task, agent="nop", limits={"total_seconds": 999999.0})
    assert "\n" not in str(raised.value)
