"""One gateway process: puts the parts together, serves an inherited socket, drains on SIGTERM."""

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp import web

from rolldock.gateway.calls import CallTools
from rolldock.gateway.config import GatewayConfig
from rolldock.gateway.endpoints import Endpoints
from rolldock.gateway.engines.registry import Engines
from rolldock.gateway.process import Process
from rolldock.gateway.server import Server
from rolldock.gateway.sessions import Sessions
from rolldock.gateway.tasks import Tasks
from rolldock.gateway.upstream import Upstream
from rolldock.store.store import Store

BACKLOG: Final = 4096
"""Connections that queue while there is no child."""

_LEFT_OVER_SECONDS: Final = 2.0
"""For what goes on without a client once the last handler is done."""


@asynccontextmanager
async def running(config: GatewayConfig) -> AsyncGenerator[web.Application]:
    """The gateway's parts, put together; its open calls end with it.

    Raises:
        UsageError: no secret.
        UnavailableError: the store cannot be opened.
    """
    secret = config.read_secret()
    store = Store.open(config.store)
    endpoints = Endpoints(store, secret, config.end_probe_seconds)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0)
    trust_env = any(name.lower().endswith("_proxy") for name in os.environ)
    no_cookies = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=no_cookies, trust_env=trust_env
    ) as http:
        upstream = Upstream(http, config.upstream_total_seconds, config.upstream_stall_seconds)
        tasks = Tasks()
        tools = CallTools(store, endpoints, upstream, Engines(store))
        process = Process(str(uuid.uuid4()), tools, tasks, config.end_probe_seconds)
        try:
            yield Server(config, secret, Sessions(process), endpoints).application()
        finally:
            await tasks.drain(_LEFT_OVER_SECONDS)


async def serve(config: GatewayConfig, listener: socket.socket, parent: int | None) -> None:
    """Serve until SIGTERM or SIGINT, or until the pipe `parent` is closed at its other end."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent is not None:
        # A parent that was killed cannot say so; nobody would restart or stop us.
        loop.add_reader(parent, os._exit, 1)
    async with running(config) as application:
        runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=config.drain_seconds,
            keepalive_timeout=config.idle_seconds,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
            await stop.wait()
        finally:
            await runner.cleanup()
