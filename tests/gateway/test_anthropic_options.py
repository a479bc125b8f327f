"""What an Anthropic request asks for beside its conversation, and what costs no turn."""

import pytest
from anthropic import BadRequestError
from anthropic.types import MessageParam

from rolldock.models.base import JsonObject
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan
from tests.gateway.test_anthropic import TOOL, ask, claude, sent_messages, user


async def test_options(world: World) -> None:
    """System blocks, tool choice, stop sequences and sampling have their place in chat; what is
    for the vendor's machines is left out."""
    async with claude(world, await world.open()) as client:
        world.model.plans.append(Plan(choice={"stop_reason": "###"}))
        reply = await client.messages.create(
            model="mine",
            max_tokens=7,
            system=[
                {"type": "text", "text": "x-anthropic-billing-header: cch=1;"},
                {"type": "text", "text": "One."},
                {"type": "text", "text": "Two.", "cache_control": {"type": "ephemeral"}},
            ],
            messages=[user("hi")],
            tools=[TOOL],
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
            stop_sequences=["###"],
            extra_body={
                "temperature": 0.5,
                "top_p": 0.9,
                "top_k": 7,
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "metadata": {"user_id": "u"},
                "output_config": {"effort": "max"},
                "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
            },
        )
        assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "###")
        for choice in ({"type": "tool", "name": "shell"}, {"type": "auto"}, {"type": "none"}):
            await client.messages.create(
                model="m",
                max_tokens=7,
                messages=[user("hi")],
                tools=[TOOL],
                extra_body={"tool_choice": choice},
            )
    sent = world.model.calls[0]
    assert sent_messages(world, 0)[0] == {"role": "system", "content": "One.\nTwo."}
    left_out = {"metadata", "thinking", "system", "stop_sequences", "context_management"}
    assert not left_out & set(sent)
    assert (sent["tool_choice"], sent["parallel_tool_calls"]) == ("required", False)
    assert (sent["stop"], sent["temperature"], sent["top_p"]) == (["###"], 0.5, 0.9)
    assert (sent["top_k"], sent["reasoning_effort"]) == (7, "high")
    named: JsonObject = {"type": "function", "function": {"name": "shell"}}
    assert [body["tool_choice"] for body in world.model.calls[1:]] == [named, "auto", "none"]


async def test_later_system_messages(world: World) -> None:
    """A system message in the middle is text of the user's, and users' messages in a row are one:
    chat templates refuse both."""
    async with claude(world, await world.open()) as client:
        late: MessageParam = {"role": "system", "content": "Be kind."}
        await ask(client, user("hi"), late, user("there"))
    reminder = "<system-reminder>\nBe kind.\n</system-reminder>"
    assert sent_messages(world, 0) == [{"role": "user", "content": f"hi\n{reminder}\nthere"}]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
        ("other", "end_turn"),
    ],
)
async def test_stop_reasons(world: World, finish: str, reason: str) -> None:
    """A finish reason of chat is the stop reason that means the same."""
    async with claude(world, await world.open()) as client:
        world.model.plans.append(Plan(choice={"finish_reason": finish}))
        assert (await ask(client, user("hi"), stream=True)).stop_reason == reason


async def test_count_tokens(world: World) -> None:
    """An estimate grows with the text, costs no turn, and counts an image as one."""
    attempt = await world.open()
    async with claude(world, attempt) as client:
        short = await client.messages.count_tokens(model="m", messages=[user("hi")])
        long = await client.messages.count_tokens(
            model="m", messages=[user("word " * 1000)], tools=[TOOL], system="Be brief."
        )
        seen = await client.messages.count_tokens(
            model="m",
            messages=[
                user(
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "A" * 9999},
                    }
                )
            ],
        )
        with pytest.raises(BadRequestError, match=r"messages\[0\]"):
            await client.messages.count_tokens(
                model="m", messages=[], extra_body={"messages": [{"role": "tool"}]}
            )
    assert 0 < short.input_tokens < 20
    assert 1000 < long.input_tokens < 2000
    assert 1600 <= seen.input_tokens < 1650
    assert await world.log(attempt).read_claim(0) is None
    assert world.model.calls == []


async def test_models(world: World) -> None:
    """The list of models has the shape that this client knows."""
    async with claude(world, await world.open()) as client:
        assert [found.id async for found in client.models.list()] == ["served-model"]
