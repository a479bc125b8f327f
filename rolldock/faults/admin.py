"""The routes by which faults are added, looked at and removed."""

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from rolldock.faults.middleware import fault_middleware
from rolldock.faults.model import ADMIN_PATH, Fault
from rolldock.faults.registry import FaultRegistry

Check = Callable[[web.Request], None]
"""Raises what the server makes a refusal of."""

Body = TypeVar("Body", bound=BaseModel)


def _anyone(_: web.Request) -> None:
    pass


def install(
    app: web.Application, *, check: Check = _anyone, spared: frozenset[str] = frozenset()
) -> FaultRegistry:
    """Make an application inject faults: middleware and admin routes. Before any catch-all route.

    `spared`: further paths that no fault touches.
    """
    registry = FaultRegistry()

    def spares(path: str) -> bool:
        return path == ADMIN_PATH or path.startswith(f"{ADMIN_PATH}/") or path in spared

    app.middlewares.insert(0, fault_middleware(registry, spares))
    admin = _Admin(registry, check)
    app.router.add_post(ADMIN_PATH, admin.add)
    app.router.add_get(ADMIN_PATH, admin.state)
    app.router.add_delete(ADMIN_PATH, admin.clear)
    app.router.add_delete(f"{ADMIN_PATH}/{{fault_id}}", admin.remove)
    return registry


async def read_body(request: web.Request, model: type[Body]) -> Body:
    """The body of an admin request.

    Raises:
        web.HTTPUnprocessableEntity: it is not what the model says; the answer says why.
    """
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise refusal(f"{where}: {first['msg']}") from None


def refusal(detail: str) -> web.HTTPUnprocessableEntity:
    """A 422 whose reason is the detail."""
    # A server with error bodies of its own keeps only the reason.
    return web.HTTPUnprocessableEntity(reason=" ".join(detail.split()))


class _Admin:
    def __init__(self, registry: FaultRegistry, check: Check) -> None:
        self._registry = registry
        self._check = check

    async def add(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response({"id": self._registry.add(await read_body(request, Fault))})

    async def state(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response(self._registry.state().model_dump(mode="json"))

    async def clear(self, request: web.Request) -> web.Response:
        self._check(request)
        self._registry.clear()
        return web.json_response({})

    async def remove(self, request: web.Request) -> web.Response:
        self._check(request)
        fault_id = request.match_info["fault_id"]
        if not self._registry.remove(fault_id):
            raise web.HTTPNotFound(reason=f"no fault {fault_id}")
        return web.json_response({})
