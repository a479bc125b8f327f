"""Harm on request, for tests and chaos: a sandbox lost, or without memory or disk; late lists.

Only where the configuration says `faults`; faults of single requests are in `rolldock/faults`.
"""

from aiohttp import web

from rolldock.faults.admin import install, read_body
from rolldock.faults.model import ADMIN_PATH, HarmRequest, ListingRequest
from rolldock.sandboxd.keys import FLEET, LISTING, require_key
from rolldock.sandboxd.live import OUT_OF_MEMORY


def add_faults(app: web.Application) -> None:
    """Let the holder of the API key do harm."""
    install(app, check=require_key)
    app.router.add_post(f"{ADMIN_PATH}/sandboxes/{{sandbox_id}}", harm)
    app.router.add_post(f"{ADMIN_PATH}/listing", lag)


async def harm(request: web.Request) -> web.Response:
    """Do something to a running sandbox; one that is to end is gone when this answers."""
    require_key(request)
    fleet = request.app[FLEET]
    asked = await read_body(request, HarmRequest)
    record = fleet.record(request.match_info["sandbox_id"])
    live = fleet.live(record.id)
    if asked.kind == "disk_full":
        live.disk_full = True
        return web.json_response({})
    if asked.kind == "oom":
        live.end(OUT_OF_MEMORY)
    live.kill()
    await live.ended.wait()
    return web.json_response({})


async def lag(request: web.Request) -> web.Response:
    """Let lists lag."""
    require_key(request)
    asked = await read_body(request, ListingRequest)
    request.app[LISTING].lag_seconds = asked.lag_seconds
    return web.json_response({})
