"""Where the HTTP handlers find what they work on."""

from aiohttp import web

from rolldock.sandboxd.access import Access
from rolldock.sandboxd.fleet import Fleet
from rolldock.sandboxd.listing import Listing
from rolldock.sandboxd.live import LiveSandbox
from rolldock.sandboxd.sessions import Sessions

FLEET = web.AppKey("fleet", Fleet)
LISTING = web.AppKey("listing", Listing)
SESSIONS = web.AppKey("sessions", Sessions)
ACCESS = web.AppKey("access", Access)


class UnauthorizedError(Exception):
    """Raised when a request does not carry the secret that it needs."""


def require_key(request: web.Request) -> None:
    """Let a control-plane request through.

    Raises:
        UnauthorizedError: wrong or no API key.
    """
    if not request.app[ACCESS].may_control(request):
        raise UnauthorizedError("wrong or no API key: set PRIME_API_KEY to this server's")


def addressed_sandbox(request: web.Request) -> LiveSandbox:
    """The running sandbox of a gateway request.

    Raises:
        UnauthorizedError: not its token.
        SandboxGoneError: it does not run.
    """
    sandbox_id = request.match_info["sandbox_id"]
    if not request.app[ACCESS].may_use(request, sandbox_id):
        raise UnauthorizedError("wrong or no gateway token")
    return request.app[FLEET].live(sandbox_id)
