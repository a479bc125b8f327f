"""What the documents of an export say of a rollout: branches, tool calls, tokens, origins."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from rolldock.exports.atif import atif
from rolldock.exports.documents import Format, document
from rolldock.exports.jsonl import jsonl
from rolldock.exports.material import Lack, Material, read_material
from rolldock.models.base import JsonObject
from rolldock.models.collecting import RecordingDeleted
from rolldock.store import keys
from rolldock.store.recordings import delete_recordings
from rolldock.store.store import Store
from tests.exports import filled


@pytest.fixture
async def material(tmp_path: Path) -> Material:
    """A rollout with every kind of branch."""
    store = Store.open(str(tmp_path / "store"))
    await filled.put(store)
    return await read_material(store, "grpo-7/12/hello-world/0")


def _atif(material: Material) -> Any:
    made = atif(material, material.attempts[-1])
    return orjson.loads(orjson.dumps(made))


async def test_a_branch_is_one_line_of_chat(material: Material) -> None:
    """Each leaf gives a line: the whole conversation, its tools, the reward, and which turns."""
    lines: list[Any] = [orjson.loads(line) for line in jsonl(material).splitlines()]
    main, delegated, fork, title = lines
    assert [m["role"] for m in main["messages"]] == [
        *("system", "user", "assistant", "tool", "assistant", "tool", "tool", "assistant")
    ]
    assert main["messages"][2]["tool_calls"][0] == filled.call("c1", '{"command": "ls"}')
    assert main["messages"][-1]["content"] == "Done."
    assert main["tools"] == filled.TOOLS
    kinds = [(line["metadata"]["kind"], line["metadata"]["turns"]) for line in lines]
    assert kinds == [
        ("main", [0, 1, 4]),
        ("branch", [2]),
        ("branch", [0, 3]),
        ("auxiliary", [5]),
    ]
    assert fork["metadata"]["copied_turns"] == [0]
    assert main["metadata"]["replayed_turns"] == [0]
    assert main["metadata"]["reward"] == 1
    assert delegated["messages"][0] == {"role": "user", "content": "look"}
    assert title["metadata"]["rollout"] == "grpo-7/12/hello-world/0"


async def test_a_trajectory_has_calls_with_what_they_gave(material: Material) -> None:
    """Observations stand at the step of their call; arguments that are no object are kept."""
    made = _atif(material)
    assert [step["step_id"] for step in made["steps"]] == [1, 2, 3, 4, 5]
    _, user, first, second, last = made["steps"]
    assert user["message"] == "Say <b>hello</b>."
    assert first["reasoning_content"] == "Where am I?"
    assert first["tool_calls"][0]["arguments"] == {"command": "ls"}
    (result,) = first["observation"]["results"]
    assert (result["source_call_id"], result["content"]) == ("c1", "a\nb")
    broken = second["tool_calls"][0]
    assert (broken["arguments"], broken["extra"]) == ({}, {"unparsed_arguments": "not json"})
    assert [r.get("source_call_id") for r in second["observation"]["results"][:2]] == ["c2", "c3"]
    assert last["message"] == "Done."


@pytest.mark.parametrize(
    "arguments",
    [
        '{"n": 123456789012345678901234}',
        '{"half": "\\ud83d"}',
        '{"deep": ' + "[" * 250 + "]" * 250 + "}",
        '{"deep": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"n": NaN}',
        '{"n": 1e999}',
    ],
    ids=["number", "surrogate", "depth", "abyss", "nan", "infinity"],
)
async def test_arguments_that_no_document_can_hold_are_kept_as_text(
    material: Material, arguments: str
) -> None:
    """Models write numbers of any length, halves of characters, brackets without end."""
    recorded = material.attempts[-1].recorded
    assert recorded is not None
    for turn in recorded.trace.turns:
        calls: Any = turn.message.get("tool_calls")
        for call in calls or ():
            call["function"]["arguments"] = arguments
    first = _atif(material)["steps"][2]["tool_calls"][0]
    assert (first["arguments"], first["extra"]) == ({}, {"unparsed_arguments": arguments})


async def test_a_trajectory_has_the_exact_tokens(material: Material) -> None:
    """A turn with ids has its whole prompt, its completion and log-probs; one without has none."""
    _, _, first, second, last = _atif(material)["steps"]
    assert first["metrics"]["prompt_token_ids"] == [1, 2, 3]
    assert second["metrics"]["prompt_token_ids"] == [1, 2, 3, 4, 5, 6]
    assert second["metrics"]["completion_token_ids"] == [7, 8]
    assert second["metrics"]["logprobs"] == [-1.0, -2.0]
    assert "prompt_token_ids" not in last["metrics"]


async def test_other_branches_are_embedded_trajectories(material: Material) -> None:
    """What came after a step's tool calls is named there; copied and replayed turns are marked."""
    made = _atif(material)
    delegated, fork, title = made["subagent_trajectories"]
    parted, delegating = (made["steps"][n]["observation"]["results"] for n in (2, 3))
    assert parted[0]["subagent_trajectory_ref"] == [{"trajectory_id": fork["trajectory_id"]}]
    refs: list[JsonObject] = delegating[2]["subagent_trajectory_ref"]
    assert refs[0] == {"trajectory_id": delegated["trajectory_id"]}
    assert [step.get("is_copied_context") for step in fork["steps"]] == [True, True, True, None]
    assert title["extra"] == {"kind": "auxiliary"}
    replayed = made["steps"][2]
    assert replayed["extra"]["replayed"] == {"attempt": "attempt-of-the-origin", "slot": 0}
    assert replayed["is_copied_context"] is True


@pytest.mark.parametrize("kind", [Format.ATIF, Format.JSONL])
async def test_a_rollout_without_a_turn_has_no_document(tmp_path: Path, kind: Format) -> None:
    """An agent that called no model leaves nothing to write."""
    store = Store.open(str(tmp_path / "store"))
    await filled.put(store, trace=False)
    assert await document(store, "grpo-7/12/hello-world/0", kind) is Lack.NO_CALL


async def test_a_recording_that_is_gone_is_not_taken_for_none(tmp_path: Path) -> None:
    """A deleted recording, also where the delete was interrupted, and a damaged one have names of
    their own; the result says that there was one."""
    store = Store.open(str(tmp_path / "store"))
    deleted, interrupted, damaged = [await filled.put(store, f"x/{n}") for n in range(3)]
    await delete_recordings(store, deleted, deleted.ended_at)
    for result, name in ((interrupted, keys.recording_deleted), (damaged, keys.trace)):
        attempt = result.attempts[-1].attempt
        mark = RecordingDeleted(deleted_at=result.ended_at, after_days=0).model_dump_json()
        await store.delete(name(attempt))
        await store.create(name(attempt), mark.encode())
    lacks = [await document(store, f"x/{n}", Format.JSONL) for n in range(3)]
    assert lacks == [Lack.DELETED, Lack.DELETED, Lack.UNREADABLE]
