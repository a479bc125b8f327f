"""The HTTP server: routes, error bodies, and the life of the process around them.

`serve` is what others call. Logic is in `fleet.py` and `sessions.py`.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from pydantic import ValidationError

from rolldock.errors import RolldockError, UsageError
from rolldock.sandboxd import checkpoints_routes, command_rpc, control, files, jobs
from rolldock.sandboxd.access import Access
from rolldock.sandboxd.admission import RequestRefusedError
from rolldock.sandboxd.checkpoints import CheckpointConflictError, UnknownCheckpointError
from rolldock.sandboxd.config import SandboxdConfig
from rolldock.sandboxd.entrance import EntryRefusedError
from rolldock.sandboxd.fleet import Fleet, KeyConflictError, UnknownSandboxError
from rolldock.sandboxd.harms import add_faults
from rolldock.sandboxd.keys import ACCESS, FLEET, LISTING, SESSIONS, UnauthorizedError
from rolldock.sandboxd.listing import Listing
from rolldock.sandboxd.live import SandboxGoneError
from rolldock.sandboxd.machine import check_machine
from rolldock.sandboxd.sessions import Sessions

_log = logging.getLogger(__name__)

_BODY_LIMIT_BYTES: Final = 1 << 30
_SHUTDOWN_SECONDS: Final = 2.0
_REFUSALS: Final = {
    "aborted": 500,
    "failed": 500,
    "is_directory": 400,
    "not_a_file": 400,
    "not_found": 404,
    "too_large": 413,
    "unavailable": 503,
}
"""HTTP status of an operation that was refused inside a sandbox."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _error(status: int, detail: str, **more: str) -> web.Response:
    return web.json_response({"detail": detail, **more}, status=status)


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where or 'body'}: {first['msg']}"


def _as_response(error: Exception) -> web.Response:
    match error:
        case UnauthorizedError():
            return _error(401, str(error))
        case UnknownSandboxError() | UnknownCheckpointError():
            return _error(404, str(error))
        case KeyConflictError() | CheckpointConflictError():
            return _error(409, str(error))
        case SandboxGoneError():
            return _error(410, f"sandbox {error} is not running", error="sandbox_terminated")
        case RequestRefusedError():
            return _error(422, str(error))
        case ValidationError():
            return _error(422, _first_problem(error))
        case EntryRefusedError():
            return _error(_REFUSALS.get(error.code, 500), str(error))
        case _:
            return _error(500, str(error))


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        detail = f"{request.method} {request.path}: {error.reason}"
        return _error(error.status, detail)
    except (
        EntryRefusedError,
        RolldockError,
        SandboxGoneError,
        UnauthorizedError,
        ValidationError,
        json.JSONDecodeError,
    ) as error:
        return _as_response(error)


async def _health(request: web.Request) -> web.Response:
    return web.json_response({"ok": True, "sandboxes": request.app[FLEET].n_live})


def _build(fleet: Fleet, sessions: Sessions, config: SandboxdConfig) -> web.Application:
    app = web.Application(client_max_size=_BODY_LIMIT_BYTES, middlewares=[_answer_errors])
    app[FLEET] = fleet
    app[SESSIONS] = sessions
    app[LISTING] = Listing(fleet)
    app[ACCESS] = Access(config.api_key)
    app.router.add_get("/healthz", _health)
    # Before the control plane: its `{sandbox_id}` would match `background-jobs`.
    first = (jobs.ROUTES, checkpoints_routes.ROUTES)
    for routes in (*first, control.ROUTES, files.ROUTES, command_rpc.ROUTES):
        app.add_routes(routes)
    if config.faults:
        add_faults(app)
    return app


async def serve(config: SandboxdConfig, ready: Callable[[str], None]) -> None:
    """Serve until cancelled, then leave the sandboxes alive.

    `ready` is called once with the server's address. A later server with the same state directory
    has the same sandboxes.

    Raises:
        UsageError: this machine, the state directory or the port cannot be used; one line.
    """
    config = config.model_copy(update={"state_dir": config.state_dir.absolute()})
    await asyncio.to_thread(check_machine, config.state_dir)
    fleet, sessions = Fleet(config), Sessions()
    try:
        await fleet.open()
        app = _build(fleet, sessions, config)
        runner = web.AppRunner(
            app,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            access_log=None,
        )
        await runner.setup()
        try:
            address = await _listen(runner, config)
            for line in fleet.not_enforced:
                _log.warning("%s", line)
            ready(address)
            await asyncio.Event().wait()
        finally:
            await sessions.close()
            await runner.cleanup()
    finally:
        await fleet.close()


async def _listen(runner: web.AppRunner, config: SandboxdConfig) -> str:
    try:
        await web.TCPSite(runner, config.host, config.port).start()
    except OSError as error:
        raise UsageError(
            f"{config.host}:{config.port}: {error.strerror}: stop what listens there, "
            "or choose another port"
        ) from error
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
