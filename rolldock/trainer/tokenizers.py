"""A tokenizer's directory, read into what endpoints of mode `tokens` store, and its renderer.

How conversations are rendered is `rolldock/gateway/rendering.py`'s business.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import orjson
from pydantic import JsonValue

from rolldock.errors import UsageError
from rolldock.gateway.rendering import Rendering, is_published, load_rendering, renderer_for
from rolldock.models.base import JsonObject
from rolldock.models.tokenizer import TokenizerFiles

TOKENIZER: Final = "tokenizer.json"
CONFIG: Final = "tokenizer_config.json"
SPECIAL_TOKENS: Final = "special_tokens_map.json"
TEMPLATE: Final = "chat_template.jinja"

_TEMPLATE_KEY: Final = "chat_template"
_DEFAULT_TEMPLATE: Final = "default"


@dataclass(frozen=True, slots=True)
class ChosenTokenizer:
    """A tokenizer that a renderer can use."""

    blob: bytes
    renderer: str
    rendering: Rendering


async def choose_tokenizer(directory: Path, renderer: str | None, model: str) -> ChosenTokenizer:
    """The tokenizer of an endpoint of mode `tokens`, tried out.

    Args:
        renderer: None: the one of the published model `model`.

    Raises:
        UsageError: a file is missing, no such renderer, or it cannot use this tokenizer; the extra
            `tokens` is not installed.
    """
    return await asyncio.to_thread(_choose, directory, renderer, model)


def _choose(directory: Path, renderer: str | None, model: str) -> ChosenTokenizer:
    files = read_tokenizer(directory, model if is_published(model) else "")
    name = renderer or renderer_for(model)
    return ChosenTokenizer(files.model_dump_json().encode(), name, load_rendering(files, name))


def read_tokenizer(directory: Path, published_name: str = "") -> TokenizerFiles:
    """The files of a tokenizer, as they are stored.

    Args:
        published_name: the published model that it belongs to, where that is known.

    Raises:
        UsageError: a file is missing or cannot be read; the text names it.
    """
    config = {**_object(directory / SPECIAL_TOKENS, required=False), **_object(directory / CONFIG)}
    inline = _inline_template(config.pop(_TEMPLATE_KEY, None))
    template = directory / TEMPLATE
    return TokenizerFiles(
        name_or_path=published_name,
        tokenizer=_text(directory / TOKENIZER),
        config=config,
        chat_template=_text(template) if template.is_file() else inline,
    )


def _object(path: Path, *, required: bool = True) -> JsonObject:
    if not required and not path.is_file():
        return {}
    try:
        value = cast(JsonValue, orjson.loads(_text(path)))
    except orjson.JSONDecodeError as error:
        raise UsageError(f"tokenizer file {path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"tokenizer file {path}: not a JSON object")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(
            f"tokenizer {path.parent}: no {path.name}: give --tokenizer the model's directory, "
            f"which holds {TOKENIZER} and {CONFIG}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"tokenizer file {path}: {error}") from None


def _inline_template(value: JsonValue) -> str | None:
    """The template that is written in the configuration; of several, the default one."""
    if isinstance(value, str):
        return value
    named = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    for item in named:
        template = item.get("template")
        if item.get("name") == _DEFAULT_TEMPLATE and isinstance(template, str):
            return template
    return None
