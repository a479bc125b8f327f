"""From a request to the reply that its script holds: a pure function, so retries change nothing.

The turn is the number of assistant messages in the request, less those that only waited. Requests
that offer no tools are the side calls of agents (titles, summaries): they get a short text and use
up no turn.
"""

import json
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from .manners import in_manner, takes_text, turns_had
from .request import ChatRequest, OfferedFunction
from .script import ErrorReply, Script, ScriptTurn, ToolCall, find_script

SIDE_CALL_TEXT: Final = "Scripted conversation"
LAST_WORDS: Final = "Done."
"""The reply after the last written turn."""

_SHELL_NAMES: Final = frozenset({"bash", "shell", "exec_command", "terminal", "run_command"})
"""In small letters: Claude Code's is `Bash`."""
_COMMAND_NAMES: Final = ("command", "cmd", "script")
_PLAIN_VALUES: Final[dict[str, Any]] = {
    "string": "Run a command",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "array": [],
    "object": {},
}


class PlayError(Exception):
    """Raised when a request has no scripted reply; it carries the HTTP answer."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(reply.message)
        self.reply = reply


class Call(BaseModel):
    """A tool call, its arguments as the JSON text that goes over the wire."""

    model_config = ConfigDict(frozen=True)

    name: str
    arguments: str


class Played(BaseModel):
    """A reply in the words of the protocol, before it has ids."""

    model_config = ConfigDict(frozen=True)

    text: str | None = None
    calls: tuple[Call, ...] = ()
    delay_seconds: float = 0


def play(scripts: dict[str, Script], request: ChatRequest) -> Played:
    """The reply to a request.

    Raises:
        PlayError: no script matches, no shell tool is offered, or the turn is an error.
    """
    if not request.tools and not takes_text(request):
        return Played(text=SIDE_CALL_TEXT)
    script = find_script(scripts, request.model, request.opening)
    if script is None:
        names = ", ".join(f"{name} ({found.match!r})" for name, found in scripts.items())
        message = f"no script matches the conversation's first user messages; scripts: {names}"
        raise PlayError(ErrorReply(status=404, message=message, code="no_script"))
    index = turns_had(request)
    turn = script.turns[index] if index < len(script.turns) else ScriptTurn(say=LAST_WORDS)
    return _play_turn(in_manner(turn, request), request)


def _play_turn(turn: ScriptTurn, request: ChatRequest) -> Played:
    if turn.error is not None:
        raise PlayError(turn.error)
    calls = [_written_call(call) for call in turn.calls]
    if turn.run is not None:
        calls.append(_shell_call(turn.run, [tool.function for tool in request.tools or ()]))
    return Played(text=turn.say, calls=tuple(calls), delay_seconds=turn.delay_seconds)


def _written_call(call: ToolCall) -> Call:
    return Call(name=call.name, arguments=json.dumps(call.arguments))


def _shell_call(command: str, offered: list[OfferedFunction]) -> Call:
    """The call of the offered shell tool that runs a command, required parameters filled in."""
    ordered = sorted(offered, key=lambda tool: tool.name.lower() not in _SHELL_NAMES)
    for tool in ordered:
        properties: dict[str, Any] = tool.parameters.get("properties") or {}
        parameter = next((name for name in _COMMAND_NAMES if name in properties), None)
        if parameter is None:
            continue
        is_list = properties[parameter].get("type") == "array"
        arguments: dict[str, Any] = {
            parameter: ["bash", "-lc", command] if is_list else command,
        }
        for name in tool.parameters.get("required") or ():
            arguments.setdefault(name, _plain_value(properties.get(name) or {}))
        return Call(name=tool.name, arguments=json.dumps(arguments))
    names = ", ".join(tool.name for tool in offered)
    message = f"the script runs a command, but no offered tool takes one; tools: {names}"
    raise PlayError(ErrorReply(status=400, message=message, code="no_shell_tool"))


def _plain_value(schema: dict[str, Any]) -> Any:
    """A value that a parameter's JSON schema allows."""
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "minimum" in schema:
        return schema["minimum"]
    return _PLAIN_VALUES.get(str(schema.get("type")), "Run a command")
