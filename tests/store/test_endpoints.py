"""Endpoint records: versions under concurrency, names as they were given, keys encrypted."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rolldock.errors import UsageError
from rolldock.models.endpoint import Endpoint
from rolldock.store import endpoints
from rolldock.store.store import Store

SECRET = b"a secret that signs and encrypts, long enough"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path))


def endpoint(name: str = "qwen", **fields: object) -> Endpoint:
    """An endpoint before it has a version of its own."""
    known: dict[str, object] = {
        "name": name,
        "version": 1,
        "replicas": ("http://127.0.0.1:1/v1",),
        "model": "m",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Endpoint.model_validate(known | fields)


async def test_each_of_many_writers_gets_a_version_of_its_own(store: Store) -> None:
    """16 add at once: versions 1 to 16, none lost, the newest is the last."""
    added = await asyncio.gather(
        *(endpoints.add(store, endpoint(policy_version=str(number))) for number in range(16))
    )
    assert sorted(one.version for one in added) == list(range(1, 17))
    by_version = {one.version: one for one in added}
    assert await endpoints.newest(store, "qwen") == by_version[16]


@pytest.mark.parametrize("known", [0, 1, 2, 3])
async def test_the_newest_version_is_found_from_any_known_one(store: Store, known: int) -> None:
    """Looking upwards, from nothing or from the newest itself."""
    for _ in range(3):
        await endpoints.add(store, endpoint())
    newest = await endpoints.newest(store, "qwen", known)
    assert newest is not None
    assert newest.version == 3


async def test_an_unknown_endpoint_is_none(store: Store) -> None:
    """Also where another name begins like it."""
    await endpoints.add(store, endpoint("qwen-2"))
    assert await endpoints.newest(store, "qwen") is None


async def test_names_come_back_as_they_were_given(store: Store) -> None:
    """A model's name at a hub is the usual endpoint's name; the longest one is cut in the store."""
    names = sorted(["Qwen/Qwen3-4B", "gpt-4o:mini", "plain", "/:@+" * 32])
    for name in names:
        await endpoints.add(store, endpoint(name))
        await endpoints.add(store, endpoint(name))
    assert await endpoints.names(store) == names
    for name in names:
        newest = await endpoints.newest(store, name)
        assert newest is not None
        assert (newest.name, newest.version) == (name, 2)


def test_a_key_is_read_with_the_secret_that_wrote_it() -> None:
    """The record holds no trace of the key itself."""
    encrypted = endpoints.encrypt_key(SECRET, "sk-very-secret")
    assert "secret" not in encrypted
    assert endpoints.decrypt_key(SECRET, endpoint(api_key=encrypted)) == "sk-very-secret"


def test_another_secret_is_refused_in_one_line() -> None:
    """The message names the endpoint, the reason and the mend."""
    record = endpoint(api_key=endpoints.encrypt_key(SECRET, "sk"))
    with pytest.raises(UsageError, match=r"endpoint qwen: .* another ROLLDOCK_SECRET; add"):
        endpoints.decrypt_key(SECRET + b"2", record)


def test_an_endpoint_without_a_key_has_none() -> None:
    """Nothing is decrypted where nothing was encrypted."""
    assert endpoints.decrypt_key(SECRET, endpoint()) is None
