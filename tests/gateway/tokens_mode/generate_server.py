"""Stands in for vLLM: `/inference/v1/generate` and `/v1/models`, over a tiny random model.

It is no vLLM. It speaks that part of vLLM's protocol that the gateway uses, as
vllm/entrypoints/scale_out/token_in_token_out does, and its log-probs are those that the tiny model
really gives. A text that it is told to say is teacher-forced; its log-probs are true, too. It is
spelled character by character, as models may: who tokenises it again gets other ids.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from aiohttp import web

from rolldock.gateway.engine_tokens import EngineTokens
from rolldock.models.names import SESSION_HEADER, SLOT_HEADER
from rolldock.models.turn import TokenSource
from tests.gateway.tokens_mode.tiny_model import END, MARKERS, Floats, TinyModel, make_tokenizer

MODEL = "tiny"
_MARKER = re.compile(f"({'|'.join(map(re.escape, MARKERS))})")
_MOST_UNSAID = 24
"""Tokens of a free reply without a limit: a random model seldom comes to an end."""


@dataclass
class Wish:
    """How one call is answered, where it is not simply sampled."""

    say: str | None = None
    """Teacher-forced, with the end of the turn after it."""
    unended: bool = False
    """Without that end, as if the limit had been reached."""
    status: int = 200
    error: dict[str, Any] | None = None
    finish_reason: str | None = None
    old_shape: bool = False
    """Log-probs as vLLM wrote them before 2026."""
    spoil: dict[str, Any] = field(default_factory=dict[str, Any])
    """Written over the choice."""
    gate: asyncio.Event | None = None
    """Waited for before the reply."""


@dataclass(frozen=True)
class Given:
    """One answered call: the bytes and the tokens that really went over the wire."""

    raw: bytes
    reply: bytes
    tokens: EngineTokens


class GenerateServer:
    """Keeps what it was asked and what it really gave."""

    def __init__(self, context: int = 16384, seed: int = 0) -> None:
        self.tokenizer = make_tokenizer()
        self.model = TinyModel(self.tokenizer.get_vocab_size(), seed)
        self.context = context
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.given: dict[tuple[str, int], Given] = {}
        """By session and slot; a call that is made again gives the last one."""
        self.wishes: deque[Wish] = deque()
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve on a port of the system's choice."""
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/inference/v1/generate", self._generate)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Close, open calls included."""
        if self._runner is not None:
            await self._runner.cleanup()

    def say(self, *texts: str) -> None:
        """What the next calls are answered with."""
        self.wishes.extend(Wish(say=text) for text in texts)

    def ids(self, text: str) -> list[int]:
        """A text's tokens."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _spelled(self, text: str) -> list[int]:
        """A text's tokens, each a character or a marker."""
        pieces = [piece for piece in _MARKER.split(text) if piece]
        alone = [[piece] if piece in MARKERS else list(piece) for piece in pieces]
        return [token for piece in alone for each in piece for token in self.ids(each)]

    def text(self, ids: Sequence[int]) -> str:
        """What tokens spell, special ones included."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    async def _models(self, _: web.Request) -> web.Response:
        card = {"id": MODEL, "object": "model", "max_model_len": self.context}
        return web.json_response({"object": "list", "data": [card]})

    async def _generate(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = cast(dict[str, Any], json.loads(raw))
        wish = self.wishes.popleft() if self.wishes else Wish()
        self.calls.append(body)
        self.headers.append(dict(request.headers))
        if wish.gate is not None:
            await wish.gate.wait()
        if wish.status != 200:
            return web.json_response(wish.error, status=wish.status)
        if len(body["token_ids"]) >= self.context:
            return web.json_response(self._too_long(len(body["token_ids"])), status=400)
        reply, tokens = self._answer(body, wish)
        written = _written(reply)
        if SESSION_HEADER in request.headers:
            place = (request.headers[SESSION_HEADER], int(request.headers[SLOT_HEADER]))
            self.given[place] = Given(raw, written, tokens)
        return web.Response(body=written, content_type="application/json")

    def _too_long(self, n_prompt: int) -> dict[str, Any]:
        message = (
            f"The decoder prompt (length {n_prompt}) is longer than the maximum model length of "
            f"{self.context}."
        )
        return {"error": {"message": message, "type": "BadRequestError", "code": 400}}

    def of(self, attempt: str) -> dict[int, Given]:
        """What a session was given, by slot."""
        return {slot: given for (session, slot), given in self.given.items() if session == attempt}

    def _answer(self, body: dict[str, Any], wish: Wish) -> tuple[dict[str, Any], EngineTokens]:
        prompt = cast(list[int], body["token_ids"])
        params = cast(dict[str, Any], body["sampling_params"])
        completion, distributions, finish = self._complete(prompt, params, wish)
        logprobs = [
            float(each[token]) for each, token in zip(distributions, completion, strict=True)
        ]
        given = EngineTokens(
            tuple(prompt), tuple(completion), tuple(logprobs), TokenSource.RENDERED
        )
        entry = _old_entry if wish.old_shape else _entry
        choice: dict[str, Any] = {
            "index": 0,
            "logprobs": {
                "content": [
                    entry(token, each, int(params["logprobs"]))
                    for token, each in zip(completion, distributions, strict=True)
                ]
            },
            "finish_reason": wish.finish_reason or finish,
            "token_ids": completion,
            "routed_experts": None,
            **wish.spoil,
        }
        n_prompt, n_completion = len(prompt), len(completion)
        reply = {
            "request_id": f"generate-tokens-{len(self.calls)}",
            "model": body["model"],
            "created": 1_700_000_000 + len(self.calls),
            "usage": {
                "prompt_tokens": n_prompt,
                "total_tokens": n_prompt + n_completion,
                "completion_tokens": n_completion,
                "prompt_tokens_details": None,
            },
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "kv_transfer_params": None,
            "choices": [choice],
        }
        return reply, given

    def _complete(
        self, prompt: list[int], params: dict[str, Any], wish: Wish
    ) -> tuple[list[int], list[Floats], str]:
        """Completion, the log-probs of all tokens at each place of it, finish reason."""
        forced = None if wish.say is None else self._spelled(wish.say)
        if forced is not None and not wish.unended:
            forced += self.ids(END)
        asked = params.get("max_tokens")
        limit = min(asked or _MOST_UNSAID, self.context - len(prompt))
        if forced is not None:
            limit = min(len(forced), asked or len(forced))
        draw = np.random.default_rng(params.get("seed"))
        state = self.model.state(prompt)
        completion: list[int] = []
        distributions: list[Floats] = []
        while len(completion) < limit:
            found = self.model.log_probs(state)
            token = (
                self.model.sample(found, float(params["temperature"]), draw)
                if forced is None
                else forced[len(completion)]
            )
            completion.append(token)
            distributions.append(found)
            if token in params["stop_token_ids"]:
                return completion, distributions, "stop"
            state = self.model.after(state, token)
        return completion, distributions, "length"


def _entry(token: int, log_probs: Floats, n_best: int) -> dict[str, Any]:
    """One place: the sampled token first, then the likeliest others."""
    order = np.argsort(-log_probs)
    ranks = {int(other): rank for rank, other in enumerate(order, 1)}
    listed = [token, *(int(other) for other in order[:n_best] if other != token)]
    top = [
        {"token_id": other, "logprob": float(log_probs[other]), "rank": ranks[other]}
        for other in listed
    ]
    return {**top[0], "top_logprobs": top}


def _old_entry(token: int, log_probs: Floats, _: int) -> dict[str, Any]:
    own = {"token": f"token_id:{token}", "logprob": float(log_probs[token]), "bytes": None}
    return {**own, "top_logprobs": [own]}


def _written(reply: dict[str, Any]) -> bytes:
    """As Starlette writes JSON."""
    return json.dumps(reply, ensure_ascii=False, separators=(",", ":")).encode()
