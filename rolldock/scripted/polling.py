"""How a long command of Codex is waited for: its tool gives a session, which another tool polls.

The command's output begins with a few lines about it, and they say so while it runs. Each poll is a
reply that uses up no turn; it comes back when the command has ended, or after some seconds.
"""

import re
from typing import Final

from .request import CalledTool, ChatRequest
from .script import ScriptTurn, ToolCall

_TOOL: Final = "write_stdin"
_RUNNING: Final = re.compile(r"^Process running with session ID (\d+)$", re.MULTILINE)
_OUTPUT: Final = "\nOutput:"


def n_polls(request: ChatRequest) -> int:
    """How many of the model's replies only polled."""
    called = [message.tool_calls or [] for message in request.messages]
    return sum(bool(calls) and all(map(_is_poll, calls)) for calls in called)


def poll(request: ChatRequest) -> ScriptTurn | None:
    """A poll of the command that the last message says is running; None: none is."""
    last = request.messages[-1]
    about, _, _ = last.text.partition(_OUTPUT)
    running = _RUNNING.search(about) if last.role == "tool" else None
    offered = {tool.function.name for tool in request.tools or ()}
    if running is None or _TOOL not in offered:
        return None
    return ScriptTurn(calls=(ToolCall(name=_TOOL, arguments={"session_id": int(running[1])}),))


def _is_poll(call: CalledTool) -> bool:
    return call.function.name == _TOOL and '"chars"' not in call.function.arguments
