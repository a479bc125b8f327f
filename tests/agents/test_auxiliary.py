"""Which calls of an agent stand beside its conversation."""

import json
from typing import Any

import pytest

from rolldock.agents.auxiliary import auxiliary_slots
from rolldock.agents.registry import get_agent
from rolldock.models.turn import Turn
from tests.recording import BODY, make_turn


def asked(slot: int, *texts: str, parent: int | None = None, **fields: Any) -> Turn:
    """A turn whose request has a system prompt, if it is a root, and user messages."""
    messages = [{"role": "user", "content": text} for text in texts]
    if parent is None:
        messages[0]["role"] = "system"
    request = BODY.model_copy(update={"fields": fields})
    return make_turn(slot, None, messages=tuple(messages), parent=parent, request=request)


def codex(**metadata: str) -> dict[str, Any]:
    """What Codex sends with a request."""
    return {"client_metadata": {"x-codex-turn-metadata": json.dumps(metadata)}}


AUXILIARY: list[tuple[str, Turn]] = [
    ("opencode", asked(1, "You are a title generator. You output ONLY a title.", "task")),
    ("claude-code", asked(1, "x\nYou are an agent for Claude Code, go", "task")),
    (
        "claude-code",
        asked(
            1,
            "REMINDER: Do NOT call any tools. Respond with plain text only.",
            parent=0,
        ),
    ),
    ("claude-code", asked(1, "system", "Web page content:\n---")),
    ("terminus-2", asked(1, "You are about to hand off your work to another AI agent.", parent=0)),
    ("terminus-2", asked(1, "You are picking up work from a previous AI agent on this task:\nX")),
    ("codex", asked(1, "go", parent=0, **codex(request_kind="compaction"))),
    ("codex", asked(1, "s", "go", **codex(request_kind="turn", subagent_kind="review"))),
]


@pytest.mark.parametrize(("name", "turn"), AUXILIARY)
def test_a_call_beside_the_conversation_is_known(name: str, turn: Turn) -> None:
    """By what its request says, and nothing else of the session."""
    assert auxiliary_slots([asked(0, "system", "task"), turn], get_agent(name).auxiliary) == {1}


@pytest.mark.parametrize("name", ["opencode", "claude-code", "codex", "terminus-2"])
def test_the_conversation_itself_is_not(name: str) -> None:
    """Nor what a task happens to say of such calls in its first message."""
    turns = [
        asked(0, "You are an agent.", "Write a title generator.", **codex(request_kind="turn")),
        asked(1, "go on", parent=0, **codex(request_kind="turn")),
    ]
    assert auxiliary_slots(turns, get_agent(name).auxiliary) == frozenset()


def test_what_continues_such_a_call_belongs_to_it() -> None:
    """A sub-agent's later turns; an agent without a rule has none."""
    turns = [
        asked(0, "system", "task"),
        asked(1, "You are an agent for Claude Code", "search"),
        asked(2, "found", parent=1),
        asked(3, "go on", parent=0),
    ]
    assert auxiliary_slots(turns, get_agent("claude-code").auxiliary) == {1, 2}
    assert auxiliary_slots(turns, None) == frozenset()
