"""Conversations in Anthropic's format: reasoning that comes back, bytes, deaths of the gateway."""

import asyncio
from pathlib import Path
from typing import cast

import aiohttp
import orjson
import pytest
from anthropic import BadRequestError
from anthropic.types import MessageParam, ThinkingBlock, ToolUseBlock
from pydantic import JsonValue

from rolldock.models.base import JsonObject
from rolldock.models.session import TurnClaim
from tests.eventually import eventually
from tests.gateway.conftest import World, is_alive
from tests.gateway.model_server import Plan
from tests.gateway.test_anthropic import (
    TOOL,
    ask,
    call,
    claude,
    result,
    saying,
    sent_messages,
    user,
    words,
)

RECORDED = Path(__file__).parent / "recorded" / "claude-code-2.1.197.json"
"""Three requests of one run; long texts are cut, all tools but two left out."""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
async def test_reasoning_comes_back_from_the_log(world: World, stream: bool, key: str) -> None:
    """Reasoning is a thinking block whose signature names its turn; what the agent makes of the
    text does not matter, the model server gets its own words under its own key."""
    attempt = await world.open()
    world.model.plans.append(saying(**{key: "Hm, let me see."}))
    async with claude(world, attempt) as client:
        first = await ask(client, user("hi"), stream=stream)
        thinking = first.content[0]
        assert isinstance(thinking, ThinkingBlock)
        assert thinking.thinking == "Hm, let me see."
        assert thinking.signature == f"rolldock:{attempt}:0"
        thinking.thinking = "something else"
        await ask(client, user("hi"), first.to_param(), user("on"))
        # An agent may join the blocks of two turns in one message.
        second: MessageParam = {"role": "assistant", "content": [*first.content, *first.content]}
        await ask(client, user("hi"), second, user("on"))
    own: JsonObject = {"role": "assistant", "content": "done", key: "Hm, let me see."}
    assert sent_messages(world, 1)[1] == own
    assert sent_messages(world, 2)[1:3] == [own, own]
    assert (await world.trace(attempt)).turns[1].parent == 0


async def test_foreign_reasoning(world: World) -> None:
    """Reasoning with another's signature, or of another session, is a 400 that names it."""
    attempt = await world.open()
    async with claude(world, attempt) as client:
        for signature in ("EqQBCgIYAhIM", "rolldock:other:0", f"rolldock:{attempt}:7"):
            thought: MessageParam = {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "?", "signature": signature}],
            }
            with pytest.raises(BadRequestError) as caught:
                await ask(client, user("hi"), thought, user("on"))
            assert "messages[1].content[0].signature" in caught.value.message
            assert signature in caught.value.message
    assert world.model.calls == []
    assert await world.log(attempt).read_claim(0) is None


async def test_every_byte_can_be_rebuilt(world: World) -> None:
    """Request, sent body, reply and delivered body come back from the trace byte for byte: cache
    marks that wander, changing system prompts, reasoning and tools included."""
    attempt = await world.open()
    headers = {"x-api-key": world.token(attempt)}
    raws, delivered = list[bytes](), list[bytes]()
    history: list[JsonValue] = []
    async with aiohttp.ClientSession() as http:
        for number in range(5):
            world.model.plans.append(saying(reasoning_content=f"thought {number}"))
            mark: JsonObject = {"type": "ephemeral"}
            asked: JsonObject = {"type": "text", "text": f"grüß {number} \u2028"}
            asking: JsonObject = {"role": "user", "content": [{**asked, "cache_control": mark}]}
            body: JsonObject = {
                "stream": number % 2 == 1,
                "system": "Be brief." if number != 3 else "Be long.",
                "messages": [*history, asking],
                "tools": [cast(JsonObject, TOOL)],
                "model": "mine",
                "max_tokens": 9,
            }
            raws.append(orjson.dumps(body) + (b"\n" if number == 4 else b""))
            url = f"{world.gateway.url}/v1/messages?beta=true"
            async with http.post(url, data=raws[-1], headers=headers) as response:
                assert response.status == 200
                delivered.append(await response.read())
            thought: JsonObject = {
                "type": "thinking",
                "thinking": "",
                "signature": f"rolldock:{attempt}:{number}",
            }
            said: JsonObject = {"type": "text", "text": "done"}
            history += [
                cast(JsonValue, {"role": "user", "content": [asked]}),
                cast(JsonValue, {"role": "assistant", "content": [thought, said]}),
            ]
    rebuilder = await world.rebuilder(attempt)
    turns = (await world.trace(attempt)).turns
    assert [turn.native.n_shared for turn in turns if turn.native] == [0, 0, 2, 0, 4]
    assert [turn.parent for turn in turns] == [None, 0, 1, None, 2]
    for slot in range(5):
        assert await rebuilder.request(slot) == raws[slot]
        assert await rebuilder.sent(slot) == world.model.raw[slot]
        assert await rebuilder.reply(slot) == world.model.replies[slot]
        assert await rebuilder.delivered(slot) == delivered[slot]
        assert rebuilder.native(slot) == orjson.loads(raws[slot])["messages"]
    assert rebuilder.messages(4) == sent_messages(world, 4)


async def test_what_claude_code_sends(world: World) -> None:
    """A recorded conversation of Claude Code is one branch, with its reasoning, to the byte."""
    attempt = await world.open()
    two: list[JsonValue] = [
        {**call(n, "{}"), "function": {"name": "Bash", "arguments": arguments}}
        for n, arguments in enumerate(
            f'{{"command": "echo {word}", "description": "x"}}' for word in ("one", "two")
        )
    ]
    one: JsonObject = {
        "name": "Bash",
        "arguments": '{"command":"ls /nonexistent","description":"x"}',
    }
    world.model.plans.extend(
        [
            saying(content="Let me look.", reasoning_content="Hm, ls.", tool_calls=two),
            saying(
                content=None,
                reasoning_content="Hm, again.",
                tool_calls=[{"id": "call_0", "type": "function", "function": one}],
            ),
            saying(reasoning_content="I think so."),
        ]
    )
    written = RECORDED.read_text().replace("ATTEMPT", attempt)
    raws = [orjson.dumps(body) for body in orjson.loads(written)]
    headers = {"Authorization": f"Bearer {world.token(attempt)}"}
    async with aiohttp.ClientSession() as http:
        for raw in raws:
            url = f"{world.gateway.url}/v1/messages?beta=true"
            async with http.post(url, data=raw, headers=headers) as response:
                assert response.status == 200, await response.text()
                assert b"event: message_stop" in await response.read()
    assert [turn.parent for turn in (await world.trace(attempt)).turns] == [None, 0, 1]
    rebuilder = await world.rebuilder(attempt)
    for slot in range(3):
        assert await rebuilder.request(slot) == raws[slot]
        assert await rebuilder.sent(slot) == world.model.raw[slot]
    sent = sent_messages(world, 2)
    roles = ["system", "user", "assistant", "tool", "tool", "assistant", "tool"]
    assert [message["role"] for message in sent] == roles
    assert [sent[n]["reasoning_content"] for n in (2, 5)] == ["Hm, ls.", "Hm, again."]
    assert sent[2]["tool_calls"] == two


async def test_kill_in_a_held_call(own_world: World) -> None:
    """kill -9 of the child in a held call: the client's own retry gets the turn, once."""
    attempt = await own_world.open()
    gate = asyncio.Event()
    own_world.model.plans.extend([Plan(gate=gate), Plan(content="after the kill")])
    async with claude(own_world, attempt) as client:
        asked = asyncio.create_task(ask(client, user("hi"), stream=True))
        await own_world.model.arrived(1)
        own_world.gateway.kill_child()
        reply = await asked
    gate.set()
    assert words(reply.content[0]) == "after the kill"
    await own_world.delivered(attempt, 0)
    assert [turn.slot for turn in (await own_world.trace(attempt)).turns] == [0]
    takeover = await own_world.log(attempt).read_claim(0, takeover=2)
    assert isinstance(takeover, TurnClaim)
    assert not takeover.assumed_retry


async def test_kill_between_turns(own_world: World) -> None:
    """The next gateway process knows parents, reasoning and arguments from the log alone."""
    attempt = await own_world.open()
    plan = saying(reasoning="Hm.", content=None, tool_calls=[call(0, '{"command": "ls"}')])
    own_world.model.plans.append(plan)
    async with claude(own_world, attempt) as client:
        first = await ask(client, user("hi"), tools=True)
        await own_world.delivered(attempt, 0)
        killed = own_world.gateway.kill_child()
        await eventually(lambda: not is_alive(killed))
        use = first.content[1]
        assert isinstance(use, ToolUseBlock)
        await ask(client, user("hi"), first.to_param(), user(result(use, "a")), tools=True)
    sent = sent_messages(own_world, 1)[1]
    assert sent["reasoning"] == "Hm."
    calls = cast(list[JsonObject], sent["tool_calls"])
    assert cast(JsonObject, calls[0]["function"])["arguments"] == '{"command": "ls"}'
    rebuilder = await own_world.rebuilder(attempt)
    assert await rebuilder.sent(1) == own_world.model.raw[1]
    turns = (await own_world.trace(attempt)).turns
    assert [(turn.parent, turn.n_shared) for turn in turns] == [(None, 0), (0, 1)]
    assert [turn.native.n_shared for turn in turns if turn.native] == [0, 1]
