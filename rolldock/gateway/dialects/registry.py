"""The wire formats that this gateway speaks, by name, by path and by header."""

from collections.abc import Mapping
from typing import Final

from rolldock.gateway.dialects.anthropic_messages import AnthropicMessages
from rolldock.gateway.dialects.anthropic_native import AnthropicNative
from rolldock.gateway.dialects.base import Dialect
from rolldock.gateway.dialects.base_native import NativeDialect
from rolldock.gateway.dialects.openai_chat import OpenAIChat
from rolldock.gateway.dialects.openai_responses import OpenAIResponses
from rolldock.gateway.dialects.openai_responses_native import OpenAIResponsesNative

DIALECTS: Final[tuple[Dialect, ...]] = (OpenAIChat(), AnthropicMessages(), OpenAIResponses())

NATIVE: Final[tuple[NativeDialect, ...]] = (AnthropicNative(), OpenAIResponsesNative())
"""The same formats where the model server speaks them itself; which of the two a session's calls
have, its endpoint decides."""

BY_PATH: Final = {path: dialect for dialect in DIALECTS for path in dialect.paths}

BY_COUNT_PATH: Final = {path: dialect for dialect in DIALECTS for path in dialect.count_paths}

_BY_NAME: Final = {dialect.name: dialect for dialect in (*DIALECTS, *NATIVE)}

_NATIVE_OF: Final = {dialect.format: dialect for dialect in NATIVE}

_DEFAULT: Final = DIALECTS[0]
"""Whose errors are shown where neither path nor headers belong to a format."""


def dialect_of(path: str, headers: Mapping[str, str]) -> Dialect:
    """The format in which a request is answered, be it with an error."""
    found = BY_PATH.get(path) or BY_COUNT_PATH.get(path)
    if found is not None:
        return found
    named = (dialect for dialect in DIALECTS if dialect.header and dialect.header in headers)
    return next(named, _DEFAULT)


def native_of(dialect: Dialect) -> NativeDialect | None:
    """The same format for a model server that speaks it; None: it is what all of them speak."""
    return _NATIVE_OF.get(dialect.name)


def dialect_named(name: str) -> Dialect:
    """The dialect that a turn was recorded in.

    Raises:
        KeyError: this version knows no such format.
    """
    return _BY_NAME[name]
