"""Templates to HTML: everything that is not markup of ours is escaped, without an exception."""

import json
from base64 import b64encode
from functools import cache, partial
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rolldock.view import places, text, words
from rolldock.view.library import recorded_by

ASSETS: Final = {
    "view.css": "text/css",
    "view.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""The only files that are served, by the only names that are known."""


@cache
def asset(name: str) -> str:
    """A file of ours; `name` is one of `ASSETS`."""
    if name not in ASSETS:
        raise KeyError(name)
    return files("rolldock.view").joinpath("static", name).read_text(encoding="utf-8")


def render(template: str, **values: object) -> str:
    """A page."""
    return _environment().get_template(template).render(**values)


def style_for_a_file() -> tuple[Markup, str]:
    """The style sheet as it stands in a page of its own, and its source for a content policy."""
    style = asset("view.css")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return Markup(style), f"'sha256-{digest}'"  # our own file, not a text of others


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("rolldock.view"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = dict(
        visible=text.visible,
        written_out=text.written_out,
        excerpt=text.excerpt,
        number=words.number,
        count=words.count,
        seconds=words.seconds,
        size=words.size,
        moment=words.moment,
        plainly=words.plainly,
        recorded_by=recorded_by,
        quoted=partial(json.dumps, ensure_ascii=False),
    )
    made.filters.update(filters)
    names: dict[str, Any] = {"places": places, "words": words}
    made.globals.update(names)
    return made
