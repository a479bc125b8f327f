"""The body of a call to a model server: known by its length and digest, its bytes made as it goes.

A connection may take seconds and a reply minutes. What a turn is stored from is the parsed body, so
that its bytes need not wait with it; to write JSON twice costs far less than the call.
"""

import asyncio
import hashlib
from typing import Final

import orjson
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from rolldock.gateway.json_bodies import LARGE_BODY_BYTES
from rolldock.models.base import JsonObject

_PIECE_BYTES: Final = 1024 * 1024
"""Longer bodies are written in pieces, so that the event loop goes on meanwhile."""


class Outgoing(Payload):
    """A JSON body on its way.

    Args:
        content: its bytes.
        value: what gives these bytes when it is written again; None: they are kept.
    """

    def __init__(self, content: bytes, value: JsonObject | None) -> None:
        super().__init__(value, content_type="application/json")
        self.kept = content if value is None else None
        self.n_bytes = self._size = len(content)
        self.digest = hashlib.sha256(content).hexdigest()

    def _content(self) -> bytes:
        return orjson.dumps(self._value) if self.kept is None else self.kept

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all of it."""
        content = self._content()
        if len(content) <= _PIECE_BYTES:
            await writer.write(content)
            return
        whole = memoryview(content)
        for start in range(0, len(content), _PIECE_BYTES):
            await writer.write(whole[start : start + _PIECE_BYTES])

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write all of it: no caller of ours asks for a part."""
        await self.write(writer)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Its text."""
        return self._content().decode(encoding, errors)


async def written_by_us(value: JsonObject) -> Outgoing:
    """A body in our own style."""
    return await _outgoing(orjson.dumps(value), value)


async def passed_through(content: bytes) -> Outgoing:
    """A body in the agent's style, which may be none that can be written again."""
    return await _outgoing(content, None)


async def _outgoing(content: bytes, value: JsonObject | None) -> Outgoing:
    if len(content) < LARGE_BODY_BYTES:
        return Outgoing(content, value)
    # The digest of a large one is taken off the event loop.
    return await asyncio.to_thread(Outgoing, content, value)
