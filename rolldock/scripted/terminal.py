"""How Terminus 2 is answered: keystrokes in JSON or XML, and waiting for what they began.

It asks for no tools, and shows the screen a second after it has typed, whatever still runs there.
Each command is therefore followed by a mark on the screen, and waited for until the mark is seen,
in replies that use up no turn.
"""

import json
import shlex
from typing import Final

from .request import ChatRequest, Message
from .script import ScriptTurn

_TERMINAL: Final = "solving command-line tasks in a Linux environment"
_XML: Final = "<task_complete>"
_WAITING: Final = "The command has not ended yet."
_SECONDS: Final = 1.0
"""How long the agent waits before it shows the screen."""


def is_terminal(request: ChatRequest) -> bool:
    """Whether a request is Terminus's."""
    return _TERMINAL in request.opening


def n_waits(request: ChatRequest) -> int:
    """How many of its replies only waited."""
    return sum(_is_reply(message) and _WAITING in message.text for message in request.messages)


def at_terminal(turn: ScriptTurn, request: ChatRequest) -> ScriptTurn:
    """The turn as the agent takes it, or a wait before it; an error is no turn of anybody's."""
    number = request.n_replies - n_waits(request)
    if _still_runs(number - 1, request.messages):
        return _written(request, ScriptTurn(say=_WAITING), [""])
    if turn.error is not None:
        return turn
    # In a shell of its own: an `exit` in it would end the terminal.
    typed = [] if turn.run is None else [f"bash -c {shlex.quote(turn.run)}; {_marking(number)}\n"]
    return _written(request, turn, typed)


def _marking(number: int) -> str:
    """A command whose output cannot be mistaken for itself."""
    return f"echo; echo '[{number}' 'ended]'"


def _still_runs(number: int, messages: list[Message]) -> bool:
    """Whether the screen has not yet shown that the command of a turn has ended."""
    began = [n for n, message in enumerate(messages) if _marking(number) in message.text]
    if not began:
        return False
    shown = [message.text for message in messages[began[0] :] if not _is_reply(message)]
    return not any(f"[{number} ended]" in text for text in shown)


def _is_reply(message: Message) -> bool:
    return message.role == "assistant"


def _written(request: ChatRequest, turn: ScriptTurn, typed: list[str]) -> ScriptTurn:
    write = _xml if _XML in request.opening else _json
    return ScriptTurn(say=write(turn.say or "", typed), delay_seconds=turn.delay_seconds)


def _json(said: str, typed: list[str]) -> str:
    commands = [{"keystrokes": keys, "duration": _SECONDS} for keys in typed]
    reply = {"analysis": said, "plan": "", "commands": commands, "task_complete": not commands}
    return json.dumps(reply, indent=2)


def _xml(said: str, typed: list[str]) -> str:
    # Nothing is escaped: what it is read with undoes no escapes.
    commands = [f'<keystrokes duration="{_SECONDS}">{keys}</keystrokes>' for keys in typed]
    complete = "false" if commands else "true"
    lines = [
        "<response>",
        f"<analysis>{said}</analysis>",
        "<plan></plan>",
        "<commands>",
        *commands,
        "</commands>",
        f"<task_complete>{complete}</task_complete>",
        "</response>",
    ]
    return "\n".join(lines)
