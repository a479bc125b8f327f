"""Upload, download and read-file. Every byte is moved by a process inside the sandbox."""

import errno
import json
import os
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import BodyPartReader, web
from pydantic import BaseModel, Field

from rolldock.sandboxd.access import GATEWAY_PREFIX
from rolldock.sandboxd.admission import RequestRefusedError
from rolldock.sandboxd.entrance import EntryRefusedError
from rolldock.sandboxd.keys import addressed_sandbox
from rolldock.sandboxd.live import Operation
from rolldock.sandboxd.pipes import write_all

READ_LIMIT_BYTES: Final = 16 << 20
"""The most that read-file returns at once; the SDK asks for job output in pieces of 10 MiB."""
_CHUNK_BYTES: Final = 1 << 18


class ReadQuery(BaseModel):
    """Query of read-file; a negative offset counts from the end."""

    path: str
    offset: int | None = None
    length: int | None = Field(default=None, ge=0)


def _path(request: web.Request) -> str:
    path = request.query.get("path", "")
    if not path or "\0" in path:
        raise RequestRefusedError("the query needs a `path`")
    return path


async def _file_part(request: web.Request) -> BodyPartReader:
    if not request.content_type.startswith("multipart/"):
        raise RequestRefusedError("an upload is multipart, with a field `file`")
    parts = await request.multipart()
    async for part in parts:
        if isinstance(part, BodyPartReader) and part.name == "file":
            return part
    raise RequestRefusedError("the upload has no field `file`")


async def _reply(operation: Operation) -> tuple[dict[str, Any], bytes]:
    line, rest = await operation.header()
    return json.loads(line), rest


async def upload(request: web.Request) -> web.Response:
    """Write a file, making its parent directories."""
    sandbox = addressed_sandbox(request)
    path = _path(request)
    part = await _file_part(request)
    if sandbox.disk_full:
        raise EntryRefusedError("failed", f"{path}: {os.strerror(errno.ENOSPC)}")
    async with sandbox.operate({"operation": "write_file", "path": path}) as operation:
        try:
            while chunk := await part.read_chunk(_CHUNK_BYTES):
                await write_all(operation.input, chunk)
        except BrokenPipeError:
            # The operation stopped reading; its reply says why.
            pass
        operation.close_input()
        reply, _ = await _reply(operation)
    now = datetime.now(UTC).isoformat()
    return web.json_response(
        {"success": True, "path": path, "size": reply["size"], "timestamp": now}
    )


async def download(request: web.Request) -> web.StreamResponse:
    """Stream a whole file."""
    sandbox = addressed_sandbox(request)
    async with sandbox.operate({"operation": "download", "path": _path(request)}) as operation:
        reply, data = await _reply(operation)
        response = web.StreamResponse()
        response.content_type = "application/octet-stream"
        response.content_length = reply["size"]
        await response.prepare(request)
        while data or (data := await operation.output.read()):
            await response.write(data)
            data = b""
        await response.write_eof()
    return response


async def read_file(request: web.Request) -> web.Response:
    """A window of a file as text; what is not UTF-8 is replaced."""
    sandbox = addressed_sandbox(request)
    query = ReadQuery.model_validate(dict(request.query))
    window = {"offset": query.offset or 0, "length": query.length, "limit": READ_LIMIT_BYTES}
    asked = {"operation": "read_window", "path": _path(request), **window}
    async with sandbox.operate(asked) as operation:
        reply, rest = await _reply(operation)
        content = await operation.content(rest)
    end = reply["offset"] + len(content)
    return web.json_response(
        {
            "content": content.decode(errors="replace"),
            "size": len(content),
            "total_size": reply["total"],
            "offset": reply["offset"],
            "truncated": reply["offset"] > 0 or end < reply["total"],
        }
    )


_BASE: Final = f"{GATEWAY_PREFIX}/{{namespace}}/{{sandbox_id}}"
ROUTES: Final = (
    web.post(f"{_BASE}/upload", upload),
    web.get(f"{_BASE}/download", download),
    web.get(f"{_BASE}/read-file", read_file),
)
