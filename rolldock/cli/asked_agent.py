"""The agent that a command line asks for: its options from a file and from `--option`."""

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from pydantic import JsonValue, ValidationError

from rolldock.agents.registry import check_options, get_agent
from rolldock.errors import UsageError
from rolldock.models.spec import AgentRef


def asked_agent(
    name: str,
    *,
    version: str | None = None,
    config: Path | None = None,
    options: Iterable[str] = (),
    env: Iterable[str] = (),
) -> AgentRef:
    """The agent, its options checked.

    Args:
        config: a TOML file of options; in its tables, `@path` is the content of a file beside it.
        options: `KEY=VALUE`, the value as JSON or else as text; they win over the file's.
        env: `KEY=VALUE`.

    Raises:
        UsageError: what cannot be used, with its mend.
    """
    agent = get_agent(name)
    asked = {} if config is None else _read(config)
    asked.update((key, _value(text)) for key, text in _pairs(options, "--option"))
    check_options(agent, asked)
    variables = dict(_pairs(env, "--agent-env"))
    try:
        return AgentRef(name=name, version=version, options=asked, env=variables)
    except ValidationError as error:
        raise UsageError(f"agent {name}: {version!r} is no version") from error


def _read(path: Path) -> dict[str, JsonValue]:
    text = _text(path)
    try:
        options = cast(dict[str, JsonValue], tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--agent-config {path} is not TOML: {error}") from error
    for table in [value for value in options.values() if isinstance(value, dict)]:
        for key, value in table.items():
            if isinstance(value, str) and value.startswith("@"):
                table[key] = _text(path.parent / value[1:])
    return options


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"--agent-config: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--agent-config: {path} is not UTF-8: {error}") from error


def _pairs(given: Iterable[str], flag: str) -> Iterable[tuple[str, str]]:
    for pair in given:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise UsageError(f"{flag} {pair}: write it as KEY=VALUE")
        yield name, value


def _value(text: str) -> JsonValue:
    try:
        return cast(JsonValue, json.loads(text))
    except json.JSONDecodeError:
        return text
