"""A create whose call is cancelled, stalled, refused or repeated leaves nothing behind."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from rolldock.errors import StageError, TransientStageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes, SandboxRequest
from rolldock.sandbox.creation import CreateRefused, create_sandbox, tunnel_of
from rolldock.sandbox.labels import Ownership, write_labels
from rolldock.store import keys
from rolldock.store.store import Store

if TYPE_CHECKING:
    from tests.sandbox.conftest import Provider

CREATE = "POST /api/v1/sandbox"


async def create(
    sandboxes: Sandboxes,
    store: Store,
    request: SandboxRequest,
    *,
    max_live: int,
    seconds: float = 60,
) -> str:
    """`create_sandbox`, patient for a minute."""
    return await create_sandbox(sandboxes, store, request, max_live=max_live, seconds=seconds)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path / "store"))


async def test_a_create_returns_when_the_sandbox_runs(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """One request, a mark in the store before it, and the provider's id."""
    found = await create(sandboxes, store, sandbox_request, max_live=1)
    assert provider.alive() == [found]
    assert await store.get(keys.create_sent(sandbox_request.attempt)) is not None
    assert provider.sandboxes[found]["labels"] == write_labels(sandbox_request.owner)


async def test_a_second_try_finds_the_first_ones_sandbox(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """The attempt is the idempotency key; its own sandbox does not count against the limit."""
    first = await create(sandboxes, store, sandbox_request, max_live=1)
    assert await create(sandboxes, store, sandbox_request, max_live=1) == first
    assert len(provider.alive()) == 1


async def test_every_try_asks_for_the_first_ones_tunnel(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """A key comes with one request only: the tunnel's host is allowed, whatever it is by then."""
    asked: list[list[str]] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(body["network_allowlist"])
        return web.json_response(provider.make(body))

    provider.instead[CREATE] = answer
    one, other = (
        sandbox_request.model_copy(update={"allowed_hosts": ("a.example",), "tunnel_url": url})
        for url in ("https://t-1.example", "https://t-2.example")
    )
    assert await tunnel_of(store, one.attempt) is None
    first = await create(sandboxes, store, one, max_live=1)
    assert await create(sandboxes, store, other, max_live=1) == first
    assert asked == [["a.example", "t-1.example"]] * 2
    assert await tunnel_of(store, one.attempt) == one.tunnel_url


async def test_tries_at_once_ask_for_the_same_tunnel(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """The one that wrote its mark first decides for all, also for a stalled one."""
    asked: set[str] = set()

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        asked.update(body["network_allowlist"])
        return web.json_response(provider.make(body))

    provider.instead[CREATE] = answer
    requests = [
        sandbox_request.model_copy(
            update={"allowed_hosts": (), "tunnel_url": f"https://t-{n}.example"}
        )
        for n in range(8)
    ]
    made = await asyncio.gather(
        *(create(sandboxes, store, request, max_live=9) for request in requests)
    )
    assert len(set(made)) == len(asked) == 1


async def test_at_the_limit_nothing_is_sent(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """A full deployment waits, whatever others have; no mark says that a create was sent."""
    other = Ownership(deployment="d", attempt="another")
    provider.add(other, write_labels(other))
    with pytest.raises(TransientStageError, match="the limit is 1") as raised:
        await create(sandboxes, store, sandbox_request, max_live=1)
    assert raised.value.cause is Cause.QUOTA
    assert CREATE not in provider.requests
    assert await store.get(keys.create_sent(sandbox_request.attempt)) is None


async def test_an_attempt_that_was_given_up_is_not_created(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """The tombstone is looked for after the mark and before the request."""
    await store.create(keys.tombstone(sandbox_request.attempt), b"{}")
    with pytest.raises(StageError) as raised:
        await create(sandboxes, store, sandbox_request, max_live=9)
    assert raised.value.cause is Cause.CANCELLED
    assert CREATE not in provider.requests


async def test_a_cancel_while_the_request_is_out_still_learns_the_id(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """Whoever cancelled gets the sandbox by its id, to delete it."""
    provider.held[CREATE] = asyncio.Event()
    creating = asyncio.create_task(create(sandboxes, store, sandbox_request, max_live=9))
    await provider.reached.wait()
    creating.cancel()
    provider.held[CREATE].set()
    assert [await creating] == provider.alive()


async def test_a_stalled_try_that_is_cancelled_deletes_what_it_made(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """Its attempt was given up meanwhile and nobody else would look: the tombstone is seen."""
    provider.held[CREATE] = asyncio.Event()
    creating = asyncio.create_task(create(sandboxes, store, sandbox_request, max_live=9))
    await provider.reached.wait()
    await store.create(keys.tombstone(sandbox_request.attempt), b"{}")
    creating.cancel()
    provider.held[CREATE].set()
    with pytest.raises(StageError) as raised:
        await creating
    assert raised.value.cause is Cause.CANCELLED
    assert len(provider.sandboxes) == 1
    assert provider.alive() == []


async def test_a_stalled_try_that_is_not_cancelled_deletes_what_it_made(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """The same without a cancel."""
    provider.held[CREATE] = asyncio.Event()
    creating = asyncio.create_task(create(sandboxes, store, sandbox_request, max_live=9))
    await provider.reached.wait()
    await store.create(keys.tombstone(sandbox_request.attempt), b"{}")
    provider.held[CREATE].set()
    with pytest.raises(StageError):
        await creating
    assert provider.alive() == []


@pytest.mark.parametrize(
    ("status", "cause"), [(402, Cause.PAYMENT_REQUIRED), (401, Cause.UNAUTHORIZED)]
)
async def test_a_refused_create_says_that_nothing_was_made(
    provider: "Provider",
    sandboxes: Sandboxes,
    store: Store,
    sandbox_request: SandboxRequest,
    status: int,
    cause: Cause,
) -> None:
    """Only a refusal of the request itself is one."""

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "no"}, status=status)

    provider.instead[CREATE] = refuse
    with pytest.raises(CreateRefused) as raised:
        await create(sandboxes, store, sandbox_request, max_live=9)
    assert raised.value.cause is cause


async def test_a_sandbox_that_never_runs_was_not_refused(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """It exists, so that a delete has to look for it, however final the failure is."""
    provider.status = "ERROR"
    with pytest.raises(StageError) as raised:
        await create(sandboxes, store, sandbox_request, max_live=9)
    assert not isinstance(raised.value, CreateRefused | TransientStageError)
    assert len(provider.sandboxes) == 1


async def test_creates_that_keep_failing_are_given_up(
    provider: "Provider", sandboxes: Sandboxes, store: Store, sandbox_request: SandboxRequest
) -> None:
    """Transient within the patience, final after it: another attempt may do better."""

    async def fail(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "busy"}, status=500)

    provider.instead[CREATE] = fail
    with pytest.raises(TransientStageError):
        await create(sandboxes, store, sandbox_request, max_live=9)
    with pytest.raises(StageError, match="s of tries") as raised:
        await create(sandboxes, store, sandbox_request, max_live=9, seconds=0)
    assert not isinstance(raised.value, TransientStageError)
    assert raised.value.cause is Cause.SANDBOX_UNAVAILABLE
