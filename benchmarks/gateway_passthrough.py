"""The yardstick of the gateway's benchmark: a bare aiohttp proxy that passes bytes through.

It checks no key, reads no JSON and keeps nothing.

    python benchmarks/gateway_passthrough.py http://127.0.0.1:UPSTREAM
"""

import asyncio
import sys
from typing import cast

import aiohttp
from aiohttp import web


class PassThrough:
    """Forwards every POST to the same path of one server."""

    def __init__(self, http: aiohttp.ClientSession, upstream: str) -> None:
        self._http = http
        self._upstream = upstream

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """One request; a stream is passed on piece by piece."""
        body = await request.read()
        headers = {"Content-Type": "application/json"}
        url = f"{self._upstream}{request.path}"
        async with self._http.post(url, data=body, headers=headers) as reply:
            kind = reply.headers["Content-Type"]
            if kind != "text/event-stream":
                whole = await reply.read()
                return web.Response(status=reply.status, body=whole, headers={"Content-Type": kind})
            response = web.StreamResponse(status=reply.status, headers={"Content-Type": kind})
            await response.prepare(request)
            async for piece in reply.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


async def main(upstream: str) -> None:
    """Serve on a free port of 127.0.0.1 until killed."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/{path:.*}", PassThrough(http, upstream).forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        host, port = cast(tuple[str, int], runner.addresses[0])
        print(f"listening on http://{host}:{port}", flush=True)  # noqa: T201  its one output
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
