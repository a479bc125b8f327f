"""`rolldock trace`: the turns of a rollout, in the order of their slots, for a reader.

Shows of each request only what its parent has not: the conversation reads from top to bottom.
"""

import json
from collections.abc import Mapping
from typing import cast

import typer
from pydantic import JsonValue

from rolldock.cli.connection import connected
from rolldock.cli.text import plain
from rolldock.message_text import message_text
from rolldock.models.session import TurnError
from rolldock.models.trace import Trace
from rolldock.models.turn import Turn

_INDENT = "    "


async def trace(rollout: str, *, as_json: bool) -> int:
    """Turns and errors as text, or the whole trace as one JSON object."""
    async with connected() as client:
        found = await client.trace(rollout)
    if as_json:
        typer.echo(found.model_dump_json())
        return 0
    for line in _lines(found):
        typer.echo(plain(line))
    return 0


def _lines(trace: Trace) -> list[str]:
    lines = [f"{trace.rollout}  attempt {trace.attempt}  {len(trace.turns)} turns", ""]
    entries: list[Turn | TurnError] = [*trace.turns, *trace.errors]
    for entry in sorted(entries, key=lambda entry: entry.slot):
        lines += _turn(entry) if isinstance(entry, Turn) else _error(entry)
        lines.append("")
    if trace.end_reason is not None:
        lines.append(f"end: {trace.end_reason}")
    return lines


def _turn(turn: Turn) -> list[str]:
    replayed = "" if turn.replayed is None else f"  replays turn {turn.replayed.slot}"
    took = (turn.ended_at - turn.started_at).total_seconds()
    parent = "" if turn.parent is None else f"  after turn {turn.parent}"
    lines = [
        f"-- turn {turn.slot}{parent}  {turn.usage.input_tokens} tokens in, "
        f"{turn.usage.output_tokens} out  {turn.finish_reason}  {took:.1f} s{replayed}"
    ]
    if turn.diverged is not None:
        lines.append(f"{_INDENT}went live: {turn.diverged.field} differs from the recording")
    for message in _news(turn):
        lines += _message(message)
    return lines + _message(cast(JsonValue, turn.message))


def _news(turn: Turn) -> tuple[JsonValue, ...]:
    """What the agent adds: not the parent's reply, which it sends back and which stands above."""
    first = turn.messages[0] if turn.messages else None
    if turn.parent is None or not isinstance(first, Mapping) or first.get("role") != "assistant":
        return turn.messages
    return turn.messages[1:]


def _error(error: TurnError) -> list[str]:
    return [f"-- error {error.slot}  HTTP {error.status}", f"{_INDENT}{error.message}"]


def _message(message: JsonValue) -> list[str]:
    if not isinstance(message, Mapping):
        return _indented(json.dumps(message, ensure_ascii=False))
    lines = [f"[{message.get('role', '?')}]"]
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        lines += ["  (reasoning)", *_indented(reasoning)]
    lines += _indented(message_text(message.get("content")))
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        lines += _indented(_call(call))
    return lines


def _call(call: JsonValue) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return json.dumps(call, ensure_ascii=False)
    return f"-> {function.get('name')} {function.get('arguments')}"


def _indented(text: str) -> list[str]:
    return [f"{_INDENT}{line}" for line in text.split("\n")] if text else []
