"""The web server: who may ask, what every answer forbids the browser, and its life.

It answers GET alone. What stands on the pages is `pages.py`.
"""

import ipaddress
import logging
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rolldock.errors import RolldockError, UsageError
from rolldock.view.pages import Missing, Pages, page
from rolldock.view.rendering import render

_log = logging.getLogger(__name__)

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_READING: Final = frozenset({"GET", "HEAD"})
_SHUTDOWN_SECONDS: Final = 1.0


@asynccontextmanager
async def serving(pages: Pages, host: str, port: int) -> AsyncGenerator[str, None]:
    """Serve while the block runs; yields the address. Port 0: one that the system chooses.

    Raises:
        UsageError: the address cannot be listened on.
    """
    listener = _listen(host, port)
    runner = web.AppRunner(
        _application(pages, host), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        bound: int = listener.getsockname()[1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}/"
    finally:
        await runner.cleanup()
        await pages.close()


def _application(pages: Pages, host: str) -> web.Application:
    app = web.Application(middlewares=[_answer_safely(host)])
    app.add_routes(pages.routes())
    return app


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen on {host}:{port} ({error}): give another --port, 0 for any that is "
            "free, or another --host"
        ) from error


def _answer_safely(host: str) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_named(request.headers.get("Host", ""), host):
            response = _sorry(403, "This address is not mine", "Ask for it by its IP address.")
        elif request.method not in _READING:
            response = _sorry(405, "Nothing can be changed here", "These pages are only read.")
        else:
            response = await _handled(request, handler)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return middleware


async def _handled(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Missing as error:
        return _sorry(404, "Nothing is here", error.message)
    except web.HTTPException as error:
        return _sorry(error.status, "Nothing is here", error.reason)
    except RolldockError as error:
        return _sorry(503, "The store cannot be read", str(error))
    except ValueError as error:
        # Of a record that another version wrote, or that is damaged: the others still show.
        _log.warning("%s: %s", request.path, error)
        first = str(error).partition("\n")[0]
        return _sorry(500, "A record here cannot be read", first)


def _sorry(status: int, title: str, message: str) -> web.Response:
    html = render("sorry.html", served=True, store=None, title=title, message=message)
    return page(html, status)


def _is_named(header: str, host: str) -> bool:
    """Whether a request names this machine by a number, or by a name that leads nowhere else.

    A foreign page can make its own name lead here (DNS rebinding) and then read all that the
    browser gets under it; with a number it cannot.
    """
    name = re.sub(r":[0-9]*$", "", header).strip("[]").lower()
    if name in ("localhost", host.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
