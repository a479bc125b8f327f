"""Token ids and log-probs in vLLM's shape."""

from typing import Any

import httpx
import pytest

BASH = {
    "type": "function",
    "function": {"name": "bash", "parameters": {"properties": {"command": {"type": "string"}}}},
}
OPENING: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "Create a file named `hello.txt`"}]}
]


async def ask(address: str, messages: list[dict[str, Any]], **fields: Any) -> httpx.Response:
    """A request that wants ids and log-probs."""
    body = {
        "model": "any",
        "messages": messages,
        "tools": [BASH],
        "logprobs": True,
        "return_token_ids": True,
        **fields,
    }
    headers = {"Authorization": "Bearer scripted-key"}
    async with httpx.AsyncClient(base_url=address, headers=headers) as client:
        return await client.post("/v1/chat/completions", json=body)


async def test_ids_logprobs_and_usage_agree_in_length(address: str) -> None:
    """Usage counts exactly the ids."""
    reply = (await ask(address, OPENING)).json()
    choice, usage = reply["choices"][0], reply["usage"]
    assert len(reply["prompt_token_ids"]) == usage["prompt_tokens"]
    assert len(choice["token_ids"]) == usage["completion_tokens"]
    assert len(choice["logprobs"]["content"]) == usage["completion_tokens"]
    assert all(entry["logprob"] < 0 for entry in choice["logprobs"]["content"])


async def test_the_next_prompt_extends_this_turn(address: str) -> None:
    """A conversation that is continued as it was given is one append-only row of tokens."""
    reply = (await ask(address, OPENING)).json()
    message = reply["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "ok"}
    later = (await ask(address, [*OPENING, message, result])).json()
    so_far = reply["prompt_token_ids"] + reply["choices"][0]["token_ids"]
    assert later["prompt_token_ids"][: len(so_far)] == so_far


@pytest.mark.parametrize("n_replies", [0, 2])
async def test_a_stream_carries_the_same_tokens(address: str, n_replies: int) -> None:
    """Prompt ids in the first chunk, the completion's spread over the others."""
    said = [{"role": "assistant", "content": "well"}] * n_replies
    messages = [*OPENING, *said]
    whole = (await ask(address, messages)).json()
    lines = (await ask(address, messages, stream=True)).text.splitlines()
    data = [line.removeprefix("data: ") for line in lines if line]
    assert data[-1] == "[DONE]"
    chunks = [httpx.Response(200, text=line).json() for line in data[:-1]]
    assert chunks[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    choices: list[dict[str, Any]] = [chunk["choices"][0] for chunk in chunks]
    ids: list[int] = []
    entries: list[dict[str, Any]] = []
    for choice in choices:
        ids += choice.get("token_ids") or []
        entries += (choice.get("logprobs") or {"content": []})["content"]
    assert ids == whole["choices"][0]["token_ids"]
    assert entries == whole["choices"][0]["logprobs"]["content"]


async def test_tokens_are_given_as_ids_when_asked(address: str) -> None:
    """vLLM's `return_tokens_as_token_ids`; and nothing of all this unless it is asked for."""
    reply = (await ask(address, OPENING, return_tokens_as_token_ids=True)).json()
    choice = reply["choices"][0]
    named = [entry["token"] for entry in choice["logprobs"]["content"]]
    assert named == [f"token_id:{token}" for token in choice["token_ids"]]
    plain = (await ask(address, OPENING, logprobs=False, return_token_ids=False)).json()
    assert "prompt_token_ids" not in plain
    assert plain["choices"][0].keys() == {"index", "message", "finish_reason"}
