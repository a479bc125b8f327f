"""A store and the caches of its index."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from rolldock.index.cache import IndexCache
from rolldock.store.store import Store

OpenCache = Callable[[], IndexCache]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in a directory, empty."""
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the cache is."""
    return tmp_path / "cache" / "index.sqlite"


@pytest.fixture
def open_cache(store: Store, path: Path) -> Iterator[OpenCache]:
    """Opens the cache once more; all are closed in the end."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(IndexCache.open(store, path)))
