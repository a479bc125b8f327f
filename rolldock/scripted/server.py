"""The scripted server's HTTP side: routes, the key check, streaming."""

import asyncio
import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, cast

from aiohttp import web
from pydantic import ValidationError

from rolldock.errors import UsageError
from rolldock.faults.admin import install
from rolldock.faults.model import JOURNAL_PATH

from .anthropic_messages import AnthropicMessages
from .chat_completions import ChatCompletions
from .journal import Journal
from .openai_responses import OpenAIResponses
from .play import PlayError, play
from .script import ErrorReply, Script
from .wire_format import UnreadableError, WireFormat, invalid

FORMATS: Final[tuple[WireFormat, ...]] = (ChatCompletions(), AnthropicMessages(), OpenAIResponses())

MAX_BODY_BYTES: Final = 256 * 1024 * 1024
SHUTDOWN_SECONDS: Final = 0.5
"""How long replies in flight may still take once the server is told to stop."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def app(
    scripts: dict[str, Script], *, api_key: str | None = None, faults: bool = False
) -> web.Application:
    """The server as an application; with an API key every `/v1` request must bear it.

    `faults`: whether anyone may inject faults and read the journal of calls.
    """
    journal = Journal() if faults else None
    server = _Server(scripts, api_key, journal)
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[server.authorize])
    if journal is not None:
        install(application, spared=frozenset({JOURNAL_PATH}))
        application.router.add_get(JOURNAL_PATH, journal.show)
    application.router.add_get("/healthz", server.healthz)
    application.router.add_get("/v1/models", server.models)
    for spoken in FORMATS:
        application.router.add_post(spoken.path, partial(server.answer, spoken))
    return application


@asynccontextmanager
async def serve(
    scripts: dict[str, Script],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    faults: bool = False,
) -> AsyncGenerator[str]:
    """Serve while the block runs; yields the address, `http://host:port`, without `/v1`.

    Raises:
        UsageError: the port cannot be had.
    """
    runner = web.AppRunner(
        app(scripts, api_key=api_key, faults=faults),
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host}:{port}: {error.strerror}: choose another --port"
            ) from error
        address = cast(tuple[str, int], runner.addresses[0])
        yield f"http://{address[0]}:{address[1]}"
    finally:
        await runner.cleanup()


class _Server:
    def __init__(
        self, scripts: dict[str, Script], api_key: str | None, journal: Journal | None
    ) -> None:
        self._scripts = scripts
        self._journal = journal
        self._expected = None if api_key is None else api_key.encode()

    @web.middleware
    async def authorize(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse `/v1` requests without the key; give unknown paths a JSON body."""
        spoken = _format_of(request.path)
        if self._expected is not None and request.path.startswith("/v1"):
            given = spoken.api_key(request.headers).encode()
            if not hmac.compare_digest(given, self._expected):
                return _error(spoken, ErrorReply(status=401, message="wrong or missing API key"))
        try:
            return await handler(request)
        except web.HTTPException as error:
            message = f"{request.method} {request.path}: {error.reason}"
            return _error(spoken, ErrorReply(status=error.status, message=message))

    async def healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "scripts": list(self._scripts)})

    async def models(self, request: web.Request) -> web.Response:
        model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "rolldock"}
        return web.json_response({"object": "list", "data": [model]})

    async def answer(self, spoken: WireFormat, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if self._journal is not None:
            self._journal.add(request, raw)
        for header in spoken.demanded_headers:
            if header not in request.headers:
                return _error(spoken, ErrorReply(status=400, message=f"{header}: missing header"))
        try:
            asked = spoken.read(raw)
        except ValidationError as error:
            return _error(spoken, invalid(error))
        except UnreadableError as error:
            return _error(spoken, error.reply)
        try:
            reply = play(self._scripts, asked)
        except PlayError as error:
            return _error(spoken, error.reply)
        await asyncio.sleep(reply.delay_seconds)
        if asked.stream:
            return await _stream(request, spoken.stream(asked, reply))
        return web.json_response(spoken.whole(asked, reply))


def _format_of(path: str) -> WireFormat:
    """The format in which a path's errors are said."""
    return next((spoken for spoken in FORMATS if path.startswith(spoken.path)), FORMATS[0])


async def _stream(request: web.Request, events: Iterable[bytes]) -> web.StreamResponse:
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    response = web.StreamResponse(headers=headers)
    # The client may have gone.
    with suppress(ConnectionResetError):
        await response.prepare(request)
        for event in events:
            await response.write(event)
        await response.write_eof()
    return response


def _error(spoken: WireFormat, reply: ErrorReply) -> web.Response:
    return web.json_response(spoken.error(reply), status=reply.status)
