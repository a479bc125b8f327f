"""Agents of every wire format train on the tokens of one model server."""

from collections.abc import AsyncIterator

import pytest
from anthropic import AsyncAnthropic
from anthropic.types import MessageParam, ToolParam
from openai.types.responses import FunctionToolParam, ResponseInputItemParam

from rolldock.gateway.seal import summarise
from rolldock.samples import samples
from tests.gateway.tokens_mode.conftest import PINNED, TokensWorld, calling

SPOKEN = (
    "<think>\nWhere am I?\n</think>\n\n" + calling("pwd", before="I look.\n"),
    calling("ls"),
    "Done.",
)


@pytest.fixture
async def anthropic(tokens: TokensWorld) -> AsyncIterator[tuple[str, AsyncAnthropic]]:
    """A session and the official client for it."""
    attempt = await tokens.world.open(sampling=PINNED)
    url = tokens.world.gateway.url
    async with AsyncAnthropic(base_url=url, api_key=tokens.world.token(attempt)) as client:
        yield attempt, client


async def test_anthropic(tokens: TokensWorld, anthropic: tuple[str, AsyncAnthropic]) -> None:
    """Thinking and tool use go to the agent and come back; the tokens are gone on from."""
    attempt, client = anthropic
    tool: ToolParam = {"name": "bash", "input_schema": {"type": "object", "properties": {}}}
    messages: list[MessageParam] = [{"role": "user", "content": "Where?"}]
    stop_reasons: list[str | None] = []
    for said in SPOKEN:
        tokens.server.say(said)
        reply = await client.messages.create(
            model="any", max_tokens=200, system="Be brief.", messages=messages, tools=[tool]
        )
        stop_reasons.append(reply.stop_reason)
        messages.append({"role": "assistant", "content": reply.content})
        used = [block for block in reply.content if block.type == "tool_use"]
        for block in used:
            assert isinstance(block.input, dict)
            messages.append(
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": block.id, "content": "/app"}
                    ],
                }
            )
    assert stop_reasons == ["tool_use", "tool_use", "end_turn"]
    trace = await tokens.checked(attempt)
    assert len(samples(trace)) == 1
    assert summarise(trace, undelivered=False).n_clean == 2


async def test_responses(tokens: TokensWorld) -> None:
    """Reasoning and function calls go to the agent and come back; the tokens are gone on from."""
    attempt = await tokens.world.open(sampling=PINNED)
    client = tokens.world.client(attempt)
    tool: FunctionToolParam = {
        "type": "function",
        "name": "bash",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    items: list[ResponseInputItemParam] = [{"role": "user", "content": "Where?"}]
    texts: list[str] = []
    for said in SPOKEN:
        tokens.server.say(said)
        reply = await client.responses.create(
            model="any",
            instructions="Be brief.",
            input=items,
            tools=[tool],
            store=False,
            include=["reasoning.encrypted_content"],
        )
        texts.append(reply.output_text)
        for item in reply.output:
            items.append(item.model_dump(exclude_none=True))  # pyright: ignore[reportArgumentType]  # as agents do
            if item.type == "function_call":
                items.append(
                    {"type": "function_call_output", "call_id": item.call_id, "output": "/app"}
                )
    assert texts == ["I look.", "", "Done."]
    trace = await tokens.checked(attempt)
    assert len(samples(trace)) == 1
    assert summarise(trace, undelivered=False).n_clean == 2
