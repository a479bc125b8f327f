"""A sandbox provider that speaks the real protocol, and can be told to be late or unwell.

It keeps sandboxes in a dictionary. Commands and files are this machine's: what tests run here is
ours, and knows its own paths.
"""

import asyncio
import itertools
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from anyio import Path as AsyncPath
from prime_sandboxes.rpc_command_session import COMMAND_SESSION_START_RPC_METHOD

from rolldock.sandbox.client import Sandboxes, SandboxRequest
from rolldock.sandbox.labels import Ownership
from tests.rollouts import host_sandbox

ATTEMPT = "11111111-2222-4333-8444-555555555555"
OWNER = Ownership(deployment="d", rollout="exp/1/t/0", run="r", attempt=ATTEMPT)

_ENVELOPE = struct.Struct(">BI")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Provider:
    """The provider's state, and what a test wants of its answers."""

    def __init__(self) -> None:
        self.sandboxes: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        """`METHOD /path` of each, in the order in which they came."""
        self.instead: dict[str, Answer] = {}
        """By `METHOD /path`: another answer than the usual one."""
        self.held: dict[str, asyncio.Event] = {}
        """By `METHOD /path`: the answer, with the work done, waits for the event."""
        self.reached = asyncio.Event()
        """A held request has been carried out."""
        self.status = "RUNNING"
        """Of new sandboxes."""
        self.ignores_labels = False
        self.checkpoints: dict[str, dict[str, Any]] = {}
        self.checkpoint_state = "DURABLE"
        """Of new checkpoints."""
        self.jobs: dict[str, int | str | None] = {}
        """Job id -> exit code, None while it runs, or the error's message."""
        self.url = ""
        self._numbers = itertools.count(1)

    def add(self, owner: Ownership, labels: list[str]) -> str:
        """A sandbox that somebody made."""
        return self.make({"name": str(owner.attempt), "labels": labels})["id"]

    def make(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The sandbox of an idempotency key: the one that is there, or a new one."""
        key = asked.get("idempotency_key")
        for known in self.sandboxes.values():
            if key is not None and known["key"] == key and known["status"] != "TERMINATED":
                return known
        now = datetime.now(UTC).isoformat()
        made: dict[str, Any] = {
            "id": f"sbx{next(self._numbers)}",
            "key": key,
            "name": asked["name"],
            "labels": asked["labels"],
            "status": self.status,
            "dockerImage": "host",
            "cpuCores": 1,
            "memoryGB": 1,
            "diskSizeGB": 1,
            "diskMountPath": "/",
            "gpuCount": 0,
            "timeoutMinutes": 60,
            "createdAt": now,
            "updatedAt": now,
        }
        self.sandboxes[made["id"]] = made
        return made

    def alive(self) -> list[str]:
        """The ids of those that live."""
        return [id for id, one in self.sandboxes.items() if one["status"] != "TERMINATED"]

    @web.middleware
    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer as the test wants, else as a provider does."""
        place = f"{request.method} {request.path}"
        self.requests.append(place)
        instead = self.instead.get(place)
        response = await (handler(request) if instead is None else instead(request))
        if place in self.held:
            self.reached.set()
            await self.held[place].wait()
        return response

    async def create(self, request: web.Request) -> web.StreamResponse:
        """POST /api/v1/sandbox."""
        return web.json_response(self.make(await request.json()))

    async def list(self, request: web.Request) -> web.StreamResponse:
        """GET /api/v1/sandbox: by labels, all of which a sandbox must carry."""
        asked: list[str] = request.query.getall("labels", [])
        wanted = set[str]() if self.ignores_labels else set(asked)
        found = [self.sandboxes[id] for id in self.alive()]
        found = [one for one in found if wanted <= set(one["labels"])]
        page, size = int(request.query["page"]), int(request.query["per_page"])
        shown = found[(page - 1) * size : page * size]
        has_next = page * size < len(found)
        return web.json_response(
            {
                "sandboxes": shown,
                "total": len(found),
                "page": page,
                "perPage": size,
                "hasNext": has_next,
            }
        )

    async def get(self, request: web.Request) -> web.StreamResponse:
        """GET /api/v1/sandbox/{id}."""
        return web.json_response(self._known(request))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """DELETE /api/v1/sandbox/{id}."""
        self._known(request)["status"] = "TERMINATED"
        return web.json_response({})

    async def error_context(self, request: web.Request) -> web.StreamResponse:
        """GET /api/v1/sandbox/{id}/error-context."""
        return web.json_response({"status": self._known(request)["status"]})

    async def auth(self, request: web.Request) -> web.StreamResponse:
        """POST /api/v1/sandbox/{id}/auth."""
        known = self._known(request)
        return web.json_response(
            {
                "gateway_url": self.url,
                "user_ns": "ns",
                "job_id": known["id"],
                "token": "t",
                "expires_at": "2099-01-01T00:00:00Z",
            }
        )

    async def statuses(self, request: web.Request) -> web.StreamResponse:
        """POST /api/v1/sandbox/status:batchGet."""
        ids = (await request.json())["sandbox_ids"]
        known = [self.sandboxes[id] for id in ids]
        return web.json_response(
            {
                "statuses": [{"sandbox_id": one["id"], "status": one["status"]} for one in known],
                "errors": [],
            }
        )

    async def make_checkpoint(self, request: web.Request) -> web.StreamResponse:
        """POST /api/v1/sandbox/{id}/checkpoints."""
        now = datetime.now(UTC).isoformat()
        made: dict[str, Any] = {
            "id": f"chk{next(self._numbers)}",
            "sandbox_id": self._known(request)["id"],
            "state": self.checkpoint_state,
            "depth": 0,
            "docker_image": "host",
            "created_at": now,
            "updated_at": now,
        }
        self.checkpoints[made["id"]] = made
        return web.json_response(made)

    async def list_checkpoints(self, request: web.Request) -> web.StreamResponse:
        """GET /api/v1/sandbox/{id}/checkpoints."""
        sandbox_id = self._known(request)["id"]
        found = [one for one in self.checkpoints.values() if one["sandbox_id"] == sandbox_id]
        return web.json_response({"checkpoints": found})

    async def get_checkpoints(self, request: web.Request) -> web.StreamResponse:
        """POST /api/v1/sandbox/checkpoints:batchGet."""
        ids = (await request.json())["checkpoint_ids"]
        found = [self.checkpoints[id] for id in ids]
        return web.json_response({"checkpoints": found, "errors": []})

    async def delete_checkpoint(self, request: web.Request) -> web.StreamResponse:
        """DELETE /api/v1/sandbox/checkpoints/{id}."""
        if self.checkpoints.pop(request.match_info["id"], None) is None:
            raise web.HTTPNotFound(text='{"detail": "no such checkpoint"}')
        return web.json_response({})

    async def job_statuses(self, request: web.Request) -> web.StreamResponse:
        """POST /api/v1/sandbox/background-jobs/status:batchGet."""
        statuses: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for job in (await request.json())["jobs"]:
            state = self.jobs[job["job_id"]]
            if isinstance(state, str):
                errors.append({**job, "code": "RUNTIME_ERROR", "message": state})
            else:
                statuses.append({**job, "completed": state is not None, "exit_code": state})
        return web.json_response({"statuses": statuses, "errors": errors})

    async def command(self, request: web.Request) -> web.StreamResponse:
        """POST /ns/{id}/command_session.CommandSession/Start."""
        asked: Any = COMMAND_SESSION_START_RPC_METHOD.input()
        asked.ParseFromString((await request.read())[_ENVELOPE.size :])
        running = await asyncio.create_subprocess_exec(
            asked.command.cmd,
            *asked.command.args,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await running.communicate()
        events: tuple[dict[str, Any], ...] = (
            {"start": {"pid": running.pid}},
            {"data": {"stdout": stdout}},
            {"data": {"stderr": stderr}},
            {"end": {"exit_code": running.returncode}},
        )
        response = web.StreamResponse(headers={"content-type": "application/connect+proto"})
        await response.prepare(request)
        for event in events:
            packed = COMMAND_SESSION_START_RPC_METHOD.output(event=event).SerializeToString()
            await response.write(_ENVELOPE.pack(0, len(packed)) + packed)
        await response.write(_ENVELOPE.pack(2, 2) + b"{}")
        return response

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """POST /ns/{id}/upload."""
        content = (await request.post())["file"]
        assert isinstance(content, web.FileField)
        path = request.query["path"]
        size = await AsyncPath(path).write_bytes(content.file.read())
        now = datetime.now(UTC).isoformat()
        return web.json_response({"success": True, "path": path, "size": size, "timestamp": now})

    async def download(self, request: web.Request) -> web.StreamResponse:
        """GET /ns/{id}/download."""
        path = AsyncPath(request.query["path"])
        if not await path.exists():
            raise web.HTTPNotFound(text="no such file")
        return web.Response(body=await path.read_bytes())

    def _known(self, request: web.Request) -> dict[str, Any]:
        known = self.sandboxes.get(request.match_info["id"])
        if known is None:
            raise web.HTTPNotFound(text='{"detail": "no such sandbox"}')
        return known


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider on a port that the system chose."""
    provider = Provider()
    app = web.Application(middlewares=[provider.serve])
    app.add_routes(
        [
            web.post("/api/v1/sandbox", provider.create),
            web.get("/api/v1/sandbox", provider.list),
            web.post("/api/v1/sandbox/status:batchGet", provider.statuses),
            web.post("/api/v1/sandbox/background-jobs/status:batchGet", provider.job_statuses),
            web.post("/api/v1/sandbox/checkpoints:batchGet", provider.get_checkpoints),
            web.delete("/api/v1/sandbox/checkpoints/{id}", provider.delete_checkpoint),
            web.post("/api/v1/sandbox/{id}/checkpoints", provider.make_checkpoint),
            web.get("/api/v1/sandbox/{id}/checkpoints", provider.list_checkpoints),
            web.get("/api/v1/sandbox/{id}", provider.get),
            web.delete("/api/v1/sandbox/{id}", provider.delete),
            web.get("/api/v1/sandbox/{id}/error-context", provider.error_context),
            web.post("/api/v1/sandbox/{id}/auth", provider.auth),
            web.post("/ns/{id}/command_session.CommandSession/Start", provider.command),
            web.post("/ns/{id}/upload", provider.upload),
            web.get("/ns/{id}/download", provider.download),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield provider
    for event in provider.held.values():
        event.set()
    await runner.cleanup()


@pytest.fixture
async def sandboxes(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Sandboxes]:
    """The provider's sandboxes through the real SDK, whose cache of access is the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    async with Sandboxes.open(provider.url, "key") as found:
        yield found


@pytest.fixture
def sandbox(provider: Provider) -> str:
    """A running sandbox."""
    return provider.add(OWNER, [])


@pytest.fixture
def sandbox_request() -> SandboxRequest:
    """What the attempt's sandbox is to be."""
    return host_sandbox(OWNER)
