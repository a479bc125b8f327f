"""OpenAI Responses of the scripted server, driven by the real openai client."""

from collections.abc import Sequence
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import FunctionToolParam, Response, ResponseInputParam, ToolParam

HELLO = "Please. Create a file named `hello.txt` now."


def function(name: str, **properties: Any) -> FunctionToolParam:
    """A tool's definition."""
    parameters: dict[str, object] = {
        "type": "object",
        "properties": properties,
        "required": [*properties],
    }
    return {"type": "function", "name": name, "parameters": parameters, "strict": False}


SHELL = function("shell", command={"type": "array", "items": {"type": "string"}})


async def ask(
    client: AsyncOpenAI,
    given: str | ResponseInputParam,
    *,
    tools: Sequence[ToolParam] = (SHELL,),
    previous: str | None = None,
) -> Response:
    """A whole reply."""
    return await client.responses.create(
        model="any",
        instructions="Be good.",
        input=given,
        tools=tools,
        previous_response_id=previous,
    )


def opened(text: str) -> ResponseInputParam:
    """A conversation that the model has not answered yet."""
    return [
        {"role": "developer", "content": "Here are the permissions."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]},
    ]


def continued(given: ResponseInputParam, reply: Response, shown: str = "ok") -> ResponseInputParam:
    """The same with a reply, reasoning before it, and what its tools gave."""
    thought: Any = {"type": "reasoning", "summary": [], "encrypted_content": "x"}
    items: list[Any] = [item.model_dump(exclude_unset=True) for item in reply.output]
    results: list[Any] = [
        {"type": "function_call_output", "call_id": item.call_id, "output": shown}
        for item in reply.output
        if item.type == "function_call"
    ]
    return [*given, thought, *items, *(results or opened("go on"))]


async def test_a_conversation_is_played_to_its_end(openai_client: AsyncOpenAI) -> None:
    """Calls of the offered tool with text beside them, turn by turn; then its last words."""
    given = opened(HELLO)
    replies: list[Response] = []
    for _ in range(4):
        replies.append(await ask(openai_client, given))
        given = continued(given, replies[-1])
    kinds = [[item.type for item in reply.output] for reply in replies]
    assert kinds == [["message", "function_call"], ["function_call"], ["message"], ["message"]]
    assert {reply.status for reply in replies} == {"completed"}
    call = replies[0].output[1]
    assert call.type == "function_call"
    assert call.name == "shell"
    assert call.arguments.startswith('{"command": ["bash", "-lc", "printf')
    assert replies[3].output_text == "Done."
    assert len({reply.id for reply in replies}) == 4


async def test_the_next_prompt_counts_this_turn(openai_client: AsyncOpenAI) -> None:
    """Usage depends on the request and the script alone, and grows with the conversation."""
    given = opened(HELLO)
    first, again = [await ask(openai_client, given) for _ in range(2)]
    later = await ask(openai_client, continued(given, first))
    assert first.usage is not None
    assert later.usage is not None
    assert first.usage == again.usage
    assert first.usage.total_tokens == first.usage.input_tokens + first.usage.output_tokens
    assert later.usage.input_tokens > first.usage.total_tokens > first.usage.output_tokens > 0


async def test_a_stream_carries_the_same_reply(openai_client: AsyncOpenAI) -> None:
    """Text and calls in pieces, numbered, and the whole response in the last event."""
    tools: list[ToolParam] = [SHELL, function("write")]
    whole = await ask(openai_client, "an odd one", tools=tools)
    async with openai_client.responses.stream(
        model="any", instructions="Be good.", input="an odd one", tools=tools
    ) as stream:
        events = [event async for event in stream]
        streamed = await stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["Grüße\n", "zwei"]
    assert streamed.output_text == whole.output_text == "Grüße\nzwei"
    call = streamed.output[1]
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("write", '{"path": "\\u00e4"}')
    assert streamed.usage == whole.usage


async def test_requests_without_functions_use_up_no_turn(openai_client: AsyncOpenAI) -> None:
    """Neither with no tools nor with those that a server would run itself."""
    without: list[list[ToolParam]] = [[], [{"type": "web_search"}]]
    for tools in without:
        reply = await ask(openai_client, HELLO, tools=tools)
        assert reply.output_text == "Scripted conversation"


async def test_errors_have_openais_shape(openai_client: AsyncOpenAI) -> None:
    """A written error, no script, a wrong key, a body that is none, a response that is not kept."""
    answered: Any = [*opened("an odd one"), {"role": "assistant", "content": "x"}]
    with pytest.raises(openai.BadRequestError, match="too long") as refused:
        await ask(openai_client, answered)
    assert (refused.value.code, refused.value.type) == ("context", "invalid_request_error")
    with pytest.raises(openai.NotFoundError, match=r"no script matches.*hello-world \("):
        await ask(openai_client, "unheard of")
    with pytest.raises(openai.AuthenticationError):
        await ask(openai_client.with_options(api_key="other"), HELLO)
    with pytest.raises(openai.BadRequestError, match="input"):
        await ask(openai_client, [])
    with pytest.raises(openai.BadRequestError, match="resp_1") as unknown:
        await ask(openai_client, HELLO, previous="resp_1")
    assert unknown.value.code == "previous_response_not_found"


async def test_a_command_that_goes_on_is_waited_for(openai_client: AsyncOpenAI) -> None:
    """As Codex runs them: its session is polled until it has ended; then the next turn comes."""
    tools: list[ToolParam] = [function("exec_command", cmd={}), function("write_stdin")]
    about = "Wall time: 10.0 seconds\n{}\nOutput:\nProcess running with session ID 2"
    running, ended = about.format("Process running with session ID 58"), about.format("Exited")
    given = opened(HELLO)
    called: list[tuple[str, str]] = []
    for shown in (running, running, ended, ended):
        reply = await ask(openai_client, given, tools=tools)
        call = reply.output[-1]
        assert call.type == "function_call"
        called.append((call.name, call.arguments))
        given = continued(given, reply, shown)
    poll = ("write_stdin", '{"session_id": 58}')
    assert called[1:3] == [poll, poll]
    assert called[0][1].startswith('{"cmd": "printf ')
    assert called[3] == ("exec_command", '{"cmd": "od -c hello.txt"}')
    assert (await ask(openai_client, given, tools=tools)).output_text.startswith("hello.txt holds")
