"""Responses requests as the model server gets them, and rebuilt as they were."""

from pathlib import Path
from typing import cast

import aiohttp
import orjson
from openai.types.responses import (
    NamespaceToolParam,
    ResponseInputItemParam,
    ResponseReasoningItem,
)

from rolldock.models.base import JsonObject
from rolldock.models.spec import Sampling
from rolldock.models.turn import Encoding
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan
from tests.gateway.test_responses import (
    DESCRIPTION,
    FUNCTION,
    TOOL,
    call,
    calls_of,
    output,
    sent_back,
    streamed,
    thinking,
    user,
)

WORDS = ("hi", "ho")
PIXEL = "data:image/png;base64,iVBORw0KGgo="
RECORDED = Path(__file__).parent / "recorded" / "codex-0.169.0.json"
"""The third call of a conversation of Codex 0.169.0 with the gateway, `web_search` and goals
switched off; where its marks had the attempt it says ATTEMPT."""


async def test_a_conversation_with_reasoning(world: World) -> None:
    """Reasoning comes back to the model as it wrote it; every byte of the calls can be rebuilt."""
    attempt = await world.open()
    client = world.client(attempt)
    both = [call(0, '{"command": "ls"}'), call(1, '{"command":"pwd"}')]
    world.model.plans += [thinking("First look.", *both), thinking("Enough.", content="Done.")]
    given: list[ResponseInputItemParam] = [{"role": "developer", "content": "x"}, user("go")]
    for _ in range(2):
        response = await client.responses.create(model="m", input=given, tools=[TOOL])
        assert isinstance(response.output[0], ResponseReasoningItem)
        given += sent_back(response)
        given += [output(item.call_id, f"of {item.call_id}") for item in calls_of(response)]
    given.append(user("thanks"))
    await streamed(client, given)
    first, second, third = (call["messages"] for call in world.model.calls)
    assert first == [{"role": "system", "content": "x"}, {"role": "user", "content": "go"}]
    assert isinstance(second, list)
    assert second[2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": both,
            "reasoning_content": "First look.",
        },
        {"role": "tool", "tool_call_id": "call_0", "content": "of call_0"},
        {"role": "tool", "tool_call_id": "call_1", "content": "of call_1"},
    ]
    assert isinstance(third, list)
    assert third[5:] == [
        {"role": "assistant", "content": "Done.", "reasoning_content": "Enough."},
        {"role": "user", "content": "thanks"},
    ]
    turns = (await world.trace(attempt)).turns
    assert [(turn.parent, turn.n_shared) for turn in turns] == [(None, 0), (0, 2), (1, 5)]
    rebuilder = await world.rebuilder(attempt)
    assert [await rebuilder.sent(slot) for slot in range(3)] == world.model.raw
    assert [await rebuilder.reply(slot) for slot in range(3)] == world.model.replies
    assert all([await rebuilder.request(slot) for slot in range(3)])


async def test_as_codex_sends_it(world: World, http: aiohttp.ClientSession) -> None:
    """A recorded conversation of Codex is one branch, with its reasoning, to the byte."""
    attempt = await world.open()
    last: JsonObject = orjson.loads(RECORDED.read_bytes().replace(b"ATTEMPT", attempt.encode()))
    both = [call(n, f'{{"cmd": "echo {word}"}}', "exec_command") for n, word in enumerate(WORDS)]
    again = call(2, '{"cmd": "echo again"}', "exec_command")
    world.model.plans += [
        thinking("First.", *both, content="Let me look."),
        thinking("Second.", again),
    ]
    items = last["input"]
    assert isinstance(items, list)
    url = f"{world.gateway.url}/v1/responses"
    headers = {"Authorization": f"Bearer {world.token(attempt)}"}
    bodies = [orjson.dumps({**last, "input": items[:length]}) for length in (4, 10, 13)]
    delivered: list[bytes] = []
    for body in bodies:
        async with http.post(url, data=body, headers=headers) as response:
            assert response.status == 200
            delivered.append(await response.read())
    turns = (await world.trace(attempt)).turns
    assert [(turn.parent, turn.n_shared) for turn in turns] == [(None, 0), (0, 3), (1, 6)]
    assert {turn.request.encoding for turn in turns} == {Encoding.COMPACT}
    messages = world.model.calls[2]["messages"]
    assert isinstance(messages, list)
    assert messages[3] == {
        "role": "assistant",
        "content": "Let me look.",
        "tool_calls": both,
        "reasoning_content": "First.",
    }
    rebuilder = await world.rebuilder(attempt)
    assert [await rebuilder.request(slot) for slot in range(3)] == bodies
    assert [await rebuilder.sent(slot) for slot in range(3)] == world.model.raw
    assert [await rebuilder.delivered(slot) for slot in range(3)] == delivered


async def test_bytes_come_back(world: World, http: aiohttp.ClientSession) -> None:
    """What was sent and what was delivered is rebuilt to the byte, streamed and not."""
    attempt = await world.open()
    headers = {"Authorization": f"Bearer {world.token(attempt)}"}
    body: JsonObject = {
        "model": "m",
        "input": "é",
        "instructions": "Be brief.",
        "tools": [FUNCTION],
    }
    items: JsonObject = {**body, "input": [{"role": "user", "content": "é"}], "stream": True}
    delivered: list[bytes] = []
    for sent in (body, items):
        url = f"{world.gateway.url}/v1/responses"
        async with http.post(url, data=orjson.dumps(sent), headers=headers) as response:
            assert response.status == 200
            delivered.append(await response.read())
    rebuilder = await world.rebuilder(attempt)
    for slot, sent in enumerate((body, items)):
        assert await rebuilder.request(slot) == orjson.dumps(sent)
        assert await rebuilder.delivered(slot) == delivered[slot]


async def test_repeated_call_ids_and_namespaces(world: World) -> None:
    """A function in a namespace is called by its own name; call ids never repeat."""
    client = world.client(await world.open())
    named = call(0, "{}", "files__read")
    world.model.plans.extend(Plan(content=None, tool_calls=[named]) for _ in range(2))
    files: NamespaceToolParam = {
        "type": "namespace",
        "name": "files",
        "description": "Files.",
        "tools": [{"type": "function", "name": "read"}],
    }
    given = [user("go")]
    seen: list[str] = []
    for _ in range(2):
        response = await client.responses.create(model="m", input=given, tools=[TOOL, files])
        (called,) = calls_of(response)
        assert (called.namespace, called.name) == ("files", "read")
        seen.append(called.call_id)
        given += [*sent_back(response), output(called.call_id, "text")]
    assert len(set(seen)) == 2
    offered = world.model.calls[0]["tools"]
    assert isinstance(offered, list)
    assert offered[1] == {"type": "function", "function": {"name": "files__read"}}
    messages = world.model.calls[1]["messages"]
    assert isinstance(messages, list)
    assert messages[1] == {"role": "assistant", "content": None, "tool_calls": [named]}


async def test_system_messages(world: World) -> None:
    """Those at the beginning become one system message, later ones become the user's."""
    client = world.client(await world.open())
    given: list[ResponseInputItemParam] = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "input_text", "text": "b"}]},
        user("go"),
        {"role": "assistant", "content": "gone"},
        {"role": "developer", "content": "c"},
    ]
    await client.responses.create(model="m", instructions="Be brief.", input=given)
    assert world.model.calls[0]["messages"] == [
        {"role": "system", "content": "Be brief.\n\na\n\nb"},
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "gone"},
        {"role": "user", "content": "c"},
    ]


async def test_images(world: World) -> None:
    """Images of the user's stay in their message; those of tools follow all results."""
    client = world.client(await world.open())
    image: JsonObject = {"type": "input_image", "image_url": PIXEL, "detail": "high"}
    shown: JsonObject = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "high"}}
    text: JsonObject = {"type": "input_text", "text": "look"}
    given: list[JsonObject] = [
        {"role": "user", "content": [text, image]},
        *({"type": "function_call", "call_id": c, "name": "s", "arguments": "{}"} for c in "ab"),
        {"type": "function_call_output", "call_id": "a", "output": [text, image]},
        {"type": "function_call_output", "call_id": "b", "output": "none"},
    ]
    await client.responses.create(model="m", input=cast(list[ResponseInputItemParam], given))
    messages = world.model.calls[0]["messages"]
    assert isinstance(messages, list)
    assert messages[0] == {"role": "user", "content": [{"type": "text", "text": "look"}, shown]}
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "look\n[image: see below]"},
        {"role": "tool", "tool_call_id": "b", "content": "none"},
        {"role": "user", "content": [{"type": "text", "text": "Image of tool result a:"}, shown]},
    ]


async def test_options(world: World) -> None:
    """What chat completions know is passed on under their names; hints are dropped."""
    client = world.client(await world.open(sampling=Sampling(temperature=0.5)))
    schema: dict[str, object] = {"type": "object", "properties": {}}
    response = await client.responses.create(
        model="m",
        input="hi",
        tools=[TOOL],
        tool_choice={"type": "function", "name": "shell"},
        parallel_tool_calls=False,
        max_output_tokens=50,
        temperature=1,
        top_p=0.9,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "s", "schema": schema}, "verbosity": "low"},
        prompt_cache_key="k",
        metadata={"a": "b"},
    )
    sent = {key: value for key, value in world.model.calls[0].items() if key != "messages"}
    assert sent == {
        "model": "served-model",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 50,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
        "tools": [{"type": "function", "function": DESCRIPTION}],
        "tool_choice": {"type": "function", "function": {"name": "shell"}},
        "parallel_tool_calls": False,
    }
    assert response.metadata == {"a": "b"}
    assert response.temperature == 0.5
