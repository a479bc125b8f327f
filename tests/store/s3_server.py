"""A stand-in for S3, as far as object stores are used: conditional puts, parts, lists by pages.

It checks no signatures, knows one bucket, keeps everything in memory, and injects faults on request
(`FaultClient(server.origin)`). Names and answers are those of the S3 API reference: PutObject,
GetObject, ListObjectsV2, DeleteObjects, CreateMultipartUpload.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, Self
from xml.etree import ElementTree

from aiohttp import web

from rolldock.faults.admin import install

BUCKET: Final = "bucket"
PAGE: Final = 7
"""Keys of a page; S3's 1,000 would need a thousand objects for a second one."""


@dataclass(frozen=True)
class _Object:
    content: bytes
    written_at: datetime

    @property
    def headers(self) -> dict[str, str]:
        written = format_datetime(self.written_at, usegmt=True)
        return {"ETag": _etag(self.content), "Last-Modified": written}


class S3Server:
    """One bucket."""

    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        self.origin = ""
        self._uploads: dict[str, dict[int, bytes]] = {}
        app = web.Application(client_max_size=2**30)
        install(app)
        for method, handler in (
            ("PUT", self._put),
            ("POST", self._post),
            ("DELETE", self._abort),
        ):
            app.router.add_route(method, f"/{BUCKET}/{{key:.+}}", handler)
        app.router.add_get(f"/{BUCKET}", self._list)
        app.router.add_post(f"/{BUCKET}", self._delete_objects)
        app.router.add_get(f"/{BUCKET}/{{key:.+}}", self._get)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.origin = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it as `s3://bucket/...`."""
        return {
            "AWS_ENDPOINT_URL": self.origin,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "checks it",
        }

    async def _put(self, request: web.Request) -> web.Response:
        key, content = request.match_info["key"], await request.read()
        if (upload := request.query.get("uploadId")) is not None:
            self._uploads[upload][int(request.query["partNumber"])] = content
            return web.Response(headers={"ETag": _etag(content)})
        return self._write(key, content, request.headers)

    async def _post(self, request: web.Request) -> web.Response:
        key, upload = request.match_info["key"], request.query.get("uploadId")
        if upload is None:
            upload = str(uuid.uuid4())
            self._uploads[upload] = {}
            names = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
            return _xml("InitiateMultipartUploadResult", names)
        parts = self._uploads.pop(upload)
        content = b"".join(parts[number] for number in sorted(parts))
        written = self._write(key, content, request.headers)
        if written.status != 200:
            return written
        names = {"Bucket": BUCKET, "Key": key, "ETag": written.headers["ETag"]}
        return _xml("CompleteMultipartUploadResult", names)

    def _write(self, key: str, content: bytes, headers: Mapping[str, str]) -> web.Response:
        if headers.get("If-None-Match") == "*" and key in self.objects:
            return _xml("Error", {"Code": "PreconditionFailed"}, 412)
        # S3's times are whole seconds.
        self.objects[key] = _Object(content, datetime.now(UTC).replace(microsecond=0))
        return web.Response(headers={"ETag": _etag(content)})

    async def _get(self, request: web.Request) -> web.Response:
        found = self.objects.get(request.match_info["key"])
        if found is None:
            return _xml("Error", {"Code": "NoSuchKey"}, 404)
        asked = request.http_range
        if asked.start is None:
            return web.Response(body=found.content, headers=found.headers)
        part = found.content[asked]
        span = f"bytes {asked.start}-{asked.start + len(part) - 1}/{len(found.content)}"
        return web.Response(status=206, body=part, headers={**found.headers, "Content-Range": span})

    async def _abort(self, request: web.Request) -> web.Response:
        del self._uploads[request.query["uploadId"]]
        return web.Response(status=204)

    async def _delete_objects(self, request: web.Request) -> web.Response:
        result = ElementTree.Element("DeleteResult")
        for asked in ElementTree.fromstring(await request.text()).iter():
            if asked.tag.rpartition("}")[2] == "Key":
                # S3 calls deleted what was never there.
                self.objects.pop(asked.text or "", None)
                _add(ElementTree.SubElement(result, "Deleted"), {"Key": asked.text or ""})
        return _answer(result, 200)

    async def _list(self, request: web.Request) -> web.Response:
        prefix, token = request.query.get("prefix", ""), request.query.get("continuation-token")
        after = request.query.get("start-after", "") if token is None else token
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        result = ElementTree.Element("ListBucketResult")
        more = len(keys) > PAGE
        _add(result, {"IsTruncated": str(more).lower()})
        if more:
            _add(result, {"NextContinuationToken": keys[PAGE - 1]})
        for key in keys[:PAGE]:
            found = self.objects[key]
            fields = {
                "Key": key,
                "LastModified": f"{found.written_at:%Y-%m-%dT%H:%M:%S.000Z}",
                "ETag": _etag(found.content),
                "Size": str(len(found.content)),
            }
            _add(ElementTree.SubElement(result, "Contents"), fields)
        return _answer(result, 200)


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _xml(name: str, fields: dict[str, str], status: int = 200) -> web.Response:
    root = ElementTree.Element(name)
    _add(root, fields)
    return _answer(root, status)


def _add(element: ElementTree.Element, fields: dict[str, str]) -> None:
    for name, value in fields.items():
        ElementTree.SubElement(element, name).text = value


def _answer(root: ElementTree.Element, status: int) -> web.Response:
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return web.Response(status=status, body=body, content_type="application/xml")
