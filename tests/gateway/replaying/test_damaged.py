"""Recordings that are there and cannot be played: the replay ends, and its END names why."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from pydantic import JsonValue

from rolldock.gateway.facts import read_facts
from rolldock.gateway.replaying.recording import is_recorded
from rolldock.models.base import JsonObject
from rolldock.models.collecting import RecordingDeleted
from rolldock.models.session import EndReason
from rolldock.models.spec import Purpose
from rolldock.store import keys
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan
from tests.gateway.native_client import ask, claude, said
from tests.gateway.native_server import NativeServer
from tests.gateway.replaying.plays import post, replay, turns, user

ASKED: JsonObject = {
    "model": "m",
    "messages": [user("hi")],
    "tools": [{"type": "function", "function": {"name": "ls"}}],
}


async def lose_tools(world: World, _root: Path, attempt: str) -> str:
    """The blob of a turn's tools is gone."""
    digest = (await turns(world, attempt))[0].tools_digest
    await world.store.delete(f"blobs/{digest}")
    return f"is damaged: turn 0: blob {digest} is not in the store"


async def spoil_trace(world: World, root: Path, attempt: str) -> str:
    """The trace was cut."""
    await world.trace(attempt)
    (root / keys.trace(attempt)).write_bytes(b'{"attempt":')
    return "is damaged: its trace: 1 validation error for Trace"


async def spoil_reply(_world: World, root: Path, attempt: str) -> str:
    """Nothing was sealed, and a reply was cut."""
    (root / keys.reply(attempt, 0)).write_bytes(b"{")
    return "is damaged: the reply of slot 0: 1 validation error"


async def lose_turn(world: World, root: Path, attempt: str) -> str:
    """Nothing was sealed, and a turn is missing that a later one builds on."""
    reply: JsonObject = {"role": "assistant", "content": "one"}
    messages: list[JsonValue] = [user("hi"), reply, user("on")]
    later: JsonObject = {**ASKED, "messages": messages}
    world.model.plans.append(Plan(content="two"))
    async with aiohttp.ClientSession() as http:
        assert (await post(http, world, attempt, later))[0] == 200
    (root / keys.reply(attempt, 0)).unlink()
    return "is damaged: turn 1: turn 0, which it builds on, is missing"


async def spoil_turn(world: World, root: Path, attempt: str) -> str:
    """What a turn holds is not what its digests say."""
    await world.trace(attempt)
    path = root / keys.trace(attempt)
    path.write_bytes(path.read_bytes().replace(b'"content":"hi"', b'"content":"ho"'))
    return "is damaged: turn 0: its request cannot be rebuilt to digest"


async def begin_to_delete(world: World, _root: Path, attempt: str) -> str:
    """It was to be deleted, and whoever did it died after the mark."""
    mark = RecordingDeleted(deleted_at=datetime(2026, 1, 31, 12, tzinfo=UTC), after_days=30)
    await world.store.create(keys.recording_deleted(attempt), mark.model_dump_json().encode())
    assert not await is_recorded(world.store, attempt)
    return "was deleted at 2026-01-31 12:00 UTC"


DAMAGES = (lose_tools, lose_turn, spoil_trace, spoil_reply, spoil_turn, begin_to_delete)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_recording_ends_its_replay(
    world: World,
    http: aiohttp.ClientSession,
    store_path: Path,
    damage: Callable[[World, Path, str], Awaitable[str]],
) -> None:
    """Every call is refused, and both the refusal and END name the attempt and what is damaged."""
    recorded = await world.open()
    # Tools of this test's own: other tests' blobs stay.
    tools: list[JsonValue] = [{"type": "function", "function": {"name": recorded}}]
    asked: JsonObject = {**ASKED, "tools": tools}
    world.model.plans.append(Plan(content="one"))
    assert (await post(http, world, recorded, asked))[0] == 200
    damaged = await damage(world, store_path, recorded)
    again = await replay(world, recorded)
    for _ in range(2):
        status, refusal = await post(http, world, again, asked)
        assert status == 403
        assert f"the recording of attempt {recorded} {damaged}" in str(refusal)
    facts = await read_facts(world.log(again))
    assert facts.end_reason is EndReason.REPLAY_UNAVAILABLE
    assert damaged in (facts.end_detail or "")
    assert "\n" not in (facts.end_detail or "")
    assert (facts.has_turn, facts.undelivered) == (False, False)


async def test_a_reply_that_passed_through_and_is_gone(
    world: World, native: NativeServer, http: aiohttp.ClientSession, store_path: Path
) -> None:
    """What is given to the byte has to be there before anything is played."""
    recorded = await world.open(purpose=Purpose.EVAL)
    async with claude(world, recorded) as client:
        await ask(client, said("hi"), stream=True)
    found = (await turns(world, recorded))[0]
    (store_path / "blobs" / found.reply.digest).unlink()
    again = await replay(world, recorded, purpose=Purpose.EVAL)
    status, refusal = await post(http, world, again, ASKED)
    assert status == 403
    assert f"turn 0: blob {found.reply.digest} is not in the store" in str(refusal)
