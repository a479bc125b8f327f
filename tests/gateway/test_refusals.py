"""What the gateway refuses, and that none of it reaches the model server."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import orjson
import pytest

from rolldock.gateway.completions import is_context_overflow
from rolldock.gateway.tokens import sign_session
from rolldock.models.base import JsonObject
from rolldock.models.session import EndReason
from tests.gateway.conftest import SECRET, World
from tests.gateway.model_server import Plan

PATHS = (
    "/v1/chat/completions",
    "/chat/completions",
    "/v1/models",
    "/nowhere",
    "/v1/../v1/models",
    "/",
)
GOOD = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


async def post(
    http: aiohttp.ClientSession,
    world: World,
    body: bytes,
    token: str,
    path: str = "/v1/chat/completions",
) -> tuple[int, dict[str, str]]:
    """Status and error of a raw request."""
    headers = {"Authorization": f"Bearer {token}"}
    async with http.post(
        world.gateway.url + path, data=io.BytesIO(body), headers=headers
    ) as response:
        found = orjson.loads(await response.read())
        return response.status, found.get("error", {})


@pytest.mark.parametrize("path", PATHS)
async def test_no_token_is_401_everywhere(
    world: World, http: aiohttp.ClientSession, path: str
) -> None:
    """Without a good token nothing is learnt, not even which paths exist."""
    expired = sign_session(SECRET, "someone", datetime.now(UTC) - timedelta(seconds=5))
    forged = sign_session(b"x" * 32, "someone", datetime.now(UTC) + timedelta(hours=1))
    for token in ("", "nonsense", expired, forged):
        status, error = await post(http, world, b"not json", token, path)
        assert (status, error["code"]) == (401, "invalid_api_key")
    assert world.model.calls == []


async def test_token_in_the_other_header(world: World, http: aiohttp.ClientSession) -> None:
    """`x-api-key` carries a token as well as `Authorization` does."""
    attempt = await world.open()
    headers = {"x-api-key": world.token(attempt)}
    url = f"{world.gateway.url}/chat/completions"
    async with http.post(url, data=GOOD, headers=headers) as response:
        assert response.status == 200


async def test_unknown_paths_and_methods(world: World, http: aiohttp.ClientSession) -> None:
    """With a token an unknown path is a 404 that names it, a wrong method a 405."""
    token = world.token(await world.open())
    status, error = await post(http, world, GOOD, token, "/v1/embeddings")
    assert status == 404
    assert "/v1/embeddings" in error["message"]
    status, _ = await post(http, world, GOOD, token, "/v1/models")
    assert status == 405


async def test_health_needs_no_token(world: World, http: aiohttp.ClientSession) -> None:
    """`/healthz` answers anybody."""
    async with http.get(f"{world.gateway.url}/healthz") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "not JSON"),
        (b"[1,2]", "not a JSON object"),
        (b'{"messages":[{"role":"user","content":NaN}]}', "not JSON"),
        (b'{"messages":' + b"[" * 500 + b"]" * 500 + b"}", "deeper"),
        (b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON"),
        (b'{"messages":"hi"}', "messages"),
        (b'{"messages":[]}', "messages"),
        (b'{"messages":[1]}', "messages"),
        (b'{"n":2,"messages":[{"role":"user","content":"hi"}]}', "n:"),
    ],
)
async def test_bad_bodies(
    world: World, http: aiohttp.ClientSession, body: bytes, what: str
) -> None:
    """A body that cannot be used is a 400 that says why, and claims no slot."""
    attempt = await world.open()
    status, error = await post(http, world, body, world.token(attempt))
    assert status == 400
    assert what in error["message"]
    assert await world.log(attempt).read_claim(0) is None


async def test_bodies_up_to_the_limit(world: World, http: aiohttp.ClientSession) -> None:
    """A body of just under 64 MiB is answered and recorded, one above is a 413."""
    attempt = await world.open()
    token = world.token(attempt)
    limit = 64 * 1024 * 1024
    frame = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}'
    largest = frame % (b"a" * (limit - len(frame) + 2))
    assert len(largest) == limit
    status, _ = await post(http, world, largest, token)
    assert status == 200
    status, error = await post(http, world, frame % (b"a" * limit), token)
    assert (status, error["code"]) == (413, "body_too_large")
    rebuilder = await world.rebuilder(attempt)
    assert await rebuilder.request(0) == largest


async def test_a_chunked_body_above_the_limit(world: World, http: aiohttp.ClientSession) -> None:
    """A body that does not say its length is cut off at the limit too."""
    token = world.token(await world.open())

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b" " * 1024 * 1024

    headers = {"Authorization": f"Bearer {token}"}
    url = f"{world.gateway.url}/v1/chat/completions"
    async with http.post(url, data=pieces(), headers=headers) as response:
        assert response.status == 413


async def test_a_session_that_was_never_opened(world: World, http: aiohttp.ClientSession) -> None:
    """A good token without a session record is a 403 that says so."""
    status, error = await post(http, world, GOOD, world.token("no-such-attempt"))
    assert (status, error["code"]) == (403, "session_not_found")


async def test_a_session_that_has_expired(world: World, http: aiohttp.ClientSession) -> None:
    """A record that has expired refuses a token that has not."""
    attempt = await world.open(lives_seconds=-1)
    status, error = await post(http, world, GOOD, world.token(attempt))
    assert (status, error["code"]) == (401, "session_expired")


async def test_a_token_opens_its_own_session_alone(
    world: World, http: aiohttp.ClientSession
) -> None:
    """What is asked with one session's token is in no other session's log."""
    mine, other = await world.open(), await world.open()
    await post(http, world, GOOD, world.token(mine))
    assert await world.log(mine).n_turns() == 1
    assert await world.log(other).n_turns() == 0


async def test_no_turn_after_the_end(world: World, http: aiohttp.ClientSession) -> None:
    """After END every request is a 403, a retry of an answered one too."""
    attempt = await world.open()
    token = world.token(attempt)
    assert (await post(http, world, GOOD, token))[0] == 200
    end = await world.log(attempt).end(EndReason.STOPPED, by="stop_agent")
    assert await world.log(attempt).end(EndReason.SUPERSEDED, by="attempt:other") == end
    status, error = await post(http, world, GOOD, token)
    assert (status, error["code"]) == (403, "session_ended")
    assert len(world.model.calls) == 1


async def test_a_missing_endpoint_is_named(world: World, http: aiohttp.ClientSession) -> None:
    """A session whose endpoint has no record gets an error that names it."""
    world.endpoint = "never-added"
    status, error = await post(http, world, GOOD, world.token(await world.open()))
    assert status == 400
    assert "never-added" in error["message"]


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8 tokens.",
        "The decoder prompt (length 9) is longer than the maximum model length of 8.",
        "You passed 9 input tokens and requested 2 output tokens. However, the model's context "
        "length is only 8 tokens, resulting in a maximum input length of 6 tokens.",
        "The input (9 tokens) is longer than the model's context length (8 tokens).",
        "max_tokens=9 cannot be greater than max_model_len=8.",
        "the request exceeds the available context size, try increasing it",
        "prompt is too long: 9 tokens > 8 maximum",
    ],
)
def test_an_overflow_is_known_by_the_words_of_each_server(message: str) -> None:
    """As vLLM writes it in its versions, SGLang, llama.cpp and Anthropic; only in a 400."""
    assert is_context_overflow(400, {"error": {"message": message, "code": 400}})
    assert not is_context_overflow(500, {"error": {"message": message}})


async def test_model_server_errors(world: World, http: aiohttp.ClientSession) -> None:
    """4xx pass through in the server's own words; 429, 5xx and lost connections are retried."""
    attempt = await world.open()
    token = world.token(attempt)
    said: JsonObject = {"message": "maximum context length is 8", "code": "too_long"}
    world.model.plans.append(Plan(status=400, error={"error": said}))
    assert await post(http, world, GOOD, token) == (400, said)
    world.model.plans.extend(
        [
            Plan(status=429, error={"error": "slow down"}, retry_after="0.1"),
            Plan(status=503),
            Plan(cut=True),
        ]
    )
    status, _ = await post(http, world, GOOD, token)
    assert status == 200
    assert len(world.model.calls) == 5
    trace = await world.trace(attempt)
    assert [error.context_overflow for error in trace.errors] == [True]
    assert [turn.slot for turn in trace.turns] == [1]


async def test_an_unfinished_body_claims_nothing(world: World) -> None:
    """A client that leaves in the middle of its request leaves no claim."""
    attempt = await world.open()
    host, port = world.gateway.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        f"Authorization: Bearer {world.token(attempt)}\r\n\r\n{{"
    )
    writer.write(head.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    client = world.client(attempt)
    await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    assert (await world.log(attempt).listing()).claims == {0: 1}
