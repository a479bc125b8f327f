"""One arena for all chaos tests, and one behind a tunnel."""

import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.arena import Arena, arena
from tests.chaos.tunnelled import tunnelled_arena


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def struck(scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Arena]:
    """A stack to strike at."""
    async with arena(tmp_path_factory.mktemp("chaos"), scripts, _say) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tunnelled(
    scripts: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Arena]:
    """A stack to strike at whose agents work through a tunnel."""
    async with tunnelled_arena(tmp_path_factory.mktemp("tunnelled"), scripts, _say) as running:
        yield running
