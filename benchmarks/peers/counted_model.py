"""The scripted model server, slowed down and counting which calls it answered.

It is `rolldock.scripted` itself, served in this process: what is counted is what went out, not what
a client says that it got. It does not know which rollout a call belongs to; a call's place is its
script and its turn.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, cast

from aiohttp import web

from rolldock.scripted.request import ChatRequest
from rolldock.scripted.script import Script, ScriptTurn, find_script
from rolldock.scripted.server import app

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Call(NamedTuple):
    """One turn that the model was asked for."""

    script: str
    turn: int
    answered: bool
    """Whether the last byte was written to an open connection."""


class CountedModel:
    """A running model server and the calls that it got; side calls, without tools, are not kept."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        self._scripts = scripts
        self._names = {id(script): name for name, script in scripts.items()}
        self.calls: list[Call] = []
        self.address = ""

    @property
    def n_answered(self) -> int:
        return sum(call.answered for call in self.calls)

    def n_asked_again(self, n_conversations: int) -> int:
        """Calls beyond one per turn, when each script was to be played so many times."""
        places = Counter((call.script, call.turn) for call in self.calls)
        return sum(max(0, n - n_conversations) for n in places.values())

    def n_turns(self, n_conversations: int) -> int:
        """The turns of all scripts, each played so many times."""
        return n_conversations * sum(len(script.turns) for script in self._scripts.values())

    @web.middleware
    async def count(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Note the call, and whether its answer could still be written at the end."""
        if not request.path.endswith("/chat/completions"):
            return await handler(request)
        asked = ChatRequest.model_validate_json(await request.read())
        script = find_script(self._scripts, asked.model, asked.opening)
        if script is None or not asked.tools:
            return await handler(request)
        place = len(self.calls)
        call = Call(self._names[id(script)], asked.n_replies, answered=False)
        self.calls.append(call)
        response = await handler(request)
        if request.transport is not None and not request.transport.is_closing():
            self.calls[place] = call._replace(answered=True)
        return response


def slowed(script: Script, *, reply_seconds: float, command_seconds: float) -> Script:
    """The script with a delay before each reply and a sleep before each command."""

    def slow(turn: ScriptTurn) -> ScriptTurn:
        run = turn.run
        if run is not None and command_seconds:
            run = f"sleep {command_seconds}; {run}"
        return turn.model_copy(update={"delay_seconds": reply_seconds, "run": run})

    return script.model_copy(update={"turns": tuple(slow(turn) for turn in script.turns)})


@asynccontextmanager
async def serve_counted(scripts: dict[str, Script]) -> AsyncGenerator[CountedModel]:
    """Serve on a free port of 127.0.0.1 while the block runs."""
    model = CountedModel(scripts)
    application = app(scripts)
    application.middlewares.append(model.count)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = cast(tuple[str, int], runner.addresses[0])
        model.address = f"http://{host}:{port}"
        yield model
    finally:
        await runner.cleanup()
