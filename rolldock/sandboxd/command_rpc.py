"""`command_session.CommandSession` over the Connect protocol.

Streams answer HTTP 200 always; how they ended is in their last frame. Unary calls are bare
protobuf, and their errors JSON. Compression is not spoken: the SDK asks for none.
"""

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from uuid import UUID

from aiohttp import web

from rolldock.sandboxd import wire
from rolldock.sandboxd.access import GATEWAY_PREFIX
from rolldock.sandboxd.keys import FLEET, SESSIONS, UnauthorizedError, addressed_sandbox
from rolldock.sandboxd.live import LiveSandbox, SandboxGoneError
from rolldock.sandboxd.session import Session, SessionError, Subscription

_STREAM_TYPE: Final = "application/connect+proto"
_UNARY_TYPE: Final = "application/proto"
_END_FLAG: Final = 0x02
_STATUS: Final = {
    "failed_precondition": HTTPStatus.BAD_REQUEST,
    "invalid_argument": HTTPStatus.BAD_REQUEST,
    "not_found": HTTPStatus.NOT_FOUND,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "unimplemented": HTTPStatus.NOT_IMPLEMENTED,
}

Attach = Callable[[web.Request, LiveSandbox, bytes], tuple[Session, Subscription]]


def _envelope(flags: int, content: bytes) -> bytes:
    return struct.pack(">BI", flags, len(content)) + content


def _open_envelope(data: bytes) -> bytes:
    if len(data) < 5:
        raise wire.MalformedMessageError("no message")
    flags, length = struct.unpack(">BI", data[:5])
    if flags != 0 or length != len(data) - 5:
        raise wire.MalformedMessageError("one uncompressed message was expected")
    return data[5:]


def _as_session_error(error: Exception) -> SessionError:
    match error:
        case SessionError():
            return error
        case UnauthorizedError():
            return SessionError("unauthenticated", str(error))
        case SandboxGoneError():
            return SessionError("not_found", f"sandbox {error} is not running")
        case TimeoutError():
            return SessionError("deadline_exceeded", "the call's time is up")
        case _:
            return SessionError("invalid_argument", str(error))


_EXPECTED: Final = (
    SessionError,
    UnauthorizedError,
    SandboxGoneError,
    TimeoutError,
    wire.MalformedMessageError,
)


def _require_uuid(value: str | None, name: str) -> str:
    try:
        if value is not None and str(UUID(value)) == value:
            return value
    except ValueError:
        pass
    raise SessionError("invalid_argument", f"{name} must be a canonical UUID, not {value!r}")


def _timeout_seconds(request: web.Request) -> float | None:
    value = request.headers.get("connect-timeout-ms", "")
    return int(value) / 1000 if value.isdecimal() else None


def _start(request: web.Request, live: LiveSandbox, message: bytes) -> tuple[Session, Subscription]:
    start = wire.read_start(message)
    if start.wants_terminal:
        raise SessionError("unimplemented", "terminals are not supported: leave out `pty`")
    if not start.command.program:
        raise SessionError("invalid_argument", "the command is empty")
    if start.session_uuid is not None:
        _require_uuid(start.session_uuid, "session_uuid")
    environment = request.app[FLEET].environment(live.id)
    return request.app[SESSIONS].start(live, start, environment)


def _connect(
    request: web.Request, live: LiveSandbox, message: bytes
) -> tuple[Session, Subscription]:
    session = request.app[SESSIONS].find(live, wire.read_connect(message))
    return session, session.subscribe()


async def _stream(request: web.Request, attach: Attach, *, owns: bool) -> web.StreamResponse:
    """Relay a session. `owns`: the call's deadline is the command's."""
    response = web.StreamResponse(headers={"Content-Type": _STREAM_TYPE})
    await response.prepare(request)
    end: dict[str, object] = {}
    try:
        live = addressed_sandbox(request)
        message = _open_envelope(await request.read())
        session, subscription = attach(request, live, message)
        await _relay(request, response, session, subscription, owns=owns)
    except _EXPECTED as error:
        failure = _as_session_error(error)
        end = {"error": {"code": failure.code, "message": str(failure)}}
    await response.write(_envelope(_END_FLAG, json.dumps(end).encode()))
    await response.write_eof()
    return response


async def _relay(
    request: web.Request,
    response: web.StreamResponse,
    session: Session,
    subscription: Subscription,
    *,
    owns: bool,
) -> None:
    is_over = False
    try:
        async with asyncio.timeout(_timeout_seconds(request)):
            async for frame in subscription.frames():
                await response.write(_envelope(0, frame))
        is_over = True
    except SessionError:
        is_over = True
        raise
    except TimeoutError:
        is_over = not owns
        raise
    except (asyncio.CancelledError, ConnectionResetError):
        # A session with a uuid waits for its client to come back.
        is_over = session.request.session_uuid is not None
        raise
    finally:
        session.unsubscribe(subscription)
        if not is_over:
            await request.app[SESSIONS].kill(session)


async def start(request: web.Request) -> web.StreamResponse:
    """Run a command, or attach to the one with this session_uuid."""
    return await _stream(request, _start, owns=True)


async def connect(request: web.Request) -> web.StreamResponse:
    """Attach to a session again."""
    return await _stream(request, _connect, owns=False)


async def _unary(
    request: web.Request, answer: Callable[[LiveSandbox, bytes], Awaitable[bytes]]
) -> web.Response:
    try:
        live = addressed_sandbox(request)
        async with asyncio.timeout(_timeout_seconds(request)):
            content = await answer(live, await request.read())
    except _EXPECTED as error:
        failure = _as_session_error(error)
        status = _STATUS.get(failure.code, HTTPStatus.INTERNAL_SERVER_ERROR)
        return web.json_response(
            {"code": failure.code, "message": str(failure)}, status=status.value
        )
    return web.Response(body=content, content_type=_UNARY_TYPE)


async def list_sessions(request: web.Request) -> web.Response:
    """The sessions that run."""

    async def answer(live: LiveSandbox, _: bytes) -> bytes:
        running = request.app[SESSIONS].running(live)
        return wire.session_list(
            [(it.request.command, it.pid or 0, it.request.session_uuid) for it in running]
        )

    return await _unary(request, answer)


async def send_input(request: web.Request) -> web.Response:
    """Write to a session's standard input, once for each input_uuid."""

    async def answer(live: LiveSandbox, body: bytes) -> bytes:
        message = wire.read_input(body)
        input_uuid = _require_uuid(message.input_uuid, "input_uuid")
        session = request.app[SESSIONS].find(live, message.selector)
        await session.write(message.data, input_uuid)
        return b""

    return await _unary(request, answer)


async def send_signal(request: web.Request) -> web.Response:
    """SIGTERM or SIGKILL to a session, once for each signal_uuid."""

    async def answer(live: LiveSandbox, body: bytes) -> bytes:
        message = wire.read_signal(body)
        signal_uuid = _require_uuid(message.signal_uuid, "signal_uuid")
        if message.signal not in (wire.SIGTERM, wire.SIGKILL):
            raise SessionError("invalid_argument", f"signal {message.signal} cannot be sent")
        session = request.app[SESSIONS].find(live, message.selector)
        await session.signal(message.signal, signal_uuid)
        return b""

    return await _unary(request, answer)


_SERVICE: Final = f"{GATEWAY_PREFIX}/{{namespace}}/{{sandbox_id}}/command_session.CommandSession"
ROUTES: Final = (
    web.post(f"{_SERVICE}/Start", start),
    web.post(f"{_SERVICE}/Connect", connect),
    web.post(f"{_SERVICE}/List", list_sessions),
    web.post(f"{_SERVICE}/SendInput", send_input),
    web.post(f"{_SERVICE}/SendSignal", send_signal),
)
