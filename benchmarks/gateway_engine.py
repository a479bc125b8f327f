"""A stand-in for vLLM that gives token ids and log-probs, for sessions of a given size.

It runs no model: tokens come from a made-up vocabulary, in the shape and to the digit in which vLLM
writes them. A conversation that only appends is one sequence of tokens, as with a good template.

    python benchmarks/gateway_engine.py TOKENS_PER_REPLY
"""

import asyncio
import json
import random
import struct
import sys
import zlib
from typing import Any, Final, cast

import orjson
from aiohttp import web

from rolldock.models.base import JsonObject

_VOCABULARY: Final = 151_000
_N_WORDS: Final = 4096
_CHARACTERS_PER_TOKEN: Final = 4
_TURN_START: Final = (151_644, 872, 198)
_TURN_END: Final = (151_645, 198)
_PARTIAL: Final = "�"
"""How a token that ends within a character reads; its bytes are these three too."""


class Engine:
    """Answers each request with so many tokens."""

    def __init__(self, n_completion_tokens: int) -> None:
        self._n_completion_tokens = n_completion_tokens
        self._random = random.Random(7)
        self._words = [self._word() for _ in range(_N_WORDS)]
        self._said: dict[str, list[int]] = {}
        self.replies: list[bytes] = []
        """The bodies that were sent, in order."""
        self.n_tokens = 0
        """Prompt and completion of the newest call."""

    def application(self) -> web.Application:
        """`POST /v1/chat/completions`."""
        made = web.Application(client_max_size=2**30)
        made.router.add_post("/v1/chat/completions", self._complete)
        return made

    async def _complete(self, request: web.Request) -> web.Response:
        asked = cast(JsonObject, orjson.loads(await request.read()))
        reply = self._reply(asked)
        self.replies.append(reply)
        return web.Response(body=reply, content_type="application/json")

    def _reply(self, asked: JsonObject) -> bytes:
        messages = cast(list[dict[str, str]], asked["messages"])
        prompt = [token for message in messages for token in self._ids(message)]
        prompt += _TURN_START
        chosen = [self._random.randrange(_N_WORDS) for _ in range(self._n_completion_tokens - 1)]
        text = "".join(self._words[number] for number in chosen)
        ids = [number * 36 + 100 for number in chosen] + [_TURN_END[0]]
        self._said[text] = ids
        tokens = [*(self._words[number] for number in chosen), "<|im_end|>"]
        self.n_tokens = len(prompt) + len(ids)
        body = _body(text, prompt, ids, [self._entry(token) for token in tokens])
        # As the web framework of vLLM writes JSON.
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()

    def _ids(self, message: dict[str, str]) -> list[int]:
        """A message in the template's tokens; what was said here in exactly the tokens said."""
        said = self._said.get(message["content"]) if message["role"] == "assistant" else None
        if said is not None:
            return [*_TURN_START, *said, _TURN_END[1]]
        text = message["content"].encode()
        starts = range(0, len(text), _CHARACTERS_PER_TOKEN)
        pieces = (text[start : start + _CHARACTERS_PER_TOKEN] for start in starts)
        return [*_TURN_START, *(zlib.crc32(piece) % _VOCABULARY for piece in pieces), *_TURN_END]

    def _entry(self, token: str) -> dict[str, Any]:
        """One token of `logprobs.content`; the log-prob is a 32-bit float, as the engine's is."""
        value = -self._random.expovariate(2.0)
        (narrow,) = struct.unpack("f", struct.pack("f", value))
        return {
            "token": token,
            "logprob": narrow,
            "bytes": list(token.encode()),
            "top_logprobs": [],
        }

    def _word(self) -> str:
        if self._random.random() < 0.01:
            return _PARTIAL
        length = self._random.choice((1, 2, 3, 3, 4, 4, 5, 6, 8))
        letters = "".join(
            self._random.choice("etaoinshrdlucmfwypvbgk_({\"'") for _ in range(length)
        )
        return letters if self._random.random() < 0.4 else f" {letters}"


def _body(
    text: str, prompt: list[int], ids: list[int], entries: list[dict[str, Any]]
) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None, "tool_calls": []},
        "logprobs": {"content": entries},
        "finish_reason": "stop",
        "stop_reason": None,
        "token_ids": ids,
    }
    n_prompt, n_completion = len(prompt), len(ids)
    usage = {
        "prompt_tokens": n_prompt,
        "total_tokens": n_prompt + n_completion,
        "completion_tokens": n_completion,
        "prompt_tokens_details": None,
    }
    return {
        "id": f"chatcmpl-{n_prompt:032x}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "bench",
        "choices": [choice],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": usage,
        "prompt_logprobs": None,
        "prompt_token_ids": prompt,
        "kv_transfer_params": None,
    }


async def main(n_completion_tokens: int) -> None:
    """Serve on a free port of 127.0.0.1 until killed."""
    runner = web.AppRunner(Engine(n_completion_tokens).application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = cast(tuple[str, int], runner.addresses[0])
    print(f"listening on http://{host}:{port}", flush=True)  # noqa: T201  its one output
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
