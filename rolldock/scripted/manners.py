"""How conversations are played to agents that take their commands, or their end, otherwise.

Most agents offer a tool that runs a command to its end, and are done once a reply calls none.
Terminus 2 offers no tools (`terminal.py`), and Codex's does not wait for the end (`polling.py`).
mini-swe-agent ends by a command, and one form of it reads commands from blocks of code. Each is
known by what it asks for. It knows no script.
"""

from typing import Final

from .polling import n_polls, poll
from .request import ChatRequest
from .script import ScriptTurn
from .terminal import at_terminal, is_terminal, n_waits

_SUBMIT: Final = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
_BLOCK: Final = "```mswea_bash_command"


def takes_text(request: ChatRequest) -> bool:
    """Whether a request without tools belongs to a conversation all the same."""
    return is_terminal(request) or _BLOCK in request.opening


def turns_had(request: ChatRequest) -> int:
    """How many turns of its script a conversation has had."""
    only_waited = n_waits(request) if is_terminal(request) else n_polls(request)
    return request.n_replies - only_waited


def in_manner(turn: ScriptTurn, request: ChatRequest) -> ScriptTurn:
    """The turn as the agent of a request understands it."""
    if is_terminal(request):
        return at_terminal(turn, request)
    if (waiting := poll(request)) is not None:
        return waiting
    if turn.error is None and _SUBMIT in request.opening:
        return _block(turn) if _BLOCK in request.opening else _submit(turn)
    return turn


def _block(turn: ScriptTurn) -> ScriptTurn:
    command = turn.run or f"echo {_SUBMIT}"
    said = f"{turn.say or ''}\n\n{_BLOCK}\n{command}\n```"
    return ScriptTurn(say=said, delay_seconds=turn.delay_seconds)


def _submit(turn: ScriptTurn) -> ScriptTurn:
    if turn.run is not None or turn.calls:
        return turn
    return turn.model_copy(update={"run": f"echo {_SUBMIT}"})
