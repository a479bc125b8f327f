"""The wire formats that this gateway speaks, by name and by path."""

from typing import Final

from rolldock.gateway.dialects.base import Dialect
from rolldock.gateway.dialects.openai_chat import OpenAIChat

DIALECTS: Final[tuple[Dialect, ...]] = (OpenAIChat(),)

DEFAULT: Final = DIALECTS[0]
"""Whose errors are shown where a path belongs to no format."""

BY_PATH: Final = {path: dialect for dialect in DIALECTS for path in dialect.paths}


def dialect_named(name: str) -> Dialect:
    """The dialect that a turn was recorded in.

    Raises:
        KeyError: this version knows no such format.
    """
    return {dialect.name: dialect for dialect in DIALECTS}[name]
