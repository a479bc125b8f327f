"""The steps of an ATIF trajectory: messages, the model's turns, and what its tool calls gave.

An observation belongs to the step whose tool call it answers, so a tool's message makes no step.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import orjson
from pydantic import JsonValue
from pydantic_core import from_json

from rolldock.exports.branches import Branch
from rolldock.exports.conversation import conversation
from rolldock.exports.material import Recorded
from rolldock.message_text import message_text
from rolldock.models.base import JsonObject
from rolldock.models.turn import Turn


@dataclass
class Step:
    """One step that may still get observations."""

    number: int
    source: str
    message: str
    fields: JsonObject = field(default_factory=dict[str, JsonValue])
    """What a message has beside its text, in ATIF's words."""
    turn: Turn | None = None
    """None: a message that was not sampled here."""
    calls: list[str] = field(default_factory=list[str])
    """Ids of its tool calls."""
    results: list[JsonObject] = field(default_factory=list[JsonObject])
    subagents: list[str] = field(default_factory=list[str])
    """Ids of the embedded trajectories that came after its tool calls."""

    def document(self) -> JsonObject:
        """The step as ATIF writes it."""
        results = list[JsonValue]([dict(result) for result in self.results])
        if self.subagents:
            refs: list[JsonValue] = [{"trajectory_id": known} for known in self.subagents]
            only = results[0] if len(self.calls) == 1 and len(results) == 1 else None
            if isinstance(only, dict):
                only["subagent_trajectory_ref"] = refs
            else:
                # Which of several calls it was is not recorded.
                results.append({"subagent_trajectory_ref": refs})
        return {
            "step_id": self.number,
            "source": self.source,
            "message": self.message,
            **self.fields,
            **({"observation": {"results": results}} if results else {}),
        }


def steps(recorded: Recorded, branch: Branch) -> list[Step]:
    """All steps of a branch, from 1; what it shares with one before it is marked as copied."""
    made: list[Step] = []
    for number, (news, turn) in enumerate(conversation(recorded, branch)):
        copied = number < branch.n_copied
        for message in news:
            _add_message(made, message, copied)
        made.append(_turn_step(len(made) + 1, recorded, turn, copied))
    return made


def _add_message(made: list[Step], message: JsonValue, copied: bool) -> None:
    said: JsonObject = message if isinstance(message, dict) else {"content": message}
    role = said.get("role")
    if role == "tool":
        _observe(made, said)
        return
    source = "user" if role == "user" else "agent" if role == "assistant" else "system"
    # An answer that the agent brings along was sampled elsewhere, if at all.
    extra: JsonObject = {"is_copied_context": True} if copied or source == "agent" else {}
    step = Step(len(made) + 1, source, message_text(said.get("content")), extra)
    if source == "agent":
        step.fields |= _spoken(step, said)
    made.append(step)


def _observe(made: list[Step], said: JsonObject) -> None:
    """Put a tool's message to the call that it answers, the newest of that id."""
    call, content = said.get("tool_call_id"), message_text(said.get("content"))
    for step in reversed(made):
        if isinstance(call, str) and call in step.calls:
            step.results.append({"source_call_id": call, "content": content})
            return
    made.append(Step(len(made) + 1, "system", "", results=[{"content": content}]))


def _turn_step(number: int, recorded: Recorded, turn: Turn, copied: bool) -> Step:
    step = Step(number, "agent", message_text(turn.message.get("content")), turn=turn)
    step.fields["timestamp"] = turn.ended_at.isoformat()
    step.fields |= _spoken(step, turn.message)
    step.fields["metrics"] = _metrics(recorded, turn)
    step.fields["llm_call_count"] = 1
    if copied or turn.replayed is not None:
        step.fields["is_copied_context"] = True
    step.fields["extra"] = _extra(turn)
    return step


def _spoken(step: Step, said: JsonObject) -> JsonObject:
    """Reasoning and tool calls of an assistant message."""
    reasoning = said.get("reasoning_content") or said.get("reasoning")
    calls = [dict(call) for call in _calls(step, said)]
    return {
        **({"reasoning_content": reasoning} if isinstance(reasoning, str) else {}),
        **({"tool_calls": list[JsonValue](calls)} if calls else {}),
    }


def _calls(step: Step, said: JsonObject) -> Iterator[JsonObject]:
    calls = said.get("tool_calls")
    for index, call in enumerate(calls if isinstance(calls, list) else []):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            continue
        name = str(call.get("id") or f"call_{step.number}_{index}")
        step.calls.append(name)
        arguments, unread = _arguments(function.get("arguments"))
        yield {
            "tool_call_id": name,
            "function_name": str(function.get("name") or ""),
            "arguments": arguments,
            **({"extra": {"unparsed_arguments": unread}} if unread is not None else {}),
        }


def _arguments(written: JsonValue) -> tuple[JsonObject, str | None]:
    """A call's arguments as an object, and the text where that is none.

    Nor is what the document could not hold: half of a surrogate pair, an integer of more than 64
    bits, nesting without end (pydantic reads 200 levels, and orjson writes 254), and NaN and
    infinity, which would come out as null.
    """
    if isinstance(written, dict):
        return written, None
    try:
        read = from_json(written) if isinstance(written, str) else None
        is_held = orjson.loads(orjson.dumps(read)) == read
    except (ValueError, TypeError):
        read, is_held = None, False
    if isinstance(read, dict) and is_held:
        return cast(JsonObject, read), None
    return {}, written if isinstance(written, str) else json.dumps(written)


def _metrics(recorded: Recorded, turn: Turn) -> JsonObject:
    """Usage, and the exact tokens: the whole prompt, the completion and its log-probs."""
    metrics: JsonObject = {
        "prompt_tokens": turn.usage.input_tokens,
        "completion_tokens": turn.usage.output_tokens,
        "cached_tokens": turn.usage.cached_tokens,
    }
    tokens = turn.tokens
    if tokens is None:
        return metrics
    chain = recorded.chains.chain(turn.slot)
    prompt = (*recorded.chains.sequence(chain[:-1]), *tokens.prompt_ids)
    return {
        **metrics,
        "prompt_token_ids": list[JsonValue](prompt),
        "completion_token_ids": list[JsonValue](tokens.completion_ids),
        "logprobs": list[JsonValue](tokens.logprobs),
        "extra": {"token_source": str(tokens.source), "logprobs_mode": tokens.logprobs_mode},
    }


def _extra(turn: Turn) -> JsonObject:
    replayed = turn.replayed
    return {
        "slot": turn.slot,
        "finish_reason": turn.finish_reason,
        "policy_version": turn.policy_version_start,
        **({"tokens_missing": turn.tokens_missing} if turn.tokens_missing else {}),
        **(
            {"replayed": {"attempt": replayed.attempt, "slot": replayed.slot}}
            if replayed is not None
            else {}
        ),
    }
