"""Hostile clients: nothing that they send reaches the model server or reads another's trace.

What an honest client may send by mistake is in `test_refusals.py`.
"""

import asyncio
import base64
import json
import uuid
import zlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from rolldock.gateway.tokens import session_of, sign_session
from rolldock.models.session import EndReason
from rolldock.store.store import Store
from tests.eventually import eventually
from tests.gateway.conftest import (
    SECRET,
    GatewayProcess,
    World,
    close_clients,
    gateway_process,
)
from tests.gateway.model_server import ModelServer

GOOD = b'{"model":"m","messages":[{"role":"user","content":"a secret of this session"}]}'
SOON = datetime.now(UTC) + timedelta(hours=1)

CHAT = "/v1/chat/completions"
BODY_SECONDS = 1.0
IDLE_SECONDS = 1.0
MAX_BODY_BYTES = 64 * 1024


async def send(world: World, raw: bytes) -> bytes:
    """Bytes on a connection of their own. Returns all that comes back until it is closed."""
    host, port = world.gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(raw)
        await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


def request(token: str, body: bytes = GOOD, path: str = CHAT, *headers: str) -> bytes:
    """A whole request, to be sent as it is."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: gateway",
        "Connection: close",
        f"Authorization: Bearer {token}",
        *(headers or (f"Content-Length: {len(body)}",)),
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def status_of(answer: bytes) -> int:
    """The status of a raw response."""
    return int(answer.split(b" ", 2)[1])


def unsigned(attempt: str, algorithm: str) -> str:
    """A token that says of itself that it needs no signature."""
    parts = ({"alg": algorithm, "typ": "JWT"}, {"sub": attempt, "exp": int(SOON.timestamp())})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return (b".".join(encoded) + b".").decode()


def forgeries(attempt: str) -> dict[str, str]:
    """Tokens for an attempt that were not signed for it."""
    claims = {"sub": attempt, "exp": SOON, "aud": "rolldock-session"}
    good = sign_session(SECRET, attempt, SOON)
    head, _, signature = good.split(".")
    payload = base64.urlsafe_b64encode(b'{"sub":"%s"}' % attempt.encode()).rstrip(b"=").decode()
    return {
        "empty": "",
        "the attempt itself": attempt,
        "alg none": unsigned(attempt, "none"),
        "alg None": unsigned(attempt, "None"),
        "alg HS256 unsigned": unsigned(attempt, "HS256"),
        "another secret": jwt.encode(claims, b"x" * 32, algorithm="HS256"),
        "an empty secret": jwt.encode(claims, b"\0" * 32, algorithm="HS256"),
        "another algorithm": jwt.encode(claims, SECRET * 2, algorithm="HS512"),
        "another audience": jwt.encode({**claims, "aud": "other"}, SECRET, algorithm="HS256"),
        "no audience": jwt.encode({"sub": attempt, "exp": SOON}, SECRET, algorithm="HS256"),
        "no expiry": jwt.encode(
            {"sub": attempt, "aud": "rolldock-session"}, SECRET, algorithm="HS256"
        ),
        "another payload": f"{head}.{payload}.{signature}",
        "no signature": good.rpartition(".")[0] + ".",
        "expired": sign_session(SECRET, attempt, datetime.now(UTC) - timedelta(seconds=1)),
        "a huge one": "a" * 6000,
    }


KINDS = tuple(forgeries("x"))


@pytest.mark.parametrize("kind", KINDS)
async def test_forged_tokens(world: World, kind: str) -> None:
    """A token that was not signed for this session, or is over, is a 401 and claims nothing."""
    attempt = await world.open()
    answer = await send(world, request(forgeries(attempt)[kind]))
    assert status_of(answer) == 401
    assert b"invalid_api_key" in answer
    assert world.model.calls == []
    assert await world.log(attempt).read_claim(0) is None


async def test_a_token_that_expires_while_it_is_known() -> None:
    """A token that was good a moment ago is refused once it is over."""
    ends = datetime.now(UTC) + timedelta(seconds=2)
    token = sign_session(SECRET, "a", ends)
    assert session_of(SECRET, token) == "a"
    await eventually(lambda: session_of(SECRET, token) is None, "the token is refused", 5)


async def test_anothers_token_reads_nothing_of_this_session(world: World) -> None:
    """The same request with another rollout's token is a turn of that one: what was recorded here
    is neither given away nor changed."""
    mine, other = await world.open(), await world.open()
    await send(world, request(world.token(mine)))
    before = await recorded(world, mine)
    answer = await send(world, request(world.token(other), GOOD, CHAT, *retry(GOOD)))
    assert status_of(answer) == 200
    assert len(world.model.calls) == 2
    assert await recorded(world, mine) == before
    assert mine.encode() not in answer


async def recorded(world: World, attempt: str) -> dict[str, bytes | None]:
    """Every record of a session, once its reply has been marked as delivered."""
    await world.delivered(attempt, 0)
    names = [name async for name in world.store.names(f"sessions/{attempt}")]
    return {name: await world.store.get(name) for name in names}


def retry(body: bytes) -> tuple[str, ...]:
    """Headers of a client that claims to have asked before."""
    return (f"Content-Length: {len(body)}", "x-stainless-retry-count: 3", "Idempotency-Key: k")


@pytest.mark.parametrize("path", [CHAT, "/v1/models"])
async def test_a_token_after_the_close(world: World, path: str) -> None:
    """A token that is used again after its session has ended asks no model and gets no turn, not
    even the one that it once had."""
    attempt = await world.open()
    token = world.token(attempt)
    assert status_of(await send(world, request(token, GOOD, CHAT, *retry(GOOD)))) == 200
    await world.log(attempt).end(EndReason.STOPPED, by="stop_agent")
    answer = await send(world, request(token, GOOD, path, *retry(GOOD)))
    assert status_of(answer) in (403, 405)
    assert b"Hello" not in answer
    assert len(world.model.calls) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/v1/../../store/sessions",
        "/v1/chat/completions/../../../sessions/{other}/trace",
        "/v1/chat/completions/%2e%2e/%2e%2e/sessions/{other}/trace",
        "/v1/chat/completions%2f..%2f..%2fsessions",
        "/v1/chat/completions/",
        "//v1//chat//completions",
        "/v1/chat/completions%00",
        "/V1/CHAT/COMPLETIONS",
        "/sessions/{other}/000000.reply",
        "/v1/sessions/{other}",
        "/_faults",
        "http://127.0.0.1:1/v1/chat/completions/x",
        "/v1/completions",
    ],
)
async def test_path_tricks(world: World, path: str) -> None:
    """No way of writing a path leads anywhere but to the routes: a 404 at most, and no file."""
    mine, other = await world.open(), await world.open()
    await send(world, request(world.token(other)))
    answer = await send(world, request(world.token(mine), GOOD, path.format(other=other)))
    assert status_of(answer) in (400, 404)
    assert b"a secret of this session" not in answer
    assert b"Hello" not in answer
    assert b"root:" not in answer
    assert len(world.model.calls) == 1


@pytest.mark.parametrize("attempt", ["../../secret", "..", "", "a/../../b", "x" * 200, "\0"])
async def test_a_signed_name_is_no_path(world: World, attempt: str) -> None:
    """Even a good signature over a name that is no session's leads to nothing."""
    answer = await send(world, request(sign_session(SECRET, attempt, SOON)))
    assert status_of(answer) == 401
    assert world.model.calls == []


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 10\r\nContent-Length: 20",
        "Content-Length: 10\r\nTransfer-Encoding: chunked",
        "Content-Length: -5",
        "Content-Length: 0x10",
        "Transfer-Encoding: gzip, identity",
        "X-Long: " + "a" * 20_000,
        "Broken header line",
    ],
)
async def test_requests_that_smuggle(world: World, head: str) -> None:
    """A head that two servers would read in two ways is refused."""
    attempt = await world.open()
    hidden = request(world.token(attempt))
    answer = await send(world, request(world.token(attempt), b"0\r\n\r\n" + hidden, CHAT, head))
    assert 400 <= status_of(answer) < 500
    assert world.model.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00",
        b"null",
        b'"text"',
        GOOD + GOOD,
        GOOD.replace(b'"m"', b"NaN"),
        GOOD.replace(b'"m"', b"-Infinity"),
        GOOD.replace(b'"m"', b"1e400"),
        GOOD.replace(b'"m"', b'{"a":' * 200 + b"1" + b"}" * 200),
        GOOD.replace(b'"m"', b"[" * 50_000 + b"]" * 50_000),
        b"{" * 100_000,
    ],
    ids=["binary", "null", "text", "two", "nan", "infinity", "1e400", "deep", "deeper", "open"],
)
async def test_bodies_that_break_parsers(world: World, body: bytes) -> None:
    """What is no plain JSON object of sane depth is a 400 and claims nothing."""
    attempt = await world.open()
    answer = await send(world, request(world.token(attempt), body))
    assert status_of(answer) == 400
    assert world.model.calls == []
    assert await world.log(attempt).read_claim(0) is None


async def test_a_compressed_body_is_bounded_by_what_it_unpacks_to(small: World) -> None:
    """A body whose compressed form is small cannot grow beyond the limit."""
    attempt = await small.open()
    body = zlib.compress(b" " * (MAX_BODY_BYTES * 50) + GOOD)
    assert len(body) < MAX_BODY_BYTES
    encoded = (f"Content-Length: {len(body)}", "Content-Encoding: deflate")
    answer = await send(small, request(small.token(attempt), body, CHAT, *encoded))
    assert status_of(answer) == 413
    assert small.model.calls == []


async def test_a_body_that_is_too_large(small: World) -> None:
    """A length beyond the limit is a 413 before the body is read."""
    attempt = await small.open()
    length = f"Content-Length: {MAX_BODY_BYTES + 1}"
    answer = await send(small, request(small.token(attempt), b"{", CHAT, length))
    assert status_of(answer) == 413
    assert small.model.calls == []


async def test_headers_that_are_never_finished(small: World) -> None:
    """A connection whose headers trickle in for ever is closed, and others are served meanwhile."""
    attempt = await small.open()
    whole = request(small.token(attempt))
    host, port = small.gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    closed = asyncio.create_task(reader.read())
    for byte in whole[: -len(GOOD) - 2]:
        if closed.done() or writer.is_closing():
            break
        writer.write(bytes([byte]))
        await asyncio.wait({closed}, timeout=0.05)
    assert status_of(await send(small, request(small.token(await small.open())))) == 200
    async with asyncio.timeout(10):
        await asyncio.wait({closed})
    writer.close()
    assert await small.log(attempt).read_claim(0) is None
    assert len(small.model.calls) == 1


async def test_a_connection_that_says_nothing(small: World) -> None:
    """A connection without a request is closed."""
    assert await send(small, b"") == b""


async def test_a_body_that_trickles(small: World) -> None:
    """A body that does not arrive in its time is a 408 and claims nothing."""
    attempt = await small.open()
    length = "Content-Length: 1000"
    answer = await send(small, request(small.token(attempt), b'{"model":', CHAT, length))
    assert status_of(answer) == 408
    assert b"body_timeout" in answer
    assert small.model.calls == []
    assert await small.log(attempt).read_claim(0) is None


async def test_many_slow_connections(small: World) -> None:
    """Two hundred connections that send half a request keep nobody else from a turn."""
    host, port = small.gateway.url.removeprefix("http://").split(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
    for _, writer in opened:
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: ")
    try:
        attempt = await small.open()
        assert status_of(await send(small, request(small.token(attempt)))) == 200
        await eventually(lambda: all(reader.at_eof() for reader, _ in opened))
    finally:
        for _, writer in opened:
            writer.close()


@pytest.fixture(scope="module")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the gateway below."""
    return tmp_path_factory.mktemp("small") / "store"


@pytest.fixture(scope="module")
def small_gateway(small_store: Path) -> Iterator[GatewayProcess]:
    """A gateway that takes small bodies and has little patience with slow clients."""
    limits: dict[str, Any] = {
        "max_body_bytes": MAX_BODY_BYTES,
        "body_seconds": BODY_SECONDS,
        "idle_seconds": IDLE_SECONDS,
    }
    with gateway_process(small_store, **limits) as running:
        yield running


@pytest.fixture
async def small(
    small_store: Path, small_gateway: GatewayProcess, model: ModelServer
) -> AsyncIterator[World]:
    """A world with that gateway."""
    made = World(Store.open(str(small_store)), small_gateway, model, f"e-{uuid.uuid4()}")
    await made.add_endpoint()
    yield made
    await close_clients(made)
