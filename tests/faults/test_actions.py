"""Each action against a small real server, whole answers and streamed ones."""

import asyncio
import time

import httpx
import pytest

from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Cut, Delay, Drop, Fault, Late
from tests.faults.conftest import PIECE, Small

KINDS = ("whole", "streamed")
WHOLE = 10 * len(PIECE)


async def until_marked(small: Small) -> None:
    """Wait until a request has taken effect."""
    async with asyncio.timeout(20):
        while not small.marks:
            await asyncio.sleep(0.01)


async def test_answer(small: Small, http: httpx.AsyncClient, faults: FaultClient) -> None:
    """The answer is the fault's own, with its Retry-After, and the handler was not called."""
    refused = Answer(status=429, retry_after_seconds=7, detail="slow down")
    await faults.add(Fault(method="POST", path="/whole/.*", action=refused))
    reply = await http.post("/whole/a", content=bytes(1 << 20))
    assert (reply.status_code, reply.json()) == (429, {"detail": "slow down"})
    assert reply.headers["Retry-After"] == "7"
    assert small.marks == []
    assert (await http.post("/whole/a")).content == PIECE


@pytest.mark.parametrize("kind", KINDS)
async def test_delay_before(
    small: Small, http: httpx.AsyncClient, faults: FaultClient, kind: str
) -> None:
    """Nothing happens before the time has passed; then all is as ever."""
    await faults.add(Fault(path=f"/{kind}/a", action=Delay(seconds=0.3)))
    started = time.monotonic()
    call = asyncio.create_task(http.post(f"/{kind}/a"))
    await until_marked(small)
    assert time.monotonic() - started >= 0.3
    assert (await call).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
async def test_delay_after(
    small: Small, http: httpx.AsyncClient, faults: FaultClient, kind: str
) -> None:
    """The effect is there at once, its answer comes later and whole; the connection lives on."""
    await faults.add(Fault(path=f"/{kind}/a", action=Delay(seconds=0.5, when="after")))
    started = time.monotonic()
    call = asyncio.create_task(http.post(f"/{kind}/a"))
    await until_marked(small)
    assert time.monotonic() - started < 0.5
    reply = await call
    assert time.monotonic() - started >= 0.5
    assert len(reply.content) == (WHOLE if kind == "streamed" else len(PIECE))
    assert (await http.post(f"/{kind}/b")).content == reply.content


async def test_delay_after_whose_client_leaves(
    small: Small, http: httpx.AsyncClient, faults: FaultClient
) -> None:
    """A client that does not wait for a held answer harms nothing."""
    await faults.add(Fault(path="/whole/a", action=Delay(seconds=0.3, when="after")))
    with pytest.raises(httpx.ReadTimeout):
        await http.post("/whole/a", timeout=0.1)
    assert small.marks == ["a"]
    assert (await http.post("/whole/b")).content == PIECE


@pytest.mark.parametrize("kind", KINDS)
async def test_drop_before(
    small: Small, http: httpx.AsyncClient, faults: FaultClient, kind: str
) -> None:
    """The connection is closed without an answer, and nothing has happened."""
    await faults.add(Fault(path=f"/{kind}/a", action=Drop(when="before")))
    with pytest.raises(httpx.TransportError):
        await http.post(f"/{kind}/a")
    assert (await http.post(f"/{kind}/b")).status_code == 200
    assert small.marks == ["b"]


@pytest.mark.parametrize("kind", KINDS)
async def test_drop_after(
    small: Small, http: httpx.AsyncClient, faults: FaultClient, kind: str
) -> None:
    """The connection is closed without an answer although the request took effect."""
    await faults.add(Fault(path=f"/{kind}/a", action=Drop(when="after")))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await http.post(f"/{kind}/a")
    assert small.marks == ["a"]


async def test_drop_after_an_answer_without_a_body(
    small: Small, http: httpx.AsyncClient, faults: FaultClient
) -> None:
    """An answer that is only headers is dropped like any other."""
    await faults.add(Fault(method="DELETE", path="/empty", action=Drop(when="after")))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await http.delete("/empty")
    assert small.marks == ["empty"]
    assert (await http.delete("/empty")).status_code == 204


async def test_a_dropped_stream_tells_its_handler(
    small: Small, http: httpx.AsyncClient, faults: FaultClient
) -> None:
    """The handler of a stream learns that nobody listens, as with a real loss."""
    await faults.add(Fault(path="/streamed/a", action=Drop(when="after")))
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post("/streamed/a")
    await asyncio.wait_for(small.is_unheard.wait(), 20)
    assert small.unheard == ["a"]


@pytest.mark.parametrize(("kind", "n_bytes"), [("whole", 0), ("whole", 4), ("streamed", 30)])
async def test_cut(
    small: Small, http: httpx.AsyncClient, faults: FaultClient, kind: str, n_bytes: int
) -> None:
    """Status and headers come, then so many bytes, then the connection ends too early."""
    await faults.add(Fault(path=f"/{kind}/a", action=Cut(n_bytes=n_bytes)))
    got = b""

    async def receive(reply: httpx.Response) -> None:
        nonlocal got
        async for piece in reply.aiter_bytes():
            got += piece

    async with http.stream("POST", f"/{kind}/a") as reply:
        assert reply.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await receive(reply)
    assert len(got) <= n_bytes
    assert got == (PIECE * 10)[: len(got)]
    if kind == "whole":
        assert len(got) == n_bytes
    assert small.marks == ["a"]


async def test_cut_behind_the_end(
    small: Small, http: httpx.AsyncClient, faults: FaultClient
) -> None:
    """An answer shorter than the cut comes whole, and its connection is closed."""
    await faults.add(Fault(path="/whole/a", action=Cut(n_bytes=1000)))
    reply = await http.post("/whole/a")
    assert (reply.content, reply.headers["Connection"]) == (PIECE, "close")


@pytest.mark.parametrize("kind", KINDS)
async def test_late(small: Small, http: httpx.AsyncClient, faults: FaultClient, kind: str) -> None:
    """The client is dropped at once; the request takes effect after the time, body and all."""
    await faults.add(Fault(path=f"/{kind}/a", action=Late(seconds=0.4)))
    started = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await http.post(f"/{kind}/a", content=b"a body")
    assert time.monotonic() - started < 0.4
    assert small.marks == []
    await until_marked(small)
    assert time.monotonic() - started >= 0.4
    assert small.marks == ["a"]
