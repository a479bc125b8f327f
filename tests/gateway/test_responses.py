"""OpenAI Responses through the gateway, with the official client."""

import asyncio
from typing import cast

import pytest
from openai import AsyncOpenAI, BadRequestError
from openai.types.responses import (
    FunctionToolParam,
    Response,
    ResponseCompletedEvent,
    ResponseErrorEvent,
    ResponseFailedEvent,
    ResponseFunctionToolCall,
    ResponseIncompleteEvent,
    ResponseInputItemParam,
    ResponseStreamEvent,
)

from rolldock.models.base import JsonObject
from rolldock.models.session import EndReason
from rolldock.models.spec import Limits
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan

DESCRIPTION: JsonObject = {
    "name": "shell",
    "description": "Run a command.",
    "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
    "strict": True,
}
FUNCTION: JsonObject = {"type": "function", **DESCRIPTION}
TOOL = cast(FunctionToolParam, FUNCTION)


def call(number: int, arguments: str, name: str = "shell") -> JsonObject:
    """A tool call as a chat model server writes it."""
    function: JsonObject = {"name": name, "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


def thinking(reasoning: str, *calls: JsonObject, content: str | None = None) -> Plan:
    """A reply with reasoning."""
    message: JsonObject = {
        "role": "assistant",
        "content": content,
        "reasoning_content": reasoning,
        "tool_calls": [*calls],
    }
    return Plan(choice={"message": message, "finish_reason": "tool_calls" if calls else "stop"})


def user(text: str) -> ResponseInputItemParam:
    """A user's message."""
    return {"role": "user", "content": text}


def output(call_id: str, text: str) -> ResponseInputItemParam:
    """A tool's result."""
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def sent_back(response: Response) -> list[ResponseInputItemParam]:
    """The items of a response as its client sends them back."""
    return [cast(ResponseInputItemParam, item.model_dump()) for item in response.output]


def calls_of(response: Response) -> list[ResponseFunctionToolCall]:
    """The function calls of a response."""
    return [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]


async def streamed(
    client: AsyncOpenAI, given: list[ResponseInputItemParam]
) -> list[ResponseStreamEvent]:
    """All events of a streamed call."""
    stream = await client.responses.create(model="mine", input=given, tools=[TOOL], stream=True)
    return [event async for event in stream]


async def test_whole_reply(world: World) -> None:
    """A call that does not stream gets the text, the usage and ids of its own."""
    usage: JsonObject = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    world.model.plans.append(Plan(extra={"usage": usage}))
    attempt = await world.open()
    client = world.client(attempt)
    first = await client.responses.create(model="mine", input="hi", instructions="Be brief.")
    second = await client.responses.create(model="mine", input="ho", store=False)
    assert first.output_text == "Hello there."
    assert (first.status, first.model) == ("completed", "mine")
    assert first.usage is not None
    assert (first.usage.input_tokens, first.usage.total_tokens) == (10, 15)
    assert first.usage.input_tokens_details.cached_tokens == 4
    assert first.usage.output_tokens_details.reasoning_tokens == 3
    assert first.id.startswith("resp_")
    assert first.id != second.id
    assert first.output[0].id != second.output[0].id
    assert world.model.calls[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    await world.delivered(attempt, 0, 1)


async def test_streamed_reply(world: World) -> None:
    """A stream brings reasoning, text and calls piece by piece, numbered, and the whole at last."""
    long = "word " * 4000
    world.model.plans.append(thinking("Let me see.", call(0, "{}"), content=long))
    events = await streamed(world.client(await world.open()), [user("go")])
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 3,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == long
    last = events[-1]
    assert isinstance(last, ResponseCompletedEvent)
    assert last.response.output_text == long
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert done == last.response.output
    assert "stream" not in world.model.calls[0]


async def test_the_clients_own_stream_helper(world: World) -> None:
    """The official client puts a stream together to the response that it would have got whole."""
    client = world.client(await world.open())
    world.model.plans.append(thinking("Hm.", call(0, '{"command":"ls"}'), content="Now."))
    async with client.responses.stream(model="m", input="go", tools=[TOOL]) as stream:
        final = await stream.get_final_response()
    assert final.output_text == "Now."
    assert [called.arguments for called in calls_of(final)] == ['{"command":"ls"}']


async def test_a_cut_reply_is_incomplete(world: World) -> None:
    """A reply that ran into the token limit says so, whole and streamed."""
    client = world.client(await world.open())
    world.model.plans.extend(Plan(choice={"finish_reason": "length"}) for _ in range(2))
    whole = await client.responses.create(model="m", input="hi")
    assert whole.status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    last = (await streamed(client, [user("hi")]))[-1]
    assert isinstance(last, ResponseIncompleteEvent)
    assert last.response.output_text == "Hello there."


async def test_an_error_after_the_hold(world: World) -> None:
    """In a stream that has begun an error comes as `error` and as `response.failed`."""
    client = world.client(await world.open(hold_seconds=0.05))
    gate = asyncio.Event()
    world.model.plans.append(Plan(gate=gate, extra={"choices": []}))
    stream = await client.responses.create(model="m", input="hi", stream=True)
    gate.set()
    error, failed = [event async for event in stream]
    assert isinstance(error, ResponseErrorEvent)
    assert isinstance(failed, ResponseFailedEvent)
    assert failed.response.error is not None
    assert "without a chat completion" in error.message == failed.response.error.message


async def test_the_model_servers_refusal(world: World) -> None:
    """What the model server refuses is refused in its words; an overflow under its own code."""
    client = world.client(await world.open())
    error: JsonObject = {"error": {"message": "too long: maximum context length is 5", "code": 400}}
    world.model.plans.append(Plan(status=400, error=error))
    with pytest.raises(BadRequestError, match="maximum context length") as refused:
        await client.responses.create(model="m", input="hi")
    assert refused.value.code == "context_length_exceeded"


async def test_a_reached_budget(world: World) -> None:
    """A reached budget is one error that no client retries."""
    client = world.client(await world.open(limits=Limits(max_turns=1)))
    await client.responses.create(model="m", input="hi")
    with pytest.raises(BadRequestError, match="rollout stopped") as refused:
        await streamed(client, [user("ho")])
    assert refused.value.code == EndReason.MAX_TURNS.value
    assert len(world.model.calls) == 1
