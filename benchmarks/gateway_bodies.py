"""The requests and replies of the gateway's benchmark: conversations that grow, of a given size.

Everything is made once, before a clock runs. No socket is opened here.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

TURNS_PER_SESSION: Final = 6
REPLY_TEXT: Final = (
    "The test fails because the parser drops the last field of a line without a newline. I will "
    "change `split` to `splitlines` and run the suite again."
)
N_EVENTS: Final = 30
"""Pieces of a streamed reply's text: some five characters each, as tokens are."""
MODEL: Final = "bench"

_FIRST_SHARE: Final = 2 / 3
"""Of the nominal size has a session's first body; its last has as much more, its mean has it."""
_TOOL_SHARE: Final = 0.2


class Bodies(NamedTuple):
    """One session's requests, in order, as bytes."""

    bodies: tuple[bytes, ...]
    streamed: bool

    @property
    def mean_bytes(self) -> float:
        return sum(map(len, self.bodies)) / len(self.bodies)


def session_bodies(n_bytes: int, *, streamed: bool) -> Bodies:
    """The requests of a session whose bodies have so many bytes on average.

    Each repeats the one before with the reply to it and one more message, as agents do.
    """
    head: dict[str, Any] = {"model": MODEL, "temperature": 1.0, "tools": _tools(n_bytes)}
    if streamed:
        head |= {"stream": True, "stream_options": {"include_usage": True}}
    said = {"role": "assistant", "content": REPLY_TEXT}
    first_bytes = int(n_bytes * _FIRST_SHARE)
    step_bytes = 2 * (n_bytes - first_bytes) // (TURNS_PER_SESSION - 1)
    messages = [{"role": "system", "content": "You are a careful programmer."}]
    bodies: list[bytes] = []
    for turn in range(TURNS_PER_SESSION):
        messages.append({"role": "user", "content": ""})
        wanted = first_bytes + turn * step_bytes
        missing = wanted - len(_written(head, messages))
        messages[-1]["content"] = _text(max(1, missing), turn)
        bodies.append(_written(head, messages))
        messages.append(said)
    return Bodies(tuple(bodies), streamed)


def whole_reply() -> bytes:
    """The reply to a request that is not streamed, as vLLM writes it."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": REPLY_TEXT,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "reasoning": None,
    }
    choice: dict[str, Any] = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": None,
        "token_ids": None,
    }
    return _json(
        {
            "id": "chatcmpl-6f5c1f0c9c0c4b0e8a4d",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": MODEL,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": _USAGE,
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "kv_transfer_params": None,
        }
    )


def reply_events() -> tuple[bytes, ...]:
    """The same as a stream: one event per piece of text, the finish, the usage, `[DONE]`."""
    width = -(-len(REPLY_TEXT) // N_EVENTS)
    texts = [REPLY_TEXT[start : start + width] for start in range(0, len(REPLY_TEXT), width)]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text} for text in texts]
    chunks = [_chunk([_choice(delta, None)]) for delta in deltas]
    chunks.append(_chunk([_choice({}, "stop")]))
    chunks.append(_chunk([], usage=_USAGE))
    return (*(b"data: " + _json(chunk) + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n")


_USAGE: Final = {"prompt_tokens": 512, "total_tokens": 548, "completion_tokens": 36}


def _chunk(choices: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-6f5c1f0c9c0c4b0e8a4d",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": MODEL,
        "choices": list(choices),
        **more,
    }


def _choice(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _tools(n_bytes: int) -> list[dict[str, Any]]:
    """Some tool definitions, of a fixed share of the whole."""
    made: list[dict[str, Any]] = []
    while len(_json(made)) < _TOOL_SHARE * n_bytes:
        parameters = {"type": "object", "properties": {"command": {"type": "string"}}}
        function = {
            "name": f"tool_{len(made)}",
            "description": _text(n_bytes // 100, len(made)),
            "parameters": parameters,
        }
        made.append({"type": "function", "function": function})
    return made


def _text(n_characters: int, number: int) -> str:
    """Lines of output with quotes and line breaks, which JSON escapes."""
    line = f'  File "src/parser_{number}.py", line 42, in read\n    raise ValueError(line)\n'
    n_escaped = len(json.dumps(line)) - 2
    return (line * (n_characters // n_escaped + 1))[: n_characters * len(line) // n_escaped]


def _written(head: dict[str, Any], messages: list[dict[str, str]]) -> bytes:
    return _json({**head, "messages": messages})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
