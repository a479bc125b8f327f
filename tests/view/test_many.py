"""A store with 10,000 results: the list is there at once, and loads no result and no trace."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from rolldock.models.result import Status, StopReason
from rolldock.results import index_entry
from rolldock.store import keys
from rolldock.store.directory import Directory
from rolldock.store.store import Store
from tests.view.conftest import served
from tests.view.records import attempt, finish

N_RESULTS = 10_000
WRITES_AT_ONCE = 64
LIST_SECONDS = 1.0
N_ROUNDS = 3
ASKED = (
    "/",
    "/?status=failed&sort=-seconds",
    "/?text=task-7&experiment=grpo-7",
    "/?page=200",
)


class Counting(Directory):
    """A directory that counts what is read of it, by the first part of the name."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: Counter[str] = Counter()

    async def get(self, name: str) -> bytes | None:
        """As any directory does it."""
        self.read[name.split("/")[0]] += 1
        return await super().get(name)


async def fill(store: Store) -> None:
    """Index entries alone: a page that read anything else would find nothing."""
    one = await finish(
        Store.open(f"{store.where}-one"), "a/b", [attempt("0b7f2f0e-0000-4000-8000-0000000000aa")]
    )
    known = index_entry(one)
    # All on one day, and that one today: it is listed anew with every look.
    today = datetime.now(UTC)
    statuses = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)

    async def write(number: int) -> None:
        status = statuses[number % 7 % 3]
        entry = known.model_copy(
            update={
                "rollout": f"grpo-{number % 10}/{number}/task-{number % 50}/0",
                "experiment": f"grpo-{number % 10}",
                "task": f"task-{number % 50}",
                "status": status,
                "stop_reason": StopReason.AGENT_COMPLETED,
                "reward": number % 2 if status is Status.COMPLETED else None,
                "ended_at": today - timedelta(seconds=number % 3600),
            }
        )
        name = keys.index(entry.ended_at, entry.experiment, entry.rollout)
        assert await store.create(name, entry.model_dump_json().encode())

    for start in range(0, N_RESULTS, WRITES_AT_ONCE):
        await asyncio.gather(
            *(write(start + n) for n in range(min(WRITES_AT_ONCE, N_RESULTS - start)))
        )


@pytest.mark.timeout(240)
async def test_ten_thousand_results_are_listed_in_a_second(tmp_path: Path) -> None:
    """The first page, filtered, sorted and the last one, each within a second; only the index is
    ever read, and each entry once."""
    root = tmp_path / "store"
    root.mkdir()
    backend = Counting(root)
    store = Store(backend, str(root))
    await fill(store)
    async with opened(store, tmp_path) as client:
        assert "<strong>10,000</strong> ended" in (await client.get("/")).text
    best = dict.fromkeys(ASKED, float("inf"))
    for _ in range(N_ROUNDS):
        for path in ASKED:
            # A server of its own: its first page looks for what is new in the store.
            async with opened(store, tmp_path) as client:
                began = time.perf_counter()
                assert (await client.get(path)).status_code == 200
                best[path] = min(best[path], time.perf_counter() - began)
    assert max(best.values()) < LIST_SECONDS, best
    assert backend.read == Counter(index=N_RESULTS)


@asynccontextmanager
async def opened(store: Store, home: Path) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of a server over this store."""
    async with (
        served(store, home) as address,
        httpx.AsyncClient(base_url=address, timeout=60) as client,
    ):
        yield client
