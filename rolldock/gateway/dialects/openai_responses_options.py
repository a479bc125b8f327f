"""The fields of a Responses request beside its conversation, as fields of chat completions.

Passed on: temperature, top_p, max_output_tokens, tools and their choice, the text's format, and
`reasoning.effort` as `reasoning_effort`, which chat templates of models with such levels read.
Dropped, because no chat server needs them: hints for caches, tiers, summaries and verbosity, and
what only names a user or a call. `store` changes nothing: nothing is stored here.
"""

from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.base import wrong
from rolldock.gateway.dialects.openai_responses_tools import chat_tool_choice, chat_tools
from rolldock.models.base import JsonObject

_RENAMED: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_output_tokens": "max_tokens",
}
_NOTHING_STORED: Final = "no responses are stored here: send the whole conversation as input"
_REFUSED: Final = {
    "previous_response_id": _NOTHING_STORED,
    "conversation": _NOTHING_STORED,
    "prompt": "no prompts are stored here: send instructions and input",
    "background": "every call is answered on its own connection: leave it out",
    "context_management": "the conversation goes to the model as it is: leave it out",
    "top_logprobs": "log-probabilities are recorded, not given: leave it out",
}
_INCLUDED: Final = frozenset({"reasoning.encrypted_content"})


def chat_options(body: JsonObject) -> JsonObject:
    """The chat fields of a request, without its messages.

    Raises:
        RefusedError: a field cannot be translated; the text names it.
    """
    _refuse(body)
    chat: JsonObject = {
        name: body[key] for key, name in _RENAMED.items() if body.get(key) is not None
    }
    effort = _object(body, "reasoning").get("effort")
    if effort is not None:
        chat["reasoning_effort"] = effort
    chat |= _response_format(_object(body, "text").get("format"))
    return chat | _tool_fields(body)


def _refuse(body: JsonObject) -> None:
    for key, why in _REFUSED.items():
        if body.get(key):
            raise wrong(key, why)
    if body.get("truncation") not in (None, "disabled"):
        raise wrong("truncation", "conversations are never cut here: leave it out")
    include = body.get("include")
    for item in include if isinstance(include, list) else []:
        if item not in _INCLUDED:
            raise wrong("include", f"{orjson.dumps(item).decode()[:80]} cannot be given")


def _tool_fields(body: JsonObject) -> JsonObject:
    tools, choice = chat_tools(body), body.get("tool_choice")
    if not tools:
        if choice not in (None, "auto", "none"):
            raise wrong("tool_choice", "there are no tools to choose from")
        return {}
    fields: JsonObject = {"tools": tools}
    if choice is not None:
        fields["tool_choice"] = chat_tool_choice(choice)
    if body.get("parallel_tool_calls") is not None:
        fields["parallel_tool_calls"] = body["parallel_tool_calls"]
    return fields


def _response_format(given: JsonValue) -> JsonObject:
    kind = given.get("type") if isinstance(given, dict) else None
    if given is None or kind == "text":
        return {}
    if kind == "json_object":
        return {"response_format": {"type": kind}}
    if kind == "json_schema" and isinstance(given, dict):
        schema: JsonObject = {
            key: value for key, value in given.items() if key != "type" and value is not None
        }
        return {"response_format": {"type": kind, "json_schema": schema}}
    shown = orjson.dumps(kind).decode()[:80]
    raise wrong("text.format", f"{shown} cannot be translated to chat completions")


def _object(body: JsonObject, key: str) -> JsonObject:
    value = body.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(key, "must be an object")
    return value
