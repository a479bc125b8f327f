"""Text of agents, models and servers on a person's terminal: shown, never obeyed."""

import re
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Terminal escapes, and what turns the direction of writing; tab and newline stay."""


def plain(text: str) -> str:
    """The text with every control character written out, as in `\\x1b`."""
    return _CONTROL.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
