"""What a Responses request may not ask for: each refusal names the item and reaches no model."""

import aiohttp
import pytest
from pydantic import JsonValue

from rolldock.models.base import JsonObject
from tests.gateway.conftest import World


def item(kind: str, **fields: JsonValue) -> JsonObject:
    """A body whose second item is of this type."""
    return {"input": [{"role": "user", "content": "hi"}, {"type": kind, **fields}]}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "input: "),
        ({"input": []}, "input: "),
        ({"input": "hi", "previous_response_id": "resp_1"}, "previous_response_id: no responses"),
        ({"input": "hi", "conversation": "conv_1"}, "conversation: no responses"),
        ({"input": "hi", "prompt": {"id": "p"}}, "prompt: no prompts"),
        ({"input": "hi", "background": True}, "background: "),
        ({"input": "hi", "truncation": "auto"}, "truncation: "),
        ({"input": "hi", "include": ["message.output_text.logprobs"]}, "include: "),
        ({"input": "hi", "top_logprobs": 2}, "top_logprobs: "),
        ({"input": "hi", "tools": [{"type": "web_search"}]}, 'tools[0]: a tool of type "web_sea'),
        ({"input": "hi", "tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0]: "),
        ({"input": "hi", "tools": [{"type": "custom", "name": "patch"}]}, 'custom" named patch'),
        ({"input": "hi", "tool_choice": "required"}, "tool_choice: there are no tools"),
        ({"input": "hi", "text": {"format": {"type": "grammar"}}}, "text.format: "),
        ({"input": "hi", "stream": "yes"}, "stream: "),
        (item("web_search_call"), 'input[1]: an item of type "web_search_call"'),
        (item("custom_tool_call_output", call_id="c", output=""), "input[1]: "),
        (item("item_reference", id="msg_1"), "input[1]: no items are stored"),
        (item("function_call", name="f", arguments="{}"), "input[1].call_id: "),
        (item("message", role="user", content=[{"type": "input_file"}]), "input[1].content[0]: "),
        (item("reasoning", summary=[]), "input[1]: reasoning without encrypted_content"),
        (item("reasoning", encrypted_content="gAAA"), "input[1].encrypted_content: 'gAAA'"),
        (item("reasoning", encrypted_content="rolldock:x:0"), "input[1].encrypted_content: "),
    ],
)
async def test_refused_by_name(
    world: World, http: aiohttp.ClientSession, body: JsonObject, named: str
) -> None:
    """The error is a 400 in OpenAI's shape that says what cannot be had."""
    headers = {"Authorization": f"Bearer {world.token(await world.open())}"}
    url = f"{world.gateway.url}/v1/responses"
    async with http.post(url, json={"model": "m", **body}, headers=headers) as response:
        answer: dict[str, dict[str, str]] = await response.json()
    assert response.status == 400
    assert named in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"
    assert world.model.calls == []
