"""The bytes of odd requests and replies come back from the trace."""

import json

import aiohttp
import orjson
import pytest

from rolldock.gateway.rebuild import DamagedTurnError, Rebuilder
from rolldock.models.base import JsonObject
from rolldock.models.turn import Encoding
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan, Write

BODY: JsonObject = {
    "stream": False,
    "tools": [],
    "model": "m",
    "messages": [{"role": "user", "content": "é <b>"}],
    "temperature": 1.0,
}


def spaced(value: JsonObject) -> bytes:
    """As Python's json writes by default."""
    return json.dumps(value).encode()


def indented(value: JsonObject) -> bytes:
    """As nobody writes a body."""
    return json.dumps(value, indent=3).encode() + b"\n"


@pytest.mark.parametrize(
    ("write", "encoding"),
    [(orjson.dumps, Encoding.COMPACT), (spaced, Encoding.SPACED), (indented, Encoding.BLOB)],
)
async def test_however_they_were_written(
    world: World, http: aiohttp.ClientSession, write: Write, encoding: Encoding
) -> None:
    """Request and reply come back byte for byte in known styles and in none."""
    attempt = await world.open()
    headers = {"Authorization": f"Bearer {world.token(attempt)}"}
    url = f"{world.gateway.url}/v1/chat/completions"
    first = write(BODY)
    longer: JsonObject = {
        **BODY,
        "messages": [
            {"role": "user", "content": "é <b>"},
            {"role": "assistant", "content": "Hello there.\n"},
            {"role": "user", "content": "\U0001f600"},
        ],
    }
    second = write(longer)
    for raw in (first, second):
        world.model.plans.append(Plan(write=write))
        async with http.post(url, data=raw, headers=headers) as response:
            assert response.status == 200
    turns = (await world.trace(attempt)).turns
    assert [turn.parent for turn in turns] == [None, 0]
    assert {turn.request.encoding for turn in turns} == {encoding}
    rebuilder = Rebuilder(world.store, attempt, turns)
    assert [await rebuilder.request(0), await rebuilder.request(1)] == [first, second]
    assert [await rebuilder.reply(slot) for slot in range(2)] == world.model.replies
    assert [await rebuilder.sent(slot) for slot in range(2)] == world.model.raw


async def test_a_damaged_turn_is_noticed(world: World) -> None:
    """A turn whose content was changed does not pass for what was sent."""
    attempt = await world.open()
    client = world.client(attempt)
    await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "a"}])
    turn = (await world.trace(attempt)).turns[0]
    changed = turn.model_copy(update={"messages": ({"role": "user", "content": "b"},)})
    with pytest.raises(DamagedTurnError, match="turn 0"):
        await Rebuilder(world.store, attempt, [changed]).request(0)
