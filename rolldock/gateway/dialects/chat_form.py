"""Messages in chat form, which all wire formats are translated to: what a turn stores of them.

Knows no wire format and no session.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, cast

import orjson
from pydantic import JsonValue

from rolldock.gateway.conversation import tool_call_ids
from rolldock.models.base import JsonObject

REASONING_KEYS: Final = ("reasoning_content", "reasoning", "reasoning_details")
"""Where model servers put reasoning: DeepSeek and older vLLM; newer vLLM; OpenRouter."""

_MARK: Final = re.compile(r"rolldock:([0-9a-zA-Z-]{1,64}):([0-9]{1,9})")


def canonical(message: JsonValue) -> bytes:
    """What stays of a message however an agent writes it down; reasoning does not."""
    if not isinstance(message, dict):
        return orjson.dumps(message)
    role = message.get("role")
    content = _plain_content(message.get("content"))
    if role == "assistant" and isinstance(content, str):
        # Agents trim what they write back; token prefixes are not decided here.
        content = content.strip()
    calls = message.get("tool_calls")
    kept = [_plain_call(call) for call in calls] if isinstance(calls, list) else []
    return orjson.dumps([role, content, kept], option=orjson.OPT_SORT_KEYS)


def with_own_call_ids(
    message: JsonObject, earlier: Sequence[JsonValue], fresh: Callable[[int], str]
) -> JsonObject:
    """An assistant message whose tool calls have ids that no call of `earlier` has.

    The model server's own id stays where it is one; `fresh` makes the id of call n.
    """
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        return message
    seen = set[str]().union(*(tool_call_ids(before) for before in earlier))
    own: list[JsonValue] = []
    for number, call in enumerate(calls):
        if isinstance(call, dict):
            given = call.get("id")
            if not isinstance(given, str) or not given or given in seen:
                given = fresh(number)
            seen.add(given)
            call = {**call, "id": given}
        own.append(call)
    return {**message, "tool_calls": own}


def reasoning_fields(message: JsonObject) -> JsonObject:
    """The reasoning of an assistant message, under the model server's own names."""
    return {key: message[key] for key in REASONING_KEYS if message.get(key)}


def reasoning_text(message: JsonObject) -> str:
    """The reasoning of an assistant message as text; empty where there is none."""
    for key in REASONING_KEYS:
        value = message.get(key)
        if isinstance(value, str) and value:
            return value
    return ""


def reasoning_mark(attempt: str, slot: int) -> str:
    """What goes to an agent with a turn's reasoning, to come back with it."""
    return f"rolldock:{attempt}:{slot}"


def read_mark(mark: str) -> tuple[str, int] | None:
    """Attempt and slot of a mark; None: it is none of ours."""
    found = _MARK.fullmatch(mark)
    return None if found is None else (found[1], int(found[2]))


def text_of(content: JsonValue) -> str:
    """The text of a message's content, whole or in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _plain_content(content: JsonValue) -> JsonValue:
    """Text as one string however it is split; anything else without cache marks."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict)]
    texts = [part.get("text") for part in parts if part.get("type") == "text"]
    if len(texts) == len(content):
        return "".join(text for text in texts if isinstance(text, str))
    return [{key: part[key] for key in part if key != "cache_control"} for part in parts]


def _plain_call(call: JsonValue) -> JsonValue:
    """A tool call's name and arguments; its id is the agent's to rewrite."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return call
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(orjson.JSONDecodeError):
            arguments = cast(JsonValue, orjson.loads(arguments or "{}"))
    return [function.get("name"), arguments]
