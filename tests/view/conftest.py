"""The pages over a filled store, served on a port of the system's choice, and a browser."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from rolldock.index.cache import IndexCache
from rolldock.store.store import Store
from rolldock.view.library import Library
from rolldock.view.live import LiveSource, Nobody
from rolldock.view.pages import Pages
from rolldock.view.server import serving
from tests.browser import chromium
from tests.view.shelf import Shelf, fill

TEMPORAL_UI = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Site:
    """The pages of one store."""

    address: str
    shelf: Shelf

    def at(self, path: str) -> str:
        """The whole address of a page."""
        return self.address + path.removeprefix("/")

    def client(self) -> httpx.AsyncClient:
        """A client without a browser's manners."""
        return httpx.AsyncClient(base_url=self.address)


@asynccontextmanager
async def served(
    store: Store, home: Path, live: LiveSource | None = None
) -> AsyncGenerator[str, None]:
    """Serve a store's pages; yields their address."""
    with closing(IndexCache.open(store, home / "index.sqlite")) as index:
        pages = Pages(Library(store), index, live or Nobody(), TEMPORAL_UI, "default")
        async with serving(pages, "127.0.0.1", 0) as address:
            yield address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """The filled store."""
    return await fill(Store.open(str(tmp_path_factory.mktemp("view") / "store")))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(
    shelf: Shelf, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Site, None]:
    """Its pages."""
    async with served(shelf.store, tmp_path_factory.mktemp("view-home")) as address:
        yield Site(address, shelf)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncGenerator[Browser, None]:
    """A Chromium without a window."""
    async with chromium() as opened:
        yield opened
