"""Sessions that replay another one, and conversations to record and to replay."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

import aiohttp
import orjson
from pydantic import JsonValue

from rolldock.models.base import JsonObject
from rolldock.models.replay import OnDivergence, ReplayFrom, ReplayPoint
from rolldock.models.session import Session
from rolldock.models.spec import Delivery, Limits, Purpose, Sampling
from rolldock.models.turn import Turn
from tests.gateway.conftest import World

CHAT = "/v1/chat/completions"
SYSTEM: JsonObject = {"role": "system", "content": "You are careful."}


async def replay(
    world: World,
    attempt: str,
    *,
    turn: int | None = None,
    on_divergence: OnDivergence = OnDivergence.STOP,
    limits: Limits | None = None,
    sampling: Sampling | None = None,
    purpose: Purpose = Purpose.TRAIN,
    delivery: Delivery = Delivery.HELD,
    endpoint: str | None = None,
) -> str:
    """Open a session that plays the recording of `attempt`. Returns its own."""
    own, now = str(uuid.uuid4()), datetime.now(UTC)
    kind = ReplayFrom.RECORDING if turn is None else ReplayFrom.TURN
    point = ReplayPoint(kind=kind, attempt=attempt, turn=turn, on_divergence=on_divergence)
    session = Session(
        attempt=own,
        rollout="test/replay",
        endpoint=endpoint or world.endpoint,
        limits=limits or Limits(),
        sampling=sampling or Sampling(),
        purpose=purpose,
        delivery=delivery,
        replay=point,
        created_at=now,
        expires_at=now + timedelta(minutes=10),
    )
    await world.log(own).open(session)
    return own


def user(text: str) -> JsonObject:
    """A user's message."""
    return {"role": "user", "content": text}


async def post(
    http: aiohttp.ClientSession,
    world: World,
    attempt: str,
    body: JsonObject,
    path: str = CHAT,
    **headers: str,
) -> tuple[int, JsonObject]:
    """One raw call. Returns the status and the body."""
    headers = {"Authorization": f"Bearer {world.token(attempt)}", **headers}
    url = f"{world.gateway.url}{path}"
    async with http.post(url, data=orjson.dumps(body), headers=headers) as response:
        return response.status, cast(JsonObject, orjson.loads(await response.read()))


async def say(
    http: aiohttp.ClientSession,
    world: World,
    attempt: str,
    messages: Sequence[JsonValue],
    **fields: JsonValue,
) -> JsonObject:
    """One call that is answered. Returns the assistant's message."""
    body: JsonObject = {"model": "m", "messages": [*messages], **fields}
    status, reply = await post(http, world, attempt, body)
    assert status == 200, reply
    choices = cast(list[JsonObject], reply["choices"])
    return cast(JsonObject, choices[0]["message"])


async def talk(
    http: aiohttp.ClientSession, world: World, attempt: str, texts: Sequence[str]
) -> list[str]:
    """A conversation in which the user says these things, one after the other. What is answered."""
    messages: list[JsonValue] = [SYSTEM]
    for text in texts:
        messages.append(user(text))
        messages.append(await say(http, world, attempt, messages))
    said = [message["content"] for message in messages if isinstance(message, dict)]
    return [str(content) for content in said[2::2]]


async def turns(world: World, attempt: str) -> tuple[Turn, ...]:
    """The turns of a sealed session."""
    return (await world.trace(attempt)).turns


def origins(found: Sequence[Turn]) -> list[int | None]:
    """The recorded slot that each turn replays; None: the model was asked."""
    return [None if turn.replayed is None else turn.replayed.slot for turn in found]
