"""Text of agents, models and servers on a web page: shown, never obeyed, never endless.

Which text stands where is the templates' business.
"""

import re
from typing import Final, NamedTuple

from markupsafe import Markup, escape

FOLD_CHARACTERS: Final = 4_000
"""A longer text shows its beginning and folds the rest away."""
_FOLD_LINES: Final = 60
MAX_CHARACTERS: Final = 200_000
"""Of one text on a page; what is longer is cut there, with a link to the whole."""

_HIDDEN: Final = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # a terminal's escape sequence, as one
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f"
    r"\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"  # invisible, or turns the direction
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_SPLIT: Final = re.compile(f"({_HIDDEN})")


def written_out(text: str) -> str:
    """The text with everything that cannot be seen written out, as in `\\x1b`; for attributes."""
    return _SPLIT.sub(lambda match: _escapes(match.group()), text.replace("\r\n", "\n"))


def visible(text: object) -> Markup:
    """The same as markup: escaped, and what was written out can be told from the text."""
    parts = _SPLIT.split(str(text).replace("\r\n", "\n"))
    if len(parts) == 1:
        return escape(parts[0])
    marked = (
        Markup('<span class="hidden-character">{}</span>').format(_escapes(part))
        if number % 2
        else escape(part)
        for number, part in enumerate(parts)
    )
    return Markup("").join(marked)


class Excerpt(NamedTuple):
    """A text in the three parts that a page shows: at once, unfolded, not at all."""

    head: str
    rest: str
    n_rest: int
    """Characters of `rest`."""
    n_cut: int
    """Characters that are left out after it."""


def excerpt(text: str, max_characters: int = MAX_CHARACTERS) -> Excerpt:
    """Divide a text; the first part ends with a line where one ends near."""
    n_cut = max(0, len(text) - max_characters)
    text = text[:max_characters]
    end = _fold_at(text)
    return Excerpt(text[:end], text[end:], len(text) - end, n_cut)


def _fold_at(text: str) -> int:
    end = len(text)
    if end > FOLD_CHARACTERS:
        line = text.rfind("\n", 0, FOLD_CHARACTERS)
        end = line + 1 if line > FOLD_CHARACTERS // 2 else FOLD_CHARACTERS
    at = -1
    for _ in range(_FOLD_LINES):
        at = text.find("\n", at + 1, end)
        if at < 0:
            return end
    # A handful of lines more is shown rather than folded.
    return end if text.count("\n", at, end) < _FOLD_LINES // 4 else at + 1


def _escapes(hidden: str) -> str:
    return "".join(_escape(character) for character in hidden)


def _escape(character: str) -> str:
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    if code > 0xFF:
        return f"\\u{code:04x}"
    return f"\\x{code:02x}" if not character.isprintable() else character
