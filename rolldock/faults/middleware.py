"""The middleware: every request is counted, and what the registry says is done to it.

It is the outermost one, so a fault comes before the server's own checks and errors.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from rolldock.faults.gates import CutGate, DropGate, Gate, HoldGate
from rolldock.faults.model import Action, Answer, Cut, Delay, Drop, Late
from rolldock.faults.registry import FaultRegistry

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def fault_middleware(registry: FaultRegistry, spares: Callable[[str], bool]) -> Middleware:
    """A middleware that injects the registry's faults; `spares` names paths that it leaves alone.

    A spared path is not counted either.
    """

    @web.middleware
    async def inject(request: web.Request, handler: Handler) -> web.StreamResponse:
        if spares(request.path):
            return await handler(request)
        registry.count(request.method, _route(request))
        action = registry.action_for(request.method, request.path)
        if action is None:
            return await handler(request)
        return await _apply(action, request, handler)

    return inject


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "(no route)" if resource is None else resource.canonical


async def _apply(action: Action, request: web.Request, handler: Handler) -> web.StreamResponse:
    transport = request.transport
    if transport is None:
        return _unheard()
    match action:
        case Answer():
            return _answer(action)
        case Delay(when="before"):
            await asyncio.sleep(action.seconds)
            return await handler(request)
        case Delay():
            gate = HoldGate(request.protocol, transport, action.seconds)
            return await _gated(gate, request, handler)
        case Drop(when="before"):
            transport.abort()
            return _unheard()
        case Drop():
            return await _gated(DropGate(request.protocol, transport), request, handler)
        case Cut():
            gate = CutGate(request.protocol, transport, action.n_bytes)
            response = await _gated(gate, request, handler)
            response.force_close()
            return response
        case Late():
            await request.read()
            _hang_up(transport)
            await asyncio.sleep(action.seconds)
            return await _gated(DropGate(request.protocol, transport), request, handler)


async def _gated(gate: Gate, request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    gate.handled()
    return response


def _answer(action: Answer) -> web.Response:
    headers: dict[str, str] = {}
    if action.retry_after_seconds is not None:
        headers["Retry-After"] = str(action.retry_after_seconds)
    return web.json_response({"detail": action.detail}, status=action.status, headers=headers)


def _unheard() -> web.Response:
    """For the server's books: the client has gone."""
    return web.Response(status=499)


def _hang_up(transport: asyncio.Transport) -> None:
    """Close the connection for the client, while the server goes on as if it were open.

    A server that saw it end would cancel the handler, or tell it that nobody listens.
    """
    transport.pause_reading()
    connection = transport.get_extra_info("socket")
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster
