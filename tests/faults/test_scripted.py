"""Faults of the scripted model server, and its journal of calls."""

import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from rolldock.errors import UsageError
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Cut, Drop, Fault
from rolldock.models.names import SESSION_HEADER, SLOT_HEADER
from rolldock.scripted.script import Script, load_scripts
from rolldock.scripted.server import serve

SCRIPTS = Path(__file__).parents[2] / "examples" / "scripts"
CALL = "/v1/chat/completions"


@pytest.fixture
def scripts() -> dict[str, Script]:
    """The examples' conversations."""
    return load_scripts(SCRIPTS)


@pytest.fixture
async def address(scripts: dict[str, Script]) -> AsyncGenerator[str, None]:
    """A server that takes faults."""
    async with serve(scripts, faults=True) as address:
        yield address


def body(scripts: dict[str, Script], *, stream: bool = False) -> dict[str, object]:
    """A call that a script answers."""
    content = next(iter(scripts.values())).match
    return {"messages": [{"role": "user", "content": content}], "stream": stream}


async def test_off_by_default(scripts: dict[str, Script]) -> None:
    """Neither faults nor a journal can be reached."""
    async with serve(scripts) as address, FaultClient(address) as faults:
        with pytest.raises(UsageError, match="answered 404"):
            await faults.state()
        with pytest.raises(UsageError, match="answered 404"):
            await faults.journal()


async def test_refusals_and_counters(scripts: dict[str, Script], address: str) -> None:
    """A call is refused as often as was asked for; calls are counted by route."""
    async with FaultClient(address) as faults, httpx.AsyncClient(base_url=address) as http:
        await faults.add(Fault(path=".*", action=Answer(status=500), times=2))
        got = [(await http.post(CALL, json=body(scripts))).status_code for _ in range(3)]
        assert got == [500, 500, 200]
        assert (await faults.state()).requests == {f"POST {CALL}": 3}
        assert len(await faults.journal()) == 1


async def test_a_cut_stream(scripts: dict[str, Script], address: str) -> None:
    """A streamed completion is cut before its end."""
    async with FaultClient(address) as faults, httpx.AsyncClient(base_url=address) as http:
        await faults.add(Fault(path=CALL, action=Cut(n_bytes=100)))
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(CALL, json=body(scripts, stream=True))
        assert "[DONE]" in (await http.post(CALL, json=body(scripts, stream=True))).text


async def test_the_journal(scripts: dict[str, Script], address: str) -> None:
    """Every call that reached the model is there, whose it was and what it said."""
    async with FaultClient(address) as faults, httpx.AsyncClient(base_url=address) as http:
        headers = {SESSION_HEADER: "an-attempt", SLOT_HEADER: "3"}
        said = await http.post(CALL, json=body(scripts), headers=headers)
        await faults.add(Fault(path=CALL, action=Drop(when="after")))
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(CALL, json=body(scripts))
        first, second = await faults.journal()
    assert (first.session, first.slot, second.session, second.slot) == ("an-attempt", 3, None, None)
    assert first.digest == second.digest == hashlib.sha256(said.request.content).hexdigest()
    assert first.received_at < second.received_at
