"""One document for each rollout, in the formats that are one: ATIF, chat JSONL, a web page."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import orjson

from rolldock.exports.atif import atif
from rolldock.exports.jsonl import jsonl
from rolldock.exports.material import Lack, Material, read_material
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


async def document(store: Store, rollout: str, kind: Format) -> bytes | Lack:
    """A rollout's document, or why there is none: only a page can do without a conversation.

    Raises:
        UsageError: the rollout has no result in this store.
        UnavailableError: the store does not answer.
    """
    if kind is Format.HTML:
        return (await export_html(store, rollout)).encode()
    material = await read_material(store, rollout, earlier=False)
    return material.lack or _MAKERS[kind](material)


def _atif(material: Material) -> bytes:
    made = atif(material, material.attempts[-1])
    return b"" if made is None else orjson.dumps(made) + b"\n"


_MAKERS: Final[dict[Format, Callable[[Material], bytes]]] = {
    Format.ATIF: _atif,
    Format.JSONL: jsonl,
}
