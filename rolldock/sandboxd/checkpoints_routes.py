"""The checkpoint routes of the control plane. Bodies are in snake_case, as the API has them."""

from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, Field, JsonValue

from rolldock.sandboxd.checkpoints import CheckpointConflictError, UnknownCheckpointError
from rolldock.sandboxd.keys import FLEET, require_key

_BATCH_LIMIT: Final = 100


class CheckpointBatch(BaseModel):
    """Body of a lookup of many."""

    checkpoint_ids: Annotated[tuple[str, ...], Field(min_length=1, max_length=_BATCH_LIMIT)]


async def make(request: web.Request) -> web.Response:
    """Answers with a pending checkpoint; a sandbox that does not run is refused with 410."""
    require_key(request)
    made = await request.app[FLEET].checkpoint(request.match_info["sandbox_id"])
    return web.json_response(made.as_checkpoint())


async def list_of_sandbox(request: web.Request) -> web.Response:
    """A sandbox's checkpoints, oldest first, also after its end."""
    require_key(request)
    fleet, sandbox_id = request.app[FLEET], request.match_info["sandbox_id"]
    found = fleet.checkpoints.of(sandbox_id)
    if not found:
        fleet.record(sandbox_id)
    wanted = request.query.get("checkpoint_id")
    shown = [one.as_checkpoint() for one in found if wanted in (None, one.id)]
    return web.json_response({"checkpoints": shown})


async def get(request: web.Request) -> web.Response:
    """One checkpoint."""
    require_key(request)
    found = request.app[FLEET].checkpoints.get(request.match_info["checkpoint_id"])
    return web.json_response(found.as_checkpoint())


async def get_many(request: web.Request) -> web.Response:
    """Many checkpoints; unknown ids are listed as errors."""
    require_key(request)
    batch = CheckpointBatch.model_validate_json(await request.read())
    found: list[JsonValue] = []
    errors: list[JsonValue] = []
    for checkpoint_id in batch.checkpoint_ids:
        try:
            one = request.app[FLEET].checkpoints.get(checkpoint_id)
            found.append(one.as_checkpoint())
        except UnknownCheckpointError as error:
            errors.append(_problem(checkpoint_id, "NOT_FOUND", error))
    return web.json_response({"checkpoints": found, "errors": errors})


async def delete(request: web.Request) -> web.Response:
    """Answers once its files are gone; 409 while it is pending or in use."""
    require_key(request)
    checkpoint_id = request.match_info["checkpoint_id"]
    await request.app[FLEET].checkpoints.delete(checkpoint_id)
    return web.json_response({"id": checkpoint_id, "state": "DELETED"})


async def delete_of_sandbox(request: web.Request) -> web.Response:
    """Deletes what can be deleted of a sandbox's checkpoints, and says what cannot."""
    require_key(request)
    fleet = request.app[FLEET]
    deleted: list[JsonValue] = []
    errors: list[JsonValue] = []
    for one in fleet.checkpoints.of(request.match_info["sandbox_id"]):
        try:
            await fleet.checkpoints.delete(one.id)
            deleted.append(one.id)
        except UnknownCheckpointError as error:
            errors.append(_problem(one.id, "NOT_FOUND", error))
        except CheckpointConflictError as error:
            errors.append(_problem(one.id, "CONFLICT", error))
    return web.json_response({"deleted": deleted, "errors": errors})


def _problem(checkpoint_id: str, code: str, error: Exception) -> dict[str, JsonValue]:
    return {"checkpoint_id": checkpoint_id, "code": code, "message": str(error)}


ROUTES: Final = (
    web.post("/api/v1/sandbox/checkpoints:batchGet", get_many),
    web.get("/api/v1/sandbox/checkpoints/{checkpoint_id}", get),
    web.delete("/api/v1/sandbox/checkpoints/{checkpoint_id}", delete),
    web.post("/api/v1/sandbox/{sandbox_id}/checkpoints", make),
    web.get("/api/v1/sandbox/{sandbox_id}/checkpoints", list_of_sandbox),
    web.delete("/api/v1/sandbox/{sandbox_id}/checkpoints", delete_of_sandbox),
)
