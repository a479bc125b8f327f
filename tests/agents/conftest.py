"""A scripted model server for agents that run as real processes."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from rolldock.scripted.script import Script, load_scripts
from rolldock.scripted.server import serve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scripts() -> dict[str, Script]:
    """The examples' conversations and those that a misbehaving model has."""
    misbehaving: dict[str, Any] = {
        "match": "misbehave",
        "turns": [
            {"calls": [{"name": "write", "arguments": {}}, {"name": "bash", "arguments": {}}]},
            {"run": "echo started; sleep 600 & sleep 600"},
            {"run": "head -c 100000 /dev/zero | tr '\\0' x; echo end; exit 3"},
            {"run": "env | grep -c ROLLDOCK_API_KEY"},
            {"say": "Enough."},
        ],
    }
    examples = load_scripts(ROOT / "examples" / "scripts")
    return {**examples, "misbehaving": Script.model_validate(misbehaving)}


@pytest.fixture
async def address(scripts: dict[str, Script]) -> AsyncGenerator[str, None]:
    """Of a server that demands the key `k`."""
    async with serve(scripts, api_key="k") as address:
        yield address
