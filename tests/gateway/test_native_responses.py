"""OpenAI Responses passed through to a server that speaks them, with the official client."""

from typing import Any, cast

import openai
import orjson
import pytest
from openai.types.responses import Response

from rolldock.models.base import JsonObject
from rolldock.models.session import TurnError
from rolldock.models.spec import Delivery, Limits, Sampling
from tests.gateway.conftest import World
from tests.gateway.native_bodies import NativePlan, output_text
from tests.gateway.native_client import evaluated, post
from tests.gateway.native_server import KEY, NativeServer

REASONING: JsonObject = {
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Look first."}],
    "encrypted_content": "gAAAAABo",
}
SEARCH: JsonObject = {
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "weather in Oslo"},
}
CALL: JsonObject = {
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "shell",
    "arguments": '{"command": "ls"}',
}
FREEFORM: JsonObject = {
    "type": "custom_tool_call",
    "status": "completed",
    "call_id": "call_2",
    "name": "apply_patch",
    "input": "*** Begin Patch",
}
TOOLS: list[JsonObject] = [
    {"type": "function", "name": "shell", "parameters": {"type": "object"}, "strict": False},
    {"type": "web_search"},
    {"type": "custom", "name": "apply_patch", "format": {"type": "text"}},
]


def user(text: str) -> JsonObject:
    """A user's message, as Codex writes it."""
    part: JsonObject = {"type": "input_text", "text": text}
    return {"type": "message", "role": "user", "content": [part]}


async def ask(
    world: World, attempt: str, given: object, *, stream: bool = False, **more: object
) -> Response:
    """One call, streamed or not. Returns the response as the client puts it together."""
    client = world.client(attempt, max_retries=0)
    fields: dict[str, Any] = {"model": "mine", "input": given, **more}
    if not stream:
        return cast(Response, await client.responses.create(**fields))
    async with client.responses.stream(**fields) as events:
        return await events.get_final_response()


def items_of(response: Response) -> list[JsonObject]:
    """What the model wrote, as an agent that lets nothing be stored sends it back."""
    found = [cast(JsonObject, item.to_dict(mode="json")) for item in response.output]
    return [{key: item[key] for key in item if key not in ("id", "status")} for item in found]


@pytest.mark.parametrize("delivery", list(Delivery))
@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply(
    world: World, native: NativeServer, stream: bool, delivery: Delivery
) -> None:
    """The server gets the agent's body with another model and its own key; the agent gets the
    server's response, id and all; the trace gives all four bodies again."""
    attempt = await evaluated(world, delivery=delivery)
    reply = await ask(world, attempt, "hi", stream=stream, instructions="Be brief.")
    assert reply.output_text == "Hello there."
    assert (reply.model, reply.id[:5]) == ("served-model-2026-01-01", "resp_")
    got = native.calls[0]
    assert (got.path, got.headers["authorization"]) == ("/v1/responses", f"Bearer {KEY}")
    assert world.token(attempt) not in str(got.headers)
    await world.delivered(attempt, 0)
    turn = (await world.trace(attempt)).turns[0]
    assert (turn.upstream, turn.finish_reason) == ("openai.responses", "stop")
    assert turn.message == {"role": "assistant", "content": "Hello there."}
    assert (turn.usage.input_tokens, turn.usage.cached_tokens) == (60, 30)
    assert turn.delivered_digest == turn.reply.digest
    again = await world.rebuilder(attempt)
    request = await again.request(0)
    assert request.replace(b'"mine"', b'"served-model"') == await again.sent(0) == got.raw
    assert await again.reply(0) == await again.delivered(0) == native.sent[0]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_chat_cannot_say(world: World, native: NativeServer, stream: bool) -> None:
    """Hosted and freeform tools and encrypted reasoning go both ways as they are; the next request
    finds its parent though the agent leaves out the items' ids."""
    attempt = await evaluated(world)
    native.plans.append(
        NativePlan(content=[REASONING, SEARCH, output_text("Now."), CALL, FREEFORM])
    )
    asked: dict[str, object] = {"tools": TOOLS, "store": False}
    first = await ask(world, attempt, [user("go")], stream=stream, **asked)
    assert [item.type for item in first.output] == [
        *("reasoning", "web_search_call", "message", "function_call", "custom_tool_call")
    ]
    results: list[JsonObject] = [
        {"type": "function_call_output", "call_id": "call_1", "output": "a.txt"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Done."},
    ]
    given = [user("go"), *items_of(first), *results]
    await ask(world, attempt, given, stream=stream, **asked)
    sent = cast(list[JsonObject], native.calls[1].body["input"])
    assert sent[1]["encrypted_content"] == "gAAAAABo"
    assert sent[2]["type"] == "web_search_call"
    one, two = (await world.trace(attempt)).turns
    assert (one.finish_reason, two.parent) == ("tool_calls", 0)
    assert one.message["reasoning_content"] == "Look first."
    calls = cast(list[JsonObject], one.message["tool_calls"])
    assert calls[1] == {
        "id": "call_2",
        "type": "custom",
        "custom": {"name": "apply_patch", "input": "*** Begin Patch"},
    }
    assert [cast(JsonObject, message)["role"] for message in two.messages] == [
        *("assistant", "tool", "tool")
    ]
    again = await world.rebuilder(attempt)
    assert await again.sent(1) == native.calls[1].raw
    assert await again.reply(1) == native.sent[1]


async def test_what_the_server_keeps(world: World, native: NativeServer) -> None:
    """A request that continues a response by its id has that response's turn as its parent."""
    attempt = await evaluated(world)
    first = await ask(world, attempt, "hi", stream=True)
    second = await ask(world, attempt, "on", previous_response_id=first.id)
    await ask(world, attempt, "off", previous_response_id=first.id)
    await ask(world, attempt, "on", previous_response_id=second.id)
    turns = (await world.trace(attempt)).turns
    assert [turn.parent for turn in turns] == [None, 0, 0, 1]
    assert native.calls[1].body["previous_response_id"] == first.id
    assert await (await world.rebuilder(attempt)).sent(3) == native.calls[3].raw


async def test_limits_and_sampling(world: World, native: NativeServer) -> None:
    """The least token limit counts, also where the agent names none; an answer that reached it says
    so."""
    attempt = await evaluated(world, sampling=Sampling(temperature=0.5, max_tokens=50))
    native.plans.append(NativePlan(content=[output_text("cut")], stop_reason="max_output_tokens"))
    reply = await ask(world, attempt, "hi")
    assert reply.status == "incomplete"
    await ask(world, attempt, "ho", max_output_tokens=40)
    limits = [call.body["max_output_tokens"] for call in native.calls]
    assert (limits, native.calls[0].body["temperature"]) == ([50, 40], 0.5)
    turns = (await world.trace(attempt)).turns
    assert [turn.finish_reason for turn in turns] == ["length", "stop"]
    assert turns[0].sampling == {"max_output_tokens": 50, "temperature": 0.5}


async def test_a_limit_that_is_too_low(world: World, native: NativeServer) -> None:
    """Less than the fewest tokens that OpenAI lets be asked for is asked for as those."""
    attempt = await evaluated(world, limits=Limits(max_output_tokens=3))
    await ask(world, attempt, "hi")
    assert native.calls[0].body["max_output_tokens"] == 16


def failed(code: str, message: str) -> JsonObject:
    """The event of a response that failed."""
    error: JsonObject = {"code": code, "message": message}
    response: JsonObject = {"id": "resp_f", "object": "response", "status": "failed"}
    return {"type": "response.failed", "response": {**response, "error": error, "output": []}}


@pytest.mark.parametrize("delivery", list(Delivery))
async def test_a_failed_response(world: World, native: NativeServer, delivery: Delivery) -> None:
    """A failure that may pass is asked for again; another is an error in the server's words."""
    attempt = await evaluated(world, delivery=delivery)
    native.plans.extend(
        [
            NativePlan(early_error=failed("rate_limit_exceeded", "Slow down.")),
            NativePlan(content=[output_text("fine")]),
            NativePlan(early_error=failed("context_length_exceeded", "It is too long.")),
        ]
    )
    assert (await ask(world, attempt, "hi", stream=True)).output_text == "fine"
    with pytest.raises(openai.BadRequestError, match=r"It is too long\.") as refused:
        await ask(world, attempt, "ho", stream=True)
    assert refused.value.code == "context_length_exceeded"
    recorded = await world.log(attempt).reply(1)
    assert isinstance(recorded, TurnError)
    assert recorded.context_overflow
    assert len(native.calls) == 3


@pytest.mark.parametrize("plan", [NativePlan(cut=True), NativePlan(ends_early=True)])
async def test_a_cut_stream(world: World, native: NativeServer, plan: NativePlan) -> None:
    """A live stream that the server cuts, even cleanly, is an error to the agent."""
    attempt = await evaluated(world, delivery=Delivery.LIVE)
    plan.content = [output_text("Hello there.")]
    native.plans.append(plan)
    client = world.client(attempt, max_retries=0)
    kinds: list[str] = []
    async for event in await client.responses.create(model="m", input="hi", stream=True):
        kinds.append(event.type)
    assert "response.output_text.delta" in kinds
    assert kinds[-2:] == ["error", "response.failed"]
    assert isinstance(await world.log(attempt).reply(0), TurnError)


async def test_no_background(world: World, native: NativeServer) -> None:
    """A response in the background would come past the session: it is refused by name."""
    attempt = await evaluated(world)
    body: JsonObject = {"model": "m", "input": "hi", "background": True}
    status, said = await post(world, attempt, orjson.dumps(body), path="/v1/responses")
    assert status == 400
    assert b"background" in said
    assert not native.calls
