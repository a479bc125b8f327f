"""The official Anthropic client with an evaluation session's token, and raw calls beside it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import anthropic
from anthropic import AsyncAnthropic
from anthropic.types import Message

from rolldock.models.base import JsonObject
from rolldock.models.spec import Delivery, Limits, Purpose, Sampling
from tests.gateway.conftest import World
from tests.gateway.native_bodies import text_block


@asynccontextmanager
async def claude(world: World, attempt: str, retries: int = 2) -> AsyncGenerator[AsyncAnthropic]:
    """The official client with a session's token."""
    async with AsyncAnthropic(
        base_url=world.gateway.url, api_key=world.token(attempt), max_retries=retries
    ) as client:
        yield client


async def evaluated(
    world: World,
    *,
    delivery: Delivery = Delivery.HELD,
    sampling: Sampling | None = None,
    limits: Limits | None = None,
) -> str:
    """Open a session for evaluation. Returns its attempt."""
    return await world.open(
        purpose=Purpose.EVAL, delivery=delivery, sampling=sampling, limits=limits
    )


def said(*blocks: JsonObject | str, role: str = "user") -> JsonObject:
    """A message of blocks, or of one text."""
    if len(blocks) == 1 and isinstance(blocks[0], str):
        return {"role": role, "content": blocks[0]}
    return {"role": role, "content": [text_block(b) if isinstance(b, str) else b for b in blocks]}


async def ask(
    client: AsyncAnthropic, *messages: JsonObject, stream: bool = False, **more: object
) -> Message:
    """One call, streamed or not. Returns the message as the client puts it together."""
    body: dict[str, object] = {"model": "mine", "max_tokens": 4096, "messages": messages, **more}
    path = "/v1/messages"
    if not stream:
        return await client.post(path, cast_to=Message, body=body)
    async with client.messages.stream(
        model="mine",
        max_tokens=4096,
        messages=cast(list[anthropic.types.MessageParam], list(messages)),
        extra_body={key: value for key, value in more.items()},
    ) as events:
        return await events.get_final_message()


def shown(message: Message) -> JsonObject:
    """A message as its client sends it back."""
    blocks = [cast(JsonObject, block.to_dict(mode="json")) for block in message.content]
    return said(*blocks, role="assistant")


def error_of(kind: str, message: str) -> JsonObject:
    """An error as Anthropic writes it."""
    inner: JsonObject = {"type": kind, "message": message}
    return {"type": "error", "error": inner, "request_id": "req_011"}


async def post(
    world: World, attempt: str, raw: bytes, *, path: str = "/v1/messages", key: str | None = None
) -> tuple[int, bytes]:
    """A call as no client makes it. Returns status and body."""
    headers = {
        "x-api-key": world.token(attempt),
        "anthropic-version": "2023-06-01",
    }
    if key is not None:
        headers["Idempotency-Key"] = key
    url = f"{world.gateway.url}{path}"
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=raw, headers=headers) as response,
    ):
        return response.status, await response.read()
