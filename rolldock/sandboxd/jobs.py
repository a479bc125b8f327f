"""The status of background jobs, many at once. Who starts them is the SDK's business or ours."""

import asyncio
import json
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, Field, JsonValue

from rolldock.models.base import JsonObject
from rolldock.sandboxd.entrance import EntryRefusedError
from rolldock.sandboxd.fleet import Fleet, UnknownSandboxError
from rolldock.sandboxd.keys import FLEET, require_key
from rolldock.sandboxd.live import SandboxGoneError

_BATCH_LIMIT: Final = 100
_LOOKUP_TIMEOUT_SECONDS: Final = 20


class JobName(BaseModel):
    """One job of one sandbox; its files are at `/tmp/job_{job_id}.*`."""

    sandbox_id: str
    job_id: Annotated[str, Field(pattern="^[0-9A-Fa-f]{8}$")]


class JobBatch(BaseModel):
    """Body of a lookup."""

    jobs: Annotated[tuple[JobName, ...], Field(min_length=1, max_length=_BATCH_LIMIT)]


class _LookupError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def _states(fleet: Fleet, sandbox_id: str, jobs: list[str]) -> dict[str, str]:
    try:
        fleet.record(sandbox_id)
        asked = {"operation": "job_states", "jobs": jobs}
        async with asyncio.timeout(_LOOKUP_TIMEOUT_SECONDS):
            async with fleet.live(sandbox_id).operate(asked) as operation:
                line, _ = await operation.header()
        return json.loads(line)["states"]
    except UnknownSandboxError as error:
        raise _LookupError("NOT_FOUND", str(error)) from error
    except SandboxGoneError as error:
        raise _LookupError("NOT_RUNNING", f"sandbox {sandbox_id} is not running") from error
    except EntryRefusedError as error:
        raise _LookupError("RUNTIME_ERROR", str(error)) from error
    except TimeoutError as error:
        message = f"no answer from the sandbox in {_LOOKUP_TIMEOUT_SECONDS} s"
        raise _LookupError("RUNTIME_ERROR", message) from error


def _snapshot(name: JobName, state: str) -> JsonObject:
    entry: JsonObject = {"sandbox_id": name.sandbox_id, "job_id": name.job_id}
    if state == "running":
        return {**entry, "completed": False, "exit_code": None}
    if state == "lost":
        raise _LookupError("RUNTIME_ERROR", "the job ended without recording an exit code")
    try:
        return {**entry, "completed": True, "exit_code": int(state)}
    except ValueError:
        message = f"the job's exit file holds no number: {state[:40]!r}"
        raise _LookupError("RUNTIME_ERROR", message) from None


async def statuses(request: web.Request) -> web.Response:
    """The state of up to 100 jobs; each that has none is listed with the reason."""
    require_key(request)
    batch = JobBatch.model_validate_json(await request.read())
    by_sandbox: dict[str, list[JobName]] = {}
    for name in batch.jobs:
        by_sandbox.setdefault(name.sandbox_id, []).append(name)
    found: list[JsonValue] = []
    errors: list[JsonValue] = []

    async def look_up(sandbox_id: str, names: list[JobName]) -> None:
        try:
            ids = [name.job_id for name in names]
            states = await _states(request.app[FLEET], sandbox_id, ids)
        except _LookupError as error:
            errors.extend(_error(name, error) for name in names)
            return
        for name in names:
            try:
                found.append(_snapshot(name, states[name.job_id]))
            except _LookupError as error:
                errors.append(_error(name, error))

    async with asyncio.TaskGroup() as group:
        for sandbox_id, names in by_sandbox.items():
            group.create_task(look_up(sandbox_id, names))
    return web.json_response({"statuses": found, "errors": errors})


def _error(name: JobName, error: _LookupError) -> JsonObject:
    entry: JsonObject = {"sandbox_id": name.sandbox_id, "job_id": name.job_id}
    return {**entry, "code": error.code, "message": str(error)}


ROUTES: Final = (web.post("/api/v1/sandbox/background-jobs/status:batchGet", statuses),)
