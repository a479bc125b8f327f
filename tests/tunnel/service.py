"""A stand-in for Prime's tunnel service: its HTTP API, and the server that frpc connects to.

The API speaks what `prime_tunnel.TunnelClient` 0.1.15 speaks: register, look, list by label, end.
In place of frps there is a server for `frpc.py`, and in place of `https://ID.domain` each tunnel
has a port of its own here, or all have one address, told apart by the Host header as at frps. A
deregistered tunnel answers 404 while its frpc notices nothing, and so does one without an frpc.
"""

import asyncio
import json
import re
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from aiohttp import web

from tests.tunnel.frpc import copy

Handle: TypeAlias = Callable[
    [asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]
]
KEY = "pit-of-a-test"
NOT_FOUND = (
    b"HTTP/1.1 404 Not Found\r\nServer: frp\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
    b"not found\n"
)
EXPIRES_AT = "2099-01-01T00:00:00Z"
_HOST = re.compile(rb"^host: *(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(slots=True)
class Tunnel:
    """One registration."""

    tunnel_id: str
    url: str
    labels: list[str]
    token: str
    binding_secret: str
    status: str = "pending"


@dataclass
class TunnelService:
    """What the service knows, and how a test troubles it."""

    tunnels: dict[str, Tunnel] = field(default_factory=dict[str, Tunnel])
    controls: dict[str, asyncio.StreamWriter] = field(
        default_factory=dict[str, asyncio.StreamWriter]
    )
    logins: list[str] = field(default_factory=list[str])
    """Ids of the tunnels whose frpc logged in, in order."""
    refusal: tuple[int, str] | None = None
    """The answer to every request of the API; None: it works."""
    turns_frpc_away: bool = False
    """Whoever connects as frpc is hung up on."""
    visits: Counter[str] = field(default_factory=Counter[str])
    """Connections that an frpc was asked to serve, by the tunnel's id."""
    public: tuple[str, int] | None = None
    """Where visitors see all tunnels; None: each at a port of its own."""
    url: str = ""
    frps_port: int = 0
    public_port: int = 0
    """Where visitors of all tunnels really come in."""
    _works: dict[str, asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = field(
        default_factory=dict[str, asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
    )
    _n_urls: int = 0
    _servers: list[asyncio.Server] = field(default_factory=list[asyncio.Server])
    _handlers: "set[asyncio.Task[None]]" = field(default_factory=set["asyncio.Task[None]"])

    def deregister(self, tunnel_id: str) -> None:
        """End a registration behind its frpc's back."""
        self.tunnels[tunnel_id].status = "expired"

    def live(self) -> list[str]:
        """Ids of the registrations that are not over."""
        return [one.tunnel_id for one in self.tunnels.values() if one.status != "expired"]

    async def listen(self) -> None:
        """Start the servers that frpc and visitors connect to."""
        self.frps_port = await self._serve(self._on_frpc)
        self.public_port = await self._serve(partial(self._on_visitor, None))

    async def close(self) -> None:
        """Hang up on everybody."""
        for server in self._servers:
            server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    def application(self) -> web.Application:
        """The API."""
        app = web.Application()
        app.router.add_route("*", "/api/v1/tunnel", self._handle_tunnels)
        app.router.add_route("*", "/api/v1/tunnel/{id}", self._handle_tunnel)
        return app

    def _refused(self, request: web.Request) -> web.Response | None:
        if self.refusal is not None:
            status, detail = self.refusal
            return web.json_response({"detail": detail}, status=status)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"detail": "Unauthorized"}, status=401)
        return None

    async def _handle_tunnels(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        if request.method == "POST":
            return await self._register(await request.json())
        wanted = request.query.getall("labels", [])
        found = [one for one in self.tunnels.values() if set(wanted) <= set(one.labels)]
        listed = [self._public(one) for one in found]
        return web.json_response({"tunnels": listed, "total": len(listed), "has_next": False})

    async def _handle_tunnel(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        tunnel = self.tunnels.get(request.match_info["id"])
        if tunnel is None or tunnel.status == "expired":
            return web.json_response({"detail": "Tunnel not found"}, status=404)
        if request.method == "DELETE":
            del self.tunnels[tunnel.tunnel_id]
            return web.json_response({"success": True})
        return web.json_response(self._public(tunnel))

    async def _register(self, body: dict[str, Any]) -> web.Response:
        assert isinstance(body["local_port"], int)
        tunnel_id = f"t-{secrets.token_hex(6)}"

        tunnel = Tunnel(
            tunnel_id=tunnel_id,
            url=await self._new_url(tunnel_id),
            labels=body.get("labels", []),
            token=secrets.token_hex(8),
            binding_secret=secrets.token_hex(8),
        )
        self.tunnels[tunnel_id] = tunnel
        more = {
            "frp_token": tunnel.token,
            "binding_secret": tunnel.binding_secret,
            "server_host": "127.0.0.1",
            "server_port": self.frps_port,
        }
        return web.json_response({**self._public(tunnel), **more}, status=201)

    async def _new_url(self, tunnel_id: str) -> str:
        """One that was never used: a port, or another spelling of the one that all share."""
        if self.public is not None:
            host, port = self.public
            self._n_urls += 1
            return f"http://{host}:{port:0{self._n_urls + 5}}"
        port = await self._serve(partial(self._on_visitor, tunnel_id))
        return f"http://127.0.0.1:{port}"

    def _public(self, tunnel: Tunnel) -> dict[str, Any]:
        return {
            "tunnel_id": tunnel.tunnel_id,
            "hostname": tunnel.url.removeprefix("http://"),
            "url": tunnel.url,
            "labels": tunnel.labels,
            "status": tunnel.status,
            "expires_at": EXPIRES_AT,
        }

    async def _serve(self, handle: Handle) -> int:
        """Serve connections on a port that the system chooses; the port."""

        def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            handler = asyncio.create_task(handle(reader, writer))
            self._handlers.add(handler)
            handler.add_done_callback(self._handlers.discard)

        server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
        self._servers.append(server)
        return server.sockets[0].getsockname()[1]

    async def _on_frpc(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handed_over = False
        try:
            if self.turns_frpc_away:
                return
            said = json.loads(await reader.readline() or b"{}")
            work = self._works.pop(said.get("work", ""), None)
            if work is not None:
                work.set_result((reader, writer))
                handed_over = True
            else:
                await self._on_login(said, reader, writer)
        finally:
            if not handed_over:
                writer.close()

    async def _on_login(
        self, said: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        tunnel = self.tunnels.get(said.get("login", ""))
        if tunnel is None or tunnel.status == "expired":
            writer.write(b'{"error": "tunnel not registered"}\n')
            return
        assert (said["token"], said["binding_secret"]) == (tunnel.token, tunnel.binding_secret)
        writer.write(b'{"ok": true}\n')
        self.controls[tunnel.tunnel_id] = writer
        self.logins.append(tunnel.tunnel_id)
        tunnel.status = "connected"
        with suppress(ConnectionError):
            await reader.read()
        if self.controls.get(tunnel.tunnel_id) is writer:
            del self.controls[tunnel.tunnel_id]
            if tunnel.status == "connected":
                tunnel.status = "disconnected"

    def _named(self, head: bytes) -> Tunnel | None:
        """Whose host a request names."""
        host = _HOST.search(head)
        url = f"http://{host[1].decode()}" if host is not None else ""
        return next((one for one in self.tunnels.values() if one.url == url), None)

    async def _on_visitor(
        self, tunnel_id: str | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """A visitor of one tunnel's own port; None: of the address that all share."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            tunnel = self._named(head) if tunnel_id is None else self.tunnels.get(tunnel_id)
            control = None if tunnel is None else self.controls.get(tunnel.tunnel_id)
            if control is None or tunnel is None or tunnel.status == "expired":
                writer.write(NOT_FOUND)
                await writer.drain()
                return
            self.visits[tunnel.tunnel_id] += 1
            visitor = secrets.token_hex(4)
            self._works[visitor] = asyncio.get_running_loop().create_future()
            coming = self._works[visitor]
            control.write(visitor.encode() + b"\n")
            work_reader, work_writer = await asyncio.wait_for(coming, 5)
            work_writer.write(head)
            try:
                await asyncio.gather(copy(reader, work_writer), copy(work_reader, writer))
            finally:
                work_writer.close()
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the visitor has left, or frpc has
        finally:
            writer.close()


@asynccontextmanager
async def tunnel_service(public: tuple[str, int] | None = None) -> AsyncGenerator[TunnelService]:
    """A service on ports that the system chose.

    Args:
        public: where visitors see its tunnels, if that is another address than `public_port`.
    """
    service = TunnelService(public=public)
    await service.listen()
    runner = web.AppRunner(service.application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await service.close()
        await runner.cleanup()
