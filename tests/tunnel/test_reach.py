"""What a worker makes of the published URL: it is waited for, kept to, and known to be lost."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.models.tunnel import PublishedTunnel
from rolldock.settings import Settings
from rolldock.store.store import Store
from rolldock.tunnel.published import newest, publish
from rolldock.tunnel.reach import Reach

ONE, OTHER = "https://t-1.example", "https://t-2.example"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in a directory."""
    return Store.open(str(tmp_path))


def reach(store: Store, gateway_url: str = "tunnel", wait_seconds: float = 5) -> Reach:
    """What a worker with this setting has."""
    settings = Settings.model_construct(
        gateway_url=gateway_url, tunnel_connect_seconds=wait_seconds
    )
    return Reach(settings, store)


async def published(
    store: Store, url: str | None, check_seconds: float = 1, *, connected: bool = True
) -> PublishedTunnel:
    """Publish as a keeper does."""
    return await publish(
        store, url, tunnel_id="t", keeper="k", check_seconds=check_seconds, connected=connected
    )


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


async def test_versions_are_dense_and_say_something_new(store: Store) -> None:
    """What is published already is not published again; the newest counts."""
    assert await newest(store) is None
    versions = [(await published(store, url)).version for url in (ONE, ONE, None, None, ONE, OTHER)]
    assert versions == [1, 1, 2, 2, 3, 4]
    found = await newest(store)
    assert found is not None
    assert (found.version, found.url) == (4, OTHER)
    assert await newest(store, found) == found


async def test_an_interruption_and_its_end_are_versions(store: Store) -> None:
    """The URL is the same; each is published once."""
    states = (True, False, False, True)
    records = [await published(store, ONE, connected=state) for state in states]
    assert [record.version for record in records] == [1, 2, 2, 3]


async def test_publishers_at_once_take_versions_of_their_own(store: Store) -> None:
    """Ten of them lose nothing."""
    urls = [f"https://t-{n}.example" for n in range(10)]
    records = await asyncio.gather(*(published(store, url) for url in urls))
    assert sorted(record.version for record in records) == list(range(1, 11))


async def test_a_new_attempt_is_given_no_url_that_is_known_to_be_lost(store: Store) -> None:
    """Another worker has seen the loss since this one looked last, a moment ago."""
    behind = reach(store)
    await published(store, ONE)
    assert await behind.tunnel_url() == ONE
    await published(store, None)
    await published(store, OTHER)
    assert await behind.tunnel_url() == OTHER


async def test_a_public_url_or_a_local_one_needs_no_tunnel(store: Store) -> None:
    """Nothing is read, nothing is lost."""
    direct = reach(store, "http://127.0.0.64:41800")
    assert not direct.uses_tunnel
    assert await direct.tunnel_url() is None
    assert direct.base_url(None) == "http://127.0.0.64:41800/v1"
    await direct.check(None)
    await direct.settle(None, now())


async def test_a_url_is_waited_for(store: Store) -> None:
    """An agent that is started between two tunnels gets the second."""
    await published(store, ONE)
    await published(store, None)
    worker = reach(store)
    waiting = asyncio.create_task(worker.tunnel_url())
    await asyncio.sleep(0)
    assert not waiting.done()
    await published(store, OTHER)
    url = await waiting
    assert url == OTHER
    assert worker.base_url(url) == f"{OTHER}/v1"
    await worker.check(url)


async def test_an_interrupted_one_is_waited_for(store: Store) -> None:
    """An agent is not started into an interruption; one that runs is left alone."""
    await published(store, ONE, connected=False)
    worker = reach(store)
    waiting = asyncio.create_task(worker.tunnel_url())
    await worker.check(ONE)
    assert not waiting.done()
    await published(store, ONE)
    assert await waiting == ONE


async def test_without_a_keeper_the_wait_ends(store: Store) -> None:
    """The failure says which command is missing."""
    with pytest.raises(StageError, match="run `rolldock tunnel`") as raised:
        await reach(store, wait_seconds=0.1).tunnel_url()
    assert raised.value.cause is Cause.TUNNEL_LOST
    with pytest.raises(StageError, match=r"within 0\.1 s"):
        await reach(store).tunnel_url(within_seconds=0.1)


@pytest.mark.parametrize("now", [None, OTHER])
async def test_a_lost_url_is_known(store: Store, now: str | None) -> None:
    """Another URL, or none, fails the attempts behind the old one; its own does not."""
    await published(store, ONE)
    await reach(store).check(ONE)
    await published(store, now)
    with pytest.raises(StageError, match=ONE) as raised:
        await reach(store).check(ONE)
    assert raised.value.cause is Cause.TUNNEL_LOST


async def test_a_url_that_another_worker_has_found_is_not_taken_for_lost(store: Store) -> None:
    """This one looked a moment ago, when there was none."""
    behind = reach(store)
    await published(store, ONE)
    await published(store, None)
    with pytest.raises(StageError):
        await behind.check(ONE)
    await published(store, OTHER)
    await behind.check(OTHER)


@pytest.mark.slow
async def test_a_failed_agent_is_believed_after_a_check(store: Store) -> None:
    """A loss that is published while it is waited for explains the failure; none does not."""
    await published(store, ONE, check_seconds=0.1)
    worker, answered_at = reach(store), now()
    await worker.settle(ONE, answered_at)
    settling = asyncio.create_task(worker.settle(ONE, answered_at))
    await asyncio.sleep(0)
    await published(store, None)
    with pytest.raises(StageError):
        await settling


@pytest.mark.parametrize("is_over", [False, True])
async def test_an_agent_that_fails_of_an_interruption_has_lost_its_tunnel(
    store: Store, is_over: bool
) -> None:
    """Nothing shows that its last call could get through, also where the next one could."""
    await published(store, ONE)
    answered_at = now()
    await published(store, ONE, connected=False)
    if is_over:
        await published(store, ONE)
    with pytest.raises(StageError, match="was interrupted") as raised:
        await reach(store).settle(ONE, answered_at)
    assert raised.value.cause is Cause.TUNNEL_LOST


@pytest.mark.slow
async def test_an_agent_that_fails_long_after_an_interruption_is_believed(store: Store) -> None:
    """A call was answered since."""
    for connected in (True, False, True):
        await published(store, ONE, check_seconds=0.1, connected=connected)
    await reach(store).settle(ONE, now() + timedelta(seconds=1))
