"""What an agent's own format cannot bring back as the model wrote it, put back from the log.

Reasoning comes back as a mark that names its turn; a tool call's arguments come back parsed, and
get the model's own spacing again. What the agent says in words is left as it says it.
"""

from dataclasses import replace
from typing import Final, cast

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.base import AgentRequest, SentBack
from rolldock.gateway.dialects.chat_form import read_mark, reasoning_fields
from rolldock.gateway.json_bodies import encode, encoding_of
from rolldock.gateway.refusals import RefusedError
from rolldock.gateway.session_log import SessionLog
from rolldock.models.base import JsonObject
from rolldock.models.session import TurnReply
from rolldock.models.turn import Encoding, Turn

_OWN_STYLE: Final = Encoding.COMPACT
"""In which dialects write the arguments that an agent sends back parsed."""


class Recall:
    """The reasoning of a session's turns, by slot, and how their tool calls were written."""

    def __init__(self, log: SessionLog) -> None:
        self._log = log
        self._reasoning: dict[int, JsonObject] = {}
        self._arguments: dict[str, Encoding | str] = {}

    def add(self, turn: Turn) -> None:
        """Take up a turn; those of chat completions need nothing."""
        if turn.native is None:
            return
        self._reasoning[turn.slot] = reasoning_fields(turn.message)
        for call, function in _calls(turn.message):
            arguments = function.get("arguments")
            if isinstance(arguments, str) and (style := _style(arguments)) is not _OWN_STYLE:
                self._arguments[call] = style

    async def restored(self, request: AgentRequest) -> AgentRequest:
        """A request with the reasoning and the arguments as the model wrote them.

        Raises:
            RefusedError: a mark is not of this session; the text names where it stands.
            UnavailableError: the store does not answer.
        """
        if request.native is None:
            return request
        messages = [self._with_arguments(message) for message in request.messages]
        for sent_back in request.sent_back:
            message = messages[sent_back.message]
            if isinstance(message, dict):
                reasoning = await self._reasoning_of(sent_back)
                messages[sent_back.message] = {**message, **reasoning}
        return replace(request, messages=tuple(messages))

    async def _reasoning_of(self, sent_back: SentBack) -> JsonObject:
        named = read_mark(sent_back.mark)
        if named is not None and named[0] == self._log.attempt:
            slot = named[1]
            if slot not in self._reasoning:
                # Another gateway may have answered it.
                reply = await self._log.reply(slot)
                if isinstance(reply, TurnReply):
                    self.add(reply.turn)
            if slot in self._reasoning:
                return self._reasoning[slot]
        shown = sent_back.mark[:80]
        message = f"{sent_back.where}: {shown!r} is no reasoning of this session: leave it out"
        raise RefusedError(400, "foreign_reasoning", message)

    def _with_arguments(self, message: JsonValue) -> JsonValue:
        """A message whose tool calls are written as the model wrote them, if they say the same."""
        if not isinstance(message, dict):
            return message
        for call, function in _calls(message):
            style, arguments = self._arguments.get(call), function.get("arguments")
            if style is not None and isinstance(arguments, str):
                function["arguments"] = _in_style(arguments, style)
        return message


def _calls(message: JsonObject) -> list[tuple[str, JsonObject]]:
    """Ids and functions of an assistant message's tool calls."""
    calls = message.get("tool_calls")
    found: list[tuple[str, JsonObject]] = []
    for call in calls if isinstance(calls, list) else []:
        name = call.get("id") if isinstance(call, dict) else None
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(name, str) and isinstance(function, dict):
            found.append((name, function))
    return found


def _style(arguments: str) -> Encoding | str:
    """How arguments are written; themselves, where that is in no known style."""
    value = _value(arguments)
    style = Encoding.BLOB if value is None else encoding_of(value, arguments.encode())
    return arguments if style is Encoding.BLOB else style


def _in_style(arguments: str, style: Encoding | str) -> str:
    value = _value(arguments)
    if value is None:
        return arguments
    if isinstance(style, Encoding):
        return encode(value, style).decode()
    return style if _value(style) == value else arguments


def _value(arguments: str) -> JsonValue:
    try:
        return cast(JsonValue, orjson.loads(arguments or "{}"))
    except orjson.JSONDecodeError:
        return None
