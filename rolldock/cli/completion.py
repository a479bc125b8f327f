"""What the shell may offer after an option: names out of the cache of the index, and nothing else.

It asks no server and loads neither contracts nor settings, which take longer than a person waits
for a key; so it reads the few variables that it needs as `rolldock/settings.py` would. It offers
nothing where there is nothing to offer, and never says why.
"""

import os
from pathlib import Path
from typing import Final

_MOST: Final = 200
"""Names offered at once: more than a screen holds."""


def rollouts(incomplete: str) -> list[str]:
    """Ids of ended rollouts, the newest first."""
    return _names("rollout", incomplete, "ended_at DESC")


def experiments(incomplete: str) -> list[str]:
    """Experiments."""
    return _names("experiment", incomplete)


def groups(incomplete: str) -> list[str]:
    """Groups."""
    return _names("group", incomplete)


def tasks(incomplete: str) -> list[str]:
    """Names of tasks."""
    return _names("task", incomplete)


def agents(incomplete: str) -> list[str]:
    """Names of agents."""
    return _names("agent", incomplete)


def endpoints(incomplete: str) -> list[str]:
    """Names of endpoints."""
    return _names("endpoint", incomplete)


def _names(column: str, incomplete: str, order: str = "1") -> list[str]:
    import sqlite3

    path = _cache()
    if not path.is_file():
        return []
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)
    except sqlite3.Error:
        return []
    try:
        rows = connection.execute(
            f'SELECT "{column}" FROM entries WHERE substr("{column}", 1, ?) = ? '
            f'GROUP BY "{column}" ORDER BY {order} LIMIT ?',
            (len(incomplete), incomplete, _MOST),
        ).fetchall()
    except sqlite3.Error:
        return []
    finally:
        connection.close()
    return [str(name) for (name,) in rows]


def _cache() -> Path:
    from rolldock.index.place import cache_file

    home = Path(os.environ.get("ROLLDOCK_HOME", ".rolldock")).absolute()
    variables = _stack(home) | os.environ
    directory = Path(variables.get("ROLLDOCK_CACHE", home / "cache"))
    where = variables.get("ROLLDOCK_STORE", str(home / "store"))
    return cache_file(directory, where if "://" in where else str(Path(where).absolute()))


def _stack(home: Path) -> dict[str, str]:
    """The variables that `rolldock up` has written there."""
    try:
        lines = (home / "stack.env").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines)
    return {name: value.strip("'\"") for name, _, value in pairs}
