"""Anthropic Messages of the scripted server, driven by the real anthropic client."""

from typing import Any

import anthropic
import httpx
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message, MessageParam, ToolParam, ToolUnionParam

HELLO = "Please. Create a file named `hello.txt` now."
BASH: ToolParam = {
    "name": "bash",
    "input_schema": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}


async def ask(
    client: AsyncAnthropic,
    messages: list[MessageParam],
    tools: list[ToolUnionParam] | None = None,
) -> Message:
    """A whole reply."""
    return await client.messages.create(
        model="any", max_tokens=100, messages=messages, tools=[BASH] if tools is None else tools
    )


def opened(text: str) -> list[MessageParam]:
    """A conversation that the model has not answered yet."""
    note = {"type": "text", "text": "<system-reminder>Be good.</system-reminder>"}
    content: Any = [note, {"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


def continued(messages: list[MessageParam], reply: Message) -> list[MessageParam]:
    """The same with a reply and what its tools gave."""
    results: Any = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "ok"}
        for block in reply.content
        if block.type == "tool_use"
    ]
    said: MessageParam = {"role": "assistant", "content": reply.content}
    return [*messages, said, {"role": "user", "content": results or "go on"}]


async def test_a_conversation_is_played_to_its_end(anthropic_client: AsyncAnthropic) -> None:
    """Calls of the offered tool with text beside them, turn by turn; then its last words."""
    messages = opened(HELLO)
    replies: list[Message] = []
    for _ in range(4):
        replies.append(await ask(anthropic_client, messages))
        messages = continued(messages, replies[-1])
    kinds = [[block.type for block in reply.content] for reply in replies]
    assert kinds == [["text", "tool_use"], ["tool_use"], ["text"], ["text"]]
    reasons = [reply.stop_reason for reply in replies]
    assert reasons == ["tool_use", "tool_use", "end_turn", "end_turn"]
    call = replies[0].content[1]
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("bash", {"command": "printf 'Hello, world!\\n' > hello.txt"})
    assert replies[3].content[0].model_dump()["text"] == "Done."
    assert len({reply.id for reply in replies}) == 4


async def test_the_next_prompt_counts_this_turn(anthropic_client: AsyncAnthropic) -> None:
    """Usage depends on the request and the script alone, and grows with the conversation."""
    messages = opened(HELLO)
    first, again = [await ask(anthropic_client, messages) for _ in range(2)]
    later = await ask(anthropic_client, continued(messages, first))
    assert first.usage == again.usage
    so_far = first.usage.input_tokens + first.usage.output_tokens
    assert later.usage.input_tokens > so_far > first.usage.output_tokens > 0


async def test_a_stream_carries_the_same_reply(anthropic_client: AsyncAnthropic) -> None:
    """Text and calls in pieces, the stop reason and usage at the end."""
    write: ToolParam = {"name": "write", "input_schema": {"type": "object"}}
    whole = await ask(anthropic_client, opened("an odd one"), [BASH, write])
    async with anthropic_client.messages.stream(
        model="any", max_tokens=100, messages=opened("an odd one"), tools=[BASH, write]
    ) as stream:
        texts = [text async for text in stream.text_stream]
        streamed = await stream.get_final_message()
    assert texts == ["Grüße\n", "zwei"]
    made = {"id": True, "content": {"__all__": {"id", "parsed_output"}}}
    assert streamed.model_dump(exclude=made) == whole.model_dump(exclude=made)
    call = streamed.content[1]
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("write", {"path": "ä"})


async def test_requests_without_tools_use_up_no_turn(anthropic_client: AsyncAnthropic) -> None:
    """Neither with none nor with those that a server would run itself."""
    search: Any = {"type": "web_search_20250305", "name": "web_search"}
    for tools in ([], [search]):
        reply = await ask(anthropic_client, opened(HELLO), tools)
        assert reply.content[0].model_dump()["text"] == "Scripted conversation"


async def test_errors_have_anthropics_shape(anthropic_client: AsyncAnthropic) -> None:
    """A written error, no script, a wrong key, a body that is none: each as its own class."""
    odd = opened("an odd one")
    with pytest.raises(anthropic.BadRequestError) as refused:
        await ask(anthropic_client, [*odd, {"role": "assistant", "content": "x"}, *odd])
    body: Any = refused.value.body
    assert body.pop("request_id").startswith("req_")
    error = {"type": "invalid_request_error", "message": "too long"}
    assert body == {"type": "error", "error": error}
    with pytest.raises(anthropic.NotFoundError, match=r"no script matches.*hello-world \("):
        await ask(anthropic_client, opened("unheard of"))
    with pytest.raises(anthropic.AuthenticationError, match="authentication_error"):
        await ask(anthropic_client.with_options(api_key="other"), opened(HELLO))
    with pytest.raises(anthropic.BadRequestError, match="messages: "):
        await ask(anthropic_client, [])


async def test_plain_requests(address: str) -> None:
    """The key may stand in either header; the version must be there, and a limit of tokens."""
    body = {"model": "any", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    version = {"anthropic-version": "2023-06-01"}
    bearer = {**version, "Authorization": "Bearer scripted-key"}
    key = {"x-api-key": "scripted-key"}
    own = {**version, **key}
    async with httpx.AsyncClient(base_url=f"{address}/v1") as client:
        for headers in (bearer, own):
            assert (await client.post("/messages", json=body, headers=headers)).status_code == 200
        unversioned = await client.post(
            "/messages", json=body, headers={"x-api-key": "scripted-key"}
        )
        unlimited = await client.post("/messages", json={**body, "max_tokens": None}, headers=own)
        unknown = await client.post("/messages/batches", json=body, headers=own)
    assert "anthropic-version" in unversioned.json()["error"]["message"]
    assert "max_tokens" in unlimited.json()["error"]["message"]
    assert unknown.json()["error"]["type"] == "not_found_error"
