"""Chat completions through the gateway, with the official client."""

import asyncio

import orjson
from openai import omit
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from rolldock.models.base import JsonObject
from rolldock.models.spec import Sampling
from rolldock.store.endpoints import encrypt_key
from tests.gateway.conftest import SECRET, World
from tests.gateway.model_server import Plan

TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "shell", "parameters": {"type": "object", "properties": {}}},
}
CALL: JsonObject = {
    "id": "call_0",
    "type": "function",
    "function": {"name": "shell", "arguments": '{"command":"ls"}'},
}


def user(text: str) -> ChatCompletionMessageParam:
    """A user's message."""
    return {"role": "user", "content": text}


async def test_whole_reply(world: World) -> None:
    """A call that does not stream gets the reply under the asked name and a fresh id."""
    attempt = await world.open()
    client = world.client(attempt)
    first = await client.chat.completions.create(model="mine", messages=[user("hi")])
    second = await client.chat.completions.create(model="mine", messages=[user("ho")])
    assert first.choices[0].message.content == "Hello there."
    assert first.model == "mine"
    assert first.id != second.id
    assert first.usage is not None
    assert first.usage.prompt_tokens == 10
    assert world.model.calls[0]["model"] == "served-model"
    await world.delivered(attempt, 0, 1)


async def test_streamed_reply(world: World) -> None:
    """A held stream brings role, text, finish reason and, when asked for, usage."""
    client = world.client(await world.open())
    stream = await client.chat.completions.create(
        model="mine", messages=[user("hi")], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "Hello there."
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert {chunk.model for chunk in chunks} == {"mine"}
    assert "stream" not in world.model.calls[0]


async def test_stream_without_usage(world: World) -> None:
    """Usage that was not asked for is not sent."""
    client = world.client(await world.open())
    stream = await client.chat.completions.create(model="m", messages=[user("hi")], stream=True)
    assert all(chunk.usage is None for chunk in [chunk async for chunk in stream])


async def test_tools_in_both_forms(world: World) -> None:
    """Tool calls arrive whole and streamed, and their ids never repeat within a conversation."""
    client = world.client(await world.open())
    world.model.plans.extend(Plan(content=None, tool_calls=[CALL]) for _ in range(2))
    whole = await client.chat.completions.create(model="m", messages=[user("go")], tools=[TOOL])
    calls = whole.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.arguments == '{"command":"ls"}'
    answered: list[ChatCompletionMessageParam] = [
        user("go"),
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": calls[0].id,
                    "type": "function",
                    "function": {"name": "shell", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": calls[0].id, "content": "a.txt"},
    ]
    stream = await client.chat.completions.create(
        model="m", messages=answered, tools=[TOOL], stream=True
    )
    deltas = [c.choices[0].delta async for c in stream if c.choices]
    streamed = [call for delta in deltas for call in delta.tool_calls or []]
    assert streamed[0].function is not None
    assert streamed[0].function.name == "shell"
    assert streamed[0].id != calls[0].id


async def test_sampling_is_the_sessions(world: World) -> None:
    """The session's sampling wins, the token limit is the least of all, the key goes upstream."""
    await world.add_endpoint(api_key=encrypt_key(SECRET, "sk-upstream"))
    sampling = Sampling(temperature=0.5, top_k=20, max_tokens=100, seed=7)
    attempt = await world.open(sampling=sampling)
    client = world.client(attempt)
    await client.chat.completions.create(
        model="m", messages=[user("hi")], temperature=0, max_completion_tokens=50, top_p=0.9
    )
    sent = world.model.calls[0]
    assert (sent["temperature"], sent["top_k"], sent["seed"], sent["top_p"]) == (0.5, 20, 7, 0.9)
    assert sent["max_completion_tokens"] == 50
    assert "max_tokens" not in sent
    assert world.model.headers[0]["Authorization"] == "Bearer sk-upstream"
    turn = (await world.trace(attempt)).turns[0]
    assert turn.sampling["temperature"] == 0.5


async def test_policy_version_of_a_turn(world: World) -> None:
    """A turn is stamped with the policy at its start and at its end, and a paused one waits."""
    await world.add_endpoint(policy_version="7")
    attempt = await world.open()
    client = world.client(attempt)
    gate = asyncio.Event()
    world.model.plans.append(Plan(gate=gate))
    asked = asyncio.create_task(
        client.chat.completions.create(model="m", messages=[user("hi")]), name="asked"
    )
    await world.model.arrived(1)
    await world.add_endpoint(policy_version="8", paused=True)
    gate.set()
    await asked
    waits = asyncio.create_task(client.chat.completions.create(model="m", messages=[user("ho")]))
    claimed = world.log(attempt)
    while await claimed.read_claim(1) is None:
        await asyncio.sleep(0.01)
    assert len(world.model.calls) == 1
    await world.add_endpoint(policy_version="9")
    await waits
    turns = (await world.trace(attempt)).turns
    assert [(t.policy_version_start, t.policy_version_end) for t in turns] == [
        ("7", "8"),
        ("9", "9"),
    ]


async def test_branches(world: World) -> None:
    """A turn's parent is the longest match; a branch from an earlier turn is found too."""
    attempt = await world.open()
    client = world.client(attempt)
    world.model.plans.extend(Plan(content=f"answer {n}") for n in range(4))

    async def ask(*messages: ChatCompletionMessageParam) -> None:
        await client.chat.completions.create(model="m", messages=messages)

    root = user("start")
    first: ChatCompletionMessageParam = {
        "role": "assistant",
        "content": [{"type": "text", "text": "answer 0 "}],
    }
    second: ChatCompletionMessageParam = {"role": "assistant", "content": "answer 1"}
    await ask(root)
    await ask(root, first, user("one"))
    await ask(root, first, user("one"), second, user("two"))
    await ask(root, first, user("other"))
    turns = (await world.trace(attempt)).turns
    assert [turn.parent for turn in turns] == [None, 0, 1, 0]
    assert [turn.n_shared for turn in turns] == [0, 1, 3, 1]
    assert [len(turn.messages) for turn in turns] == [1, 2, 2, 2]


async def test_token_ids_are_recorded_and_hidden(world: World) -> None:
    """Ids are asked for, stored along `extends`, rebuilt, and never shown to the agent."""
    await world.add_endpoint(token_ids=True)
    attempt = await world.open()
    prompts = ([1, 2, 3], [1, 2, 3, 4, 5, 6, 7], [9, 9])
    for prompt in prompts:
        logprobs: JsonObject = {"content": [{"token": "x", "logprob": -1e-7} for _ in range(2)]}
        choice: JsonObject = {"token_ids": [4, 5], "logprobs": logprobs}
        extra: JsonObject = {"prompt_token_ids": [*prompt]}
        world.model.plans.append(
            Plan(extra=extra, choice=choice, input_tokens=len(prompt), output_tokens=2)
        )
    client = world.client(attempt)
    reply = await client.chat.completions.create(model="m", messages=[user("a")])
    for text in ("b", "c"):
        await client.chat.completions.create(model="m", messages=[user(text)])
    assert reply.choices[0].logprobs is None
    assert "prompt_token_ids" not in (reply.model_extra or {})
    assert world.model.calls[0]["return_token_ids"] is True
    turns = (await world.trace(attempt)).turns
    tokens = [turn.tokens for turn in turns]
    assert all(found is not None for found in tokens)
    assert [found.extends for found in tokens if found] == [None, 0, None]
    assert [found.prompt_ids for found in tokens if found] == [(1, 2, 3), (6, 7), (9, 9)]
    rebuilder = await world.rebuilder(attempt)
    assert [await rebuilder.reply(slot) for slot in range(3)] == world.model.replies
    whole = rebuilder.tokens(1)
    assert whole is not None
    assert list(whole.prompt_ids) == prompts[1]


async def test_models(world: World) -> None:
    """The list of models is the session's one."""
    client = world.client(await world.open())
    assert [found.id async for found in client.models.list()] == ["served-model"]


async def test_many_sessions_at_once(world: World) -> None:
    """32 sessions of three turns each, at once: every trace is whole and its own."""

    async def run(number: int) -> None:
        attempt = await world.open()
        client = world.client(attempt)
        messages: list[ChatCompletionMessageParam] = [user(f"session {number}")]
        for _ in range(3):
            reply = await client.chat.completions.create(model="m", messages=messages)
            messages.append({"role": "assistant", "content": reply.choices[0].message.content})
            messages.append(user("more"))
        rebuilder = await world.rebuilder(attempt)
        assert rebuilder.messages(2)[0] == {"role": "user", "content": f"session {number}"}
        assert [turn.parent for turn in (await world.trace(attempt)).turns] == [None, 0, 1]

    await asyncio.gather(*(run(number) for number in range(32)))


async def test_what_went_out_can_be_rebuilt(world: World) -> None:
    """Request, sent body and reply of the official client come back from the trace byte for byte,
    streamed or not."""
    attempt = await world.open()
    client = world.client(attempt)
    history: list[ChatCompletionMessageParam] = []
    for number in range(3):
        history.append(user(f"grüß {number} \u2028"))
        answered = await client.chat.completions.create(
            model="m",
            messages=history,
            tools=[TOOL],
            temperature=0.7,
            stream=False if number != 1 else omit,
        )
        history.append({"role": "assistant", "content": answered.choices[0].message.content})
    stream = await client.chat.completions.create(model="m", messages=history, stream=True)
    async for _ in stream:
        pass
    rebuilder = await world.rebuilder(attempt)
    for slot in range(4):
        request = orjson.loads(await rebuilder.request(slot))
        assert len(request["messages"]) == len(rebuilder.messages(slot))
        assert await rebuilder.sent(slot) == world.model.raw[slot]
        assert await rebuilder.reply(slot) == world.model.replies[slot]
        assert await rebuilder.delivered(slot) is not None
