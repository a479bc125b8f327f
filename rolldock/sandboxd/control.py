"""The control plane: create, look up, list and end sandboxes.

Casing is the API's own: sandboxes and lists in camelCase, batch lookups and auth in snake_case.
"""

import asyncio
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, Field, JsonValue

from rolldock.models.base import JsonObject
from rolldock.sandboxd.admission import RequestRefusedError
from rolldock.sandboxd.fleet import UnknownSandboxError
from rolldock.sandboxd.keys import ACCESS, FLEET, LISTING, require_key
from rolldock.sandboxd.listing import Listing
from rolldock.sandboxd.network import is_closed
from rolldock.sandboxd.records import CreateRequest, SandboxRecord, Status

_BATCH_LIMIT: Final = 100
_PAGE_LIMIT: Final = 1000


class BulkDelete(BaseModel):
    """Body of a bulk delete: ids, or labels that a sandbox must all have."""

    sandbox_ids: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None


class StatusBatch(BaseModel):
    """Body of a status lookup."""

    sandbox_ids: Annotated[tuple[str, ...], Field(min_length=1, max_length=_BATCH_LIMIT)]


class ListQuery(BaseModel):
    """Query of a list."""

    page: Annotated[int, Field(ge=1)] = 1
    per_page: Annotated[int, Field(ge=1, le=_PAGE_LIMIT)] = 50
    status: Status | None = None
    is_active: bool = False


class EgressPolicy(BaseModel):
    """Body of a change of network."""

    allowlist: tuple[str, ...] | None = None
    denylist: tuple[str, ...] | None = None


def _record(request: web.Request) -> SandboxRecord:
    require_key(request)
    return request.app[FLEET].record(request.match_info["sandbox_id"])


async def create(request: web.Request) -> web.Response:
    """Answers once the sandbox runs, so that nobody has to poll."""
    require_key(request)
    body = CreateRequest.model_validate_json(await request.read())
    record = await request.app[FLEET].create(body)
    auth = request.app[ACCESS].gateway_auth(request, record.id)
    return web.json_response({**record.as_sandbox(), "gatewayAuth": auth})


async def get(request: web.Request) -> web.Response:
    """One sandbox."""
    return web.json_response(_record(request).as_sandbox())


async def list_sandboxes(request: web.Request) -> web.Response:
    """A page of sandboxes, newest first; all given labels must match."""
    require_key(request)
    query = ListQuery.model_validate(dict(request.query))
    labels = set(request.query.getall("labels", []))
    matching = [
        record
        for record in request.app[LISTING].records()
        if labels <= set(record.request.labels)
        and (query.status is None or record.status == query.status)
        and (record.is_active or not query.is_active)
    ]
    start = (query.page - 1) * query.per_page
    page = matching[start : start + query.per_page]
    return web.json_response(
        {
            "sandboxes": [record.as_sandbox() for record in page],
            "total": len(matching),
            "page": query.page,
            "perPage": query.per_page,
            "hasNext": start + query.per_page < len(matching),
        }
    )


async def statuses(request: web.Request) -> web.Response:
    """The status of many; unknown ids are listed as errors."""
    require_key(request)
    batch = StatusBatch.model_validate_json(await request.read())
    found: list[JsonValue] = []
    errors: list[JsonValue] = []
    for sandbox_id in batch.sandbox_ids:
        try:
            found.append(request.app[FLEET].record(sandbox_id).as_snapshot())
        except UnknownSandboxError as error:
            entry: JsonObject = {"sandbox_id": sandbox_id, "code": "NOT_FOUND"}
            errors.append({**entry, "message": str(error)})
    return web.json_response({"statuses": found, "errors": errors})


async def delete(request: web.Request) -> web.Response:
    """Answers once nothing of the sandbox is left; deleting again is fine."""
    require_key(request)
    record = await request.app[FLEET].delete(request.match_info["sandbox_id"])
    return web.json_response({"id": record.id, "status": record.status.value})


def _chosen(listing: Listing, body: BulkDelete) -> list[str]:
    if body.sandbox_ids is not None:
        return list(body.sandbox_ids)
    if not body.labels:
        raise RequestRefusedError("a bulk delete needs sandbox_ids or labels")
    wanted = set(body.labels)
    return [it.id for it in listing.records() if it.is_active and wanted <= set(it.request.labels)]


async def bulk_delete(request: web.Request) -> web.Response:
    """Ends many; an id that has ended already counts as done."""
    require_key(request)
    fleet = request.app[FLEET]
    chosen = _chosen(request.app[LISTING], BulkDelete.model_validate_json(await request.read()))
    succeeded: list[str] = []
    failed: list[dict[str, str]] = []

    async def end(sandbox_id: str) -> None:
        try:
            await fleet.delete(sandbox_id)
            succeeded.append(sandbox_id)
        except UnknownSandboxError as error:
            failed.append({"sandbox_id": sandbox_id, "error": str(error)})

    async with asyncio.TaskGroup() as group:
        for sandbox_id in chosen:
            group.create_task(end(sandbox_id))
    message = f"{len(succeeded)} deleted, {len(failed)} failed"
    return web.json_response({"succeeded": succeeded, "failed": failed, "message": message})


async def auth(request: web.Request) -> web.Response:
    """A gateway token; also for an ended sandbox, whose gateway says that it is gone."""
    record = _record(request)
    return web.json_response(request.app[ACCESS].gateway_auth(request, record.id))


async def error_context(request: web.Request) -> web.Response:
    """Why a sandbox does not run: decides the exception that the SDK raises."""
    record = _record(request)
    return web.json_response(
        {
            "status": record.status.value,
            "errorType": record.error_type,
            "errorMessage": record.error_message,
        }
    )


async def logs(request: web.Request) -> web.Response:
    """What sandboxd did with the sandbox; output of commands goes to their callers."""
    return web.json_response({"logs": "\n".join(_record(request).logs)})


def _policy(record: SandboxRecord) -> web.Response:
    policy = {"allowlist": record.request.network_allowlist, "denylist": None}
    return web.json_response(
        {"policy": policy, "generation": 1, "applied_generation": 1, "applied": True}
    )


async def get_network(request: web.Request) -> web.Response:
    """The network that the sandbox was created with."""
    return _policy(_record(request))


async def set_network(request: web.Request) -> web.Response:
    """Accepts what is in force already; anything else is refused."""
    record = _record(request)
    asked = EgressPolicy.model_validate_json(await request.read())
    # The SDK asks for "all" as an empty denylist.
    wants_none = is_closed(asked.allowlist)
    wants_all = asked.allowlist is None and not asked.denylist
    has_none = is_closed(record.request.network_allowlist)
    if wants_none != has_none or not (wants_none or wants_all):
        raise RequestRefusedError(
            "the network of a sandbox is fixed when it is created here: create another one"
        )
    return _policy(record)


ROUTES: Final = (
    web.post("/api/v1/sandbox", create),
    web.get("/api/v1/sandbox", list_sandboxes),
    web.delete("/api/v1/sandbox", bulk_delete),
    web.post("/api/v1/sandbox/status:batchGet", statuses),
    web.get("/api/v1/sandbox/{sandbox_id}", get),
    web.delete("/api/v1/sandbox/{sandbox_id}", delete),
    web.post("/api/v1/sandbox/{sandbox_id}/auth", auth),
    web.get("/api/v1/sandbox/{sandbox_id}/error-context", error_context),
    web.get("/api/v1/sandbox/{sandbox_id}/logs", logs),
    web.get("/api/v1/sandbox/{sandbox_id}/egress-policy", get_network),
    web.put("/api/v1/sandbox/{sandbox_id}/egress-policy", set_network),
)
