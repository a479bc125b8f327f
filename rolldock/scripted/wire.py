"""A played reply as bytes of the protocol: one JSON body, or a list of stream chunks.

Ids are new for every reply; usage depends on the request and the script alone.
"""

import time
import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict

from .play import Played
from .request import ChatRequest
from .tokens import completion_ids, encode, logprob_entries, prompt_ids, render_calls


class Completion(BaseModel):
    """A reply with its ids and tokens, ready to be written either way."""

    model_config = ConfigDict(frozen=True)

    id: str
    created: int
    model: str
    reply: Played
    call_ids: tuple[str, ...]
    prompt_ids: list[int]
    completion_ids: list[int]
    with_ids: bool
    with_logprobs: bool
    tokens_as_ids: bool

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.reply.calls else "stop"

    @property
    def usage(self) -> dict[str, int]:
        """Counted in the scripted model's own tokens: bytes."""
        n_prompt, n_completion = len(self.prompt_ids), len(self.completion_ids)
        return {
            "prompt_tokens": n_prompt,
            "completion_tokens": n_completion,
            "total_tokens": n_prompt + n_completion,
        }

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        return [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call_id, call in zip(self.call_ids, self.reply.calls, strict=True)
        ]


def complete(request: ChatRequest, reply: Played) -> Completion:
    """Give a reply its ids."""
    return Completion(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=request.model,
        reply=reply,
        call_ids=tuple(f"call_{uuid.uuid4().hex[:24]}" for _ in reply.calls),
        prompt_ids=prompt_ids(request),
        completion_ids=completion_ids(reply),
        with_ids=bool(request.return_token_ids),
        with_logprobs=bool(request.logprobs),
        tokens_as_ids=bool(request.return_tokens_as_token_ids),
    )


def body(completion: Completion) -> dict[str, Any]:
    """The response to a request that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": completion.reply.text}
    if completion.tool_calls:
        message["tool_calls"] = completion.tool_calls
    choice: dict[str, Any] = {
        "index": 0,
        "message": message,
        "finish_reason": completion.finish_reason,
        **_tokens(completion, completion.completion_ids, 0),
    }
    head = _head(completion, "chat.completion")
    if completion.with_ids:
        head["prompt_token_ids"] = completion.prompt_ids
    return {**head, "choices": [choice], "usage": completion.usage}


def chunks(completion: Completion, *, include_usage: bool) -> list[dict[str, Any]]:
    """The stream's chunks, in order, without the closing `[DONE]`."""
    first = _chunk(completion, {"role": "assistant", "content": ""})
    if completion.with_ids:
        first["prompt_token_ids"] = completion.prompt_ids
    result = [first]
    n_sent = 0
    for delta, n_tokens in _deltas(completion):
        ids = completion.completion_ids[n_sent : n_sent + n_tokens]
        result.append(_chunk(completion, delta, **_tokens(completion, ids, n_sent)))
        n_sent += n_tokens
    rest = _tokens(completion, completion.completion_ids[n_sent:], n_sent)
    result.append(_chunk(completion, {}, finish_reason=completion.finish_reason, **rest))
    if include_usage:
        head = _head(completion, "chat.completion.chunk")
        result.append({**head, "choices": [], "usage": completion.usage})
    return result


def _deltas(completion: Completion) -> list[tuple[dict[str, Any], int]]:
    """The message in pieces, each with the number of tokens that spell it."""
    deltas: list[tuple[dict[str, Any], int]] = []
    text = completion.reply.text or ""
    for word in text.splitlines(keepends=True):
        deltas.append(({"content": word}, len(encode(word))))
    calls = zip(completion.reply.calls, completion.tool_calls, strict=True)
    for index, (call, written) in enumerate(calls):
        opened = {
            "index": index,
            **written,
            "function": {"name": call.name, "arguments": ""},
        }
        deltas.append(({"tool_calls": [opened]}, 0))
        argument = {"index": index, "function": {"arguments": call.arguments}}
        deltas.append(({"tool_calls": [argument]}, len(encode(render_calls((call,))))))
    return deltas


def _head(completion: Completion, kind: str) -> dict[str, Any]:
    return {
        "id": completion.id,
        "object": kind,
        "created": completion.created,
        "model": completion.model,
    }


def _chunk(
    completion: Completion, delta: dict[str, Any], finish_reason: str | None = None, **tokens: Any
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, **tokens}
    return {**_head(completion, "chat.completion.chunk"), "choices": [choice]}


def _tokens(completion: Completion, ids: list[int], offset: int) -> dict[str, Any]:
    """A choice's token fields for the ids that begin at an offset of the completion."""
    fields: dict[str, Any] = {}
    if completion.with_logprobs:
        entries = logprob_entries(completion.completion_ids, as_ids=completion.tokens_as_ids)
        fields["logprobs"] = {"content": entries[offset : offset + len(ids)]}
    if completion.with_ids:
        fields["token_ids"] = ids
    return fields
