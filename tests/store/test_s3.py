"""The store on S3's protocol: a stand-in server, the real client."""

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rolldock.faults.client import FaultClient
from rolldock.faults.model import Drop, Fault
from rolldock.gateway.session_log import SessionLog
from rolldock.models.session import EndReason, TurnClaim, TurnError
from rolldock.store.store import Store
from tests.store.s3_server import PAGE, S3Server

WHERE = "s3://bucket/prefix"


@pytest.fixture
async def s3(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[S3Server]:
    """A server that stores opened here reach."""
    async with S3Server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


async def test_of_many_writers_exactly_one_wins(s3: S3Server) -> None:
    """32 create the same name at once: one is told that it wrote, and its content is there."""
    stores = [Store.open(WHERE) for _ in range(4)]
    won = await asyncio.gather(*(stores[n % 4].create("a/b", bytes([n])) for n in range(32)))
    assert won.count(True) == 1
    assert await stores[0].get("a/b") == bytes([won.index(True)])
    assert list(s3.objects) == ["prefix/a/b"]


async def test_a_listing_goes_on_over_pages(s3: S3Server) -> None:
    """More names than a page holds, from the beginning and after one of them."""
    store = Store.open(WHERE)
    made = [f"a/{number:03}" for number in range(2 * PAGE + 3)]
    for name in made:
        assert await store.create(name, b"12345")
    assert sorted([name async for name in store.names("a")]) == made
    assert sorted([name async for name in store.names("a", after=made[4])]) == made[5:]
    assert {entry.n_bytes async for entry in store.entries("a")} == {5}


async def test_a_large_blob_is_stored_renewed_and_deleted(s3: S3Server) -> None:
    """Of several parts where the client sends it so."""
    content = os.urandom(12 * 2**20)
    digest = await Store.open(WHERE).put_blob(content)
    key = f"prefix/blobs/{digest}"
    s3.objects[key] = replace(s3.objects[key], written_at=datetime.now(UTC) - timedelta(days=2))
    store = Store.open(WHERE)
    now = datetime.now(UTC)
    assert await store.put_blob(content) == digest
    assert not await store.delete_blob(digest, now - timedelta(days=1))
    assert await store.get_blob(digest) == content
    assert await store.delete_blob(digest, now + timedelta(days=1))
    assert s3.objects == {}


async def test_a_claim_whose_answer_was_lost_is_ones_own(s3: S3Server) -> None:
    """The client repeats the write and is refused by what it wrote itself; END comes after it."""
    log = SessionLog(Store.open(WHERE), str(uuid.uuid4()))
    async with FaultClient(s3.origin) as faults:
        lost = await faults.add(Fault(method="PUT", path=".*claim", action=Drop(when="after")))
        assert await log.claim(0, claim_of("one"))
        assert await faults.hits(lost) == 1
    assert not await log.claim(0, claim_of("another"))
    assert log.n_claimed == 1
    async with FaultClient(s3.origin) as faults:
        await faults.add(Fault(method="PUT", path=".*claim", action=Drop(when="after")))
        assert (await log.end(EndReason.STOPPED, by="client")).by == "client"
    assert len(s3.objects) == 2


async def test_a_reply_whose_answer_was_lost_is_ones_own(s3: S3Server) -> None:
    """What is recorded is that very reply, not a copy of somebody else's."""
    log, now = SessionLog(Store.open(WHERE), str(uuid.uuid4())), datetime.now(UTC)
    mine, theirs = (
        TurnError(slot=0, status=502, message=whose, started_at=now, ended_at=now)
        for whose in ("mine", "theirs")
    )
    async with FaultClient(s3.origin) as faults:
        await faults.add(Fault(method="PUT", path=".*reply", action=Drop(when="after")))
        assert await log.answer(0, mine) is mine
    assert await log.answer(0, theirs) == mine


def claim_of(gateway: str) -> TurnClaim:
    """A claim of some call."""
    return TurnClaim(gateway=gateway, request_digest="0" * 64, claimed_at=datetime.now(UTC))
