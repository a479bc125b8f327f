"""One document for each rollout, in the formats that are one: ATIF, chat JSONL, a web page."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

import orjson

from rolldock.exports.atif import atif
from rolldock.exports.jsonl import jsonl
from rolldock.exports.material import read_material
from rolldock.store.store import Store
from rolldock.view.export import export_html


class Format(StrEnum):
    """What `rolldock export --format` knows."""

    ATIF = "atif"
    HARBOR = "harbor"
    JSONL = "jsonl"
    HTML = "html"


SUFFIXES: Final = {Format.ATIF: ".json", Format.JSONL: ".jsonl", Format.HTML: ".html"}
"""Of a rollout's file in a directory."""


async def document(store: Store, rollout: str, kind: Format) -> bytes:
    """A rollout's document; empty where the format has none for a rollout without a turn.

    Raises:
        UsageError: the rollout has no result in this store.
        UnavailableError: the store does not answer.
    """
    return await _MAKERS[kind](store, rollout)


async def _atif(store: Store, rollout: str) -> bytes:
    material = await read_material(store, rollout, earlier=False)
    made = atif(material, material.attempts[-1]) if material.attempts else None
    return b"" if made is None else orjson.dumps(made) + b"\n"


async def _jsonl(store: Store, rollout: str) -> bytes:
    return jsonl(await read_material(store, rollout, earlier=False))


async def _html(store: Store, rollout: str) -> bytes:
    return (await export_html(store, rollout)).encode()


_MAKERS: Final[dict[Format, Callable[[Store, str], Awaitable[bytes]]]] = {
    Format.ATIF: _atif,
    Format.JSONL: _jsonl,
    Format.HTML: _html,
}
