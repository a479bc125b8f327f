"""The scripted server, driven by the real openai client."""

from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

HELLO = "Please. Create a file named `hello.txt` now."


def tool(name: str, required: list[str] | None = None, **properties: Any) -> Any:
    """A tool's definition."""
    parameters = {"type": "object", "properties": properties, "required": required or []}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


BASH: list[ChatCompletionToolParam] = [tool("bash", ["command"], command={"type": "string"})]


def conversation(opening: str, n_replies: int = 0) -> list[ChatCompletionMessageParam]:
    """A conversation that has had so many replies."""
    messages: list[Any] = [
        {"role": "system", "content": "Be good."},
        {"role": "user", "content": opening},
    ]
    for number in range(n_replies):
        messages.append({"role": "assistant", "content": f"reply {number}"})
        messages.append({"role": "user", "content": "go on"})
    return messages


async def test_a_command_is_called_by_the_offered_tool(openai_client: AsyncOpenAI) -> None:
    """`run` becomes a call of the shell tool, with text beside it."""
    reply = await openai_client.chat.completions.create(
        model="any", messages=conversation(HELLO), tools=BASH
    )
    choice = reply.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is not None
    assert choice.message.tool_calls is not None
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "bash"
    assert "printf 'Hello, world!" in call.function.arguments
    assert reply.model == "any"
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


async def test_other_required_parameters_are_filled_in(openai_client: AsyncOpenAI) -> None:
    """From the tool's JSON schema; a tool of another kind is passed over."""
    tools = [
        tool("read", ["path"], path={"type": "string"}),
        tool(
            "shell",
            ["cmd", "description", "timeout", "mode", "safe", "retries"],
            cmd={"type": "array", "items": {"type": "string"}},
            description={"type": "string"},
            timeout={"type": "integer", "minimum": 5},
            mode={"type": "string", "enum": ["fast", "slow"]},
            safe={"type": "boolean"},
            retries={"type": "integer", "default": 2},
        ),
    ]
    reply = await openai_client.chat.completions.create(
        model="any", messages=conversation(HELLO, 1), tools=tools
    )
    calls = reply.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "shell"
    assert calls[0].function.arguments == (
        '{"cmd": ["bash", "-lc", "od -c hello.txt"], "description": "Run a command", '
        '"timeout": 5, "mode": "fast", "safe": false, "retries": 2}'
    )


@pytest.mark.parametrize("name", ["Bash", "exec_command"])
async def test_a_shell_tool_is_known_by_its_name(openai_client: AsyncOpenAI, name: str) -> None:
    """However its agent writes it, and whatever other tool that takes a command comes first."""
    tools = [
        tool("Monitor", ["command"], command={"type": "string"}),
        tool(name, ["command"], command={"type": "string"}),
    ]
    reply = await openai_client.chat.completions.create(
        model="any", messages=conversation(HELLO), tools=tools
    )
    calls = reply.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == name


async def test_the_turn_is_counted_from_the_request(openai_client: AsyncOpenAI) -> None:
    """The same request gets the same words and usage under new ids; after the last turn: Done."""
    replies = [
        await openai_client.chat.completions.create(
            model="any", messages=conversation(HELLO, n), tools=BASH
        )
        for n in (2, 2, 7)
    ]
    first, again, beyond = replies
    assert first.choices[0].message.content == again.choices[0].message.content
    assert first.choices[0].message.tool_calls is None
    assert first.choices[0].finish_reason == "stop"
    assert first.usage == again.usage
    assert first.id != again.id
    assert beyond.choices[0].message.content == "Done."


async def test_a_script_may_be_for_one_model_only(openai_client: AsyncOpenAI) -> None:
    """The same opening, another model, another conversation."""
    reply = await openai_client.chat.completions.create(
        model="wrong", messages=conversation(HELLO), tools=BASH
    )
    assert "moon" in reply.model_dump_json()


async def test_requests_without_tools_use_up_no_turn(openai_client: AsyncOpenAI) -> None:
    """A title is a short text, whatever the conversation."""
    reply = await openai_client.chat.completions.create(
        model="any", messages=conversation("anything")
    )
    assert reply.choices[0].message.content == "Scripted conversation"


async def test_a_stream_carries_the_same_reply(openai_client: AsyncOpenAI) -> None:
    """Text and calls in pieces, then the finish reason, then usage where it was asked for."""
    tools = [*BASH, tool("write", path={"type": "string"})]
    messages = conversation("an odd one")
    whole = await openai_client.chat.completions.create(model="any", messages=messages, tools=tools)
    async with openai_client.chat.completions.stream(
        model="any", messages=messages, tools=tools, stream_options={"include_usage": True}
    ) as stream:
        streamed = await stream.get_final_completion()
    assert streamed.choices[0].message.content == "Grüße\nzwei"
    calls, expected = streamed.choices[0].message.tool_calls, whole.choices[0].message.tool_calls
    assert calls is not None
    assert expected is not None
    assert expected[0].type == "function"
    assert calls[0].function.name == expected[0].function.name
    assert calls[0].function.arguments == expected[0].function.arguments
    assert streamed.choices[0].finish_reason == "tool_calls"
    assert streamed.usage == whole.usage


async def test_no_script_is_an_error_that_lists_them(openai_client: AsyncOpenAI) -> None:
    """A 404 that names each script with its match."""
    with pytest.raises(openai.NotFoundError, match=r"no script matches.*hello-world \(") as caught:
        await openai_client.chat.completions.create(
            model="any", messages=conversation("unheard of"), tools=BASH
        )
    assert caught.value.code == "no_script"


async def test_no_shell_tool_is_an_error(openai_client: AsyncOpenAI) -> None:
    """The message names the tools that were offered."""
    with pytest.raises(openai.BadRequestError, match="no offered tool takes one; tools: write"):
        await openai_client.chat.completions.create(
            model="any", messages=conversation(HELLO), tools=[tool("write")]
        )


async def test_a_written_error_is_answered(openai_client: AsyncOpenAI) -> None:
    """With its status and code."""
    with pytest.raises(openai.BadRequestError, match="too long") as caught:
        await openai_client.chat.completions.create(
            model="any", messages=conversation("an odd one", 1), tools=BASH
        )
    assert caught.value.code == "context"


async def test_the_key_is_demanded(openai_client: AsyncOpenAI) -> None:
    """Of every request but the health check."""
    with pytest.raises(openai.AuthenticationError):
        await openai_client.with_options(api_key="other").models.list()
    models = await openai_client.models.list()
    assert [model.id for model in models.data] == ["scripted"]


async def test_plain_requests(address: str) -> None:
    """The health check is open; unknown paths and broken bodies get JSON errors."""
    headers = {"Authorization": "Bearer scripted-key"}
    async with httpx.AsyncClient(base_url=address, headers=headers) as client:
        assert (await client.get("/healthz", headers={"Authorization": ""})).status_code == 200
        unknown = await client.get("/v1/nothing")
        broken = await client.post("/v1/chat/completions", content=b"{")
        empty = await client.post("/v1/chat/completions", json={"messages": []})
    assert unknown.status_code == 404
    assert "/v1/nothing" in unknown.json()["error"]["message"]
    assert (broken.status_code, empty.status_code) == (400, 400)
    assert "messages" in empty.json()["error"]["message"]


async def test_a_client_that_has_gone_is_no_error(
    openai_client: AsyncOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that nobody waits for any more ends without a word in the log."""
    messages = conversation("slow")
    with pytest.raises(openai.APITimeoutError):
        await openai_client.with_options(timeout=0.1).chat.completions.create(
            model="any", messages=messages, tools=BASH, stream=True
        )
    await openai_client.chat.completions.create(model="any", messages=messages, tools=BASH)
    assert caplog.records == []
