"""Opening what is played: once for all who ask at the same time, and nothing stays of a failure."""

import asyncio
import gc
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from rolldock.errors import UnavailableError
from rolldock.gateway.calls import CallTools
from rolldock.gateway.endpoints import Endpoints
from rolldock.gateway.engines.registry import Engines
from rolldock.gateway.process import Process
from rolldock.gateway.refusals import RefusedError
from rolldock.gateway.replaying.recording import Recordings
from rolldock.gateway.sessions import Sessions
from rolldock.gateway.tasks import Tasks
from rolldock.gateway.upstream import Upstream
from rolldock.store import keys
from rolldock.store.directory import Directory
from rolldock.store.store import Store
from tests.eventually import eventually
from tests.gateway.conftest import SECRET, World
from tests.gateway.replaying.plays import replay, talk

N_FORKS = 8


class Troubled(Directory):
    """A directory that counts what is read of it, and whose first read may go wrong."""

    def __init__(self, root: Path, trouble: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(root)
        self.read: list[str] = []
        self._trouble = trouble

    async def get(self, name: str) -> bytes | None:
        """As the directory's."""
        self.read.append(name)
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            await trouble()
        else:
            # As over a network: others have their turn meanwhile.
            await asyncio.sleep(0)
        return await super().get(name)


async def fail() -> None:
    """The disk is gone."""
    raise OSError("no such device")


async def hang() -> None:
    """The disk never answers."""
    await asyncio.Event().wait()


@pytest.fixture
async def recorded(world: World, http: aiohttp.ClientSession) -> str:
    """A sealed attempt of two turns."""
    attempt = await world.open()
    await talk(http, world, attempt, ["hi", "on"])
    await world.trace(attempt)
    return attempt


async def test_forks_that_begin_at_once_read_it_once(recorded: str, store_path: Path) -> None:
    """Eight sessions of one origin share one recording, which was read for the first of them."""
    backend, recordings = Troubled(store_path), Recordings()
    store = Store(backend, "here")
    asked = [recordings.get(store, recorded) for _ in range(N_FORKS)]
    found = await asyncio.gather(*asked)
    assert all(one is found[0] for one in found)
    assert backend.read.count(keys.trace(recorded)) == 1


@pytest.mark.parametrize("trouble", [fail, hang])
async def test_trouble_is_not_shared(
    recorded: str, store_path: Path, trouble: Callable[[], Awaitable[None]]
) -> None:
    """Whoever met the store's failure, or was cancelled, is alone: the others read for
    themselves, once."""
    backend, recordings = Troubled(store_path, trouble), Recordings()
    store = Store(backend, "here")
    first, *others = [asyncio.create_task(recordings.get(store, recorded)) for _ in range(N_FORKS)]
    await eventually(lambda: bool(backend.read), "the first is reading")
    first.cancel()
    with pytest.raises((UnavailableError, asyncio.CancelledError)):
        await first
    found = await asyncio.gather(*others)
    assert all(one is found[0] for one in found)
    # What is read first: by the one in trouble, and by one other for them all.
    assert backend.read.count(backend.read[0]) == 2
    assert backend.read.count(keys.trace(recorded)) == 1


@pytest.fixture
async def sessions(store_path: Path) -> AsyncIterator[Sessions]:
    """The sessions of a gateway process in this one."""
    store = Store.open(str(store_path))
    async with aiohttp.ClientSession() as http:
        upstream = Upstream(http, 10, 10)
        tools = CallTools(store, Endpoints(store, SECRET, 0.1), upstream, Engines(store))
        yield Sessions(Process(str(uuid.uuid4()), tools, Tasks(), 0.1))


def n_locks() -> int:
    """The locks that somebody still knows."""
    gc.collect()
    # Not isinstance: it asks an object for its class, which a proxy left by Temporal's
    # workflow sandbox refuses.
    return sum(type(one) is asyncio.Lock for one in gc.get_objects())


async def test_sessions_that_never_open_leave_nothing(world: World, sessions: Sessions) -> None:
    """However often and by how many at once a session is asked for that cannot be opened."""

    async def refuse(n_sessions: int) -> None:
        for _ in range(n_sessions):
            attempt = await replay(world, "no-such-attempt")
            asked = [sessions.get(attempt) for _ in range(3)]
            refused = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(error, RefusedError) for error in refused)

    # The newest errors are still known, and with them the locks of their frames.
    await refuse(2)
    before = n_locks()
    await refuse(10)
    assert n_locks() <= before
