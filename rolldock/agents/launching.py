"""What the launches of several agents have in common: their key, their home, their configuration.

Bash lines and plain data; it knows no agent.
"""

from typing import Any, Final, cast

from rolldock.models.base import JsonObject

HELD_SECONDS: Final = 3400.0
"""Longer than any one model call of the gateway: no call ever becomes a stream of comments."""
SLACK_SECONDS: Final = 120.0
"""What a client's timeouts have over the hold."""
TAIL_BYTES: Final = 8192
"""Of an agent's logs on its stderr when it has failed: one line of them may be megabytes."""


def keep_key(variable: str, path: str) -> str:
    """A bash line that moves a key from the environment to a file of mode 0600.

    The commands that the model runs would inherit it. The file's directory must be there.
    """
    return f'(umask 077; printf %s "${variable}" > {path}) || exit 1; unset {variable}'


def writable_home(run: str) -> str:
    """A bash line that gives an agent another home below `run` where its own cannot be written."""
    return (
        '[ -w "${HOME:-/nonexistent}" ] || '
        f'{{ export HOME={run}/home; mkdir -p "$HOME" || exit 1; }}'
    )


def merge(base: JsonObject, over: JsonObject) -> JsonObject:
    """Objects are merged key by key; any other value replaces what was there."""
    merged: dict[str, Any] = dict(base)
    for key, value in over.items():
        current = merged.get(key)
        if isinstance(value, dict) and isinstance(current, dict):
            merged[key] = merge(cast(JsonObject, current), value)
        else:
            merged[key] = value
    return merged
