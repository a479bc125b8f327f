"""Prompt ids that llama.cpp's own paths give, and what happens where they do not.

The server here stands in for llama.cpp, to misbehave on request; the real one is in
`test_llama_cpp.py`.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiohttp import web
from openai.types.chat import ChatCompletionMessageParam

from rolldock.models.endpoint import IdsFrom
from rolldock.models.spec import Delivery, Sampling
from rolldock.models.turn import TokenSource, Turn
from rolldock.store.endpoints import encrypt_key
from tests.gateway.conftest import SECRET, World

REPLY = "hello"
HI: ChatCompletionMessageParam = {"role": "user", "content": "hi"}


@dataclass
class StandIn:
    """The paths of llama.cpp that the gateway calls; a character is a token, its id the code."""

    url: str = ""
    calls: Counter[str] = field(default_factory=Counter[str])
    keys: set[str | None] = field(default_factory=set[str | None])
    statuses: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """What each path answers first, before it answers well."""
    n_miscounted: int = 0
    """Prompt tokens by which the usage is wrong."""
    n_left_out: int = 0
    """Completion tokens that the log-probs leave out."""

    async def answer(self, request: web.Request) -> web.Response:
        """POST to any of the three."""
        self.calls[request.path] += 1
        self.keys.add(request.headers.get("Authorization"))
        body = cast(dict[str, Any], await request.json())
        if waiting := self.statuses.get(request.path):
            return web.json_response({"error": {"message": "no"}}, status=waiting.pop(0))
        if request.path == "/apply-template":
            return web.json_response({"prompt": _rendered(body)})
        if request.path == "/tokenize":
            assert (body["add_special"], body["parse_special"]) == (True, True)
            return web.json_response({"tokens": [1, *map(ord, body["content"])]})
        return web.json_response(self._completion(body))

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["logprobs"] is True
        assert body["top_logprobs"] == 1
        assert body["post_sampling_probs"] is False
        entries = [{"id": ord(char), "token": char, "logprob": -0.5} for char in REPLY]
        message = {"role": "assistant", "content": REPLY}
        logprobs = {"content": entries[: len(entries) - self.n_left_out]}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
        n_prompt = 1 + len(_rendered(body)) + self.n_miscounted
        usage = {"prompt_tokens": n_prompt, "completion_tokens": len(REPLY)}
        return {"choices": [choice], "usage": usage}


def _rendered(body: dict[str, Any]) -> str:
    return "".join(f"<{message['role']}>{message['content']}" for message in body["messages"])


@pytest.fixture
async def server(world: World) -> AsyncIterator[StandIn]:
    """The stand-in, as the world's endpoint."""
    made = StandIn()
    app = web.Application()
    paths = ("/v1/chat/completions", "/apply-template", "/tokenize")
    app.add_routes([web.post(path, made.answer) for path in paths])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await world.add_endpoint(
        replicas=(made.url,),
        token_ids=True,
        ids_from=IdsFrom.LLAMA_CPP,
        logprobs_mode="raw",
        api_key=encrypt_key(SECRET, "sk-llama"),
    )
    yield made
    await runner.cleanup()


async def asked(world: World) -> Turn:
    """The turn of one call, whose agent gets its answer."""
    attempt = await world.open(sampling=Sampling(temperature=1))
    client = world.client(attempt)
    reply = await client.chat.completions.create(model="m", messages=[HI])
    assert reply.choices[0].message.content == REPLY
    [turn] = (await world.trace(attempt)).turns
    return turn


async def test_prompt_ids_are_derived_and_marked(world: World, server: StandIn) -> None:
    """Every path is asked once, with the key."""
    turn = await asked(world)
    assert turn.tokens is not None
    assert turn.tokens.source is TokenSource.DERIVED
    assert turn.tokens.prompt_ids == (1, *map(ord, "<user>hi"))
    assert turn.tokens.completion_ids == tuple(map(ord, REPLY))
    assert set(server.calls.values()) == {1}
    assert server.keys == {"Bearer sk-llama"}


async def test_a_busy_server_is_asked_again_before_it_answers(
    world: World, server: StandIn
) -> None:
    """No answer is paid for twice because its prompt could not be had."""
    server.statuses["/tokenize"] = [503, 503]
    turn = await asked(world)
    assert turn.tokens is not None
    assert server.calls["/tokenize"] == 3
    assert server.calls["/v1/chat/completions"] == 1


async def test_a_refusal_costs_the_ids_and_not_the_answer(world: World, server: StandIn) -> None:
    """The turn says who refused."""
    server.statuses["/apply-template"] = [404]
    turn = await asked(world)
    assert turn.tokens is None
    assert turn.tokens_missing is not None
    assert "/apply-template answered 404" in turn.tokens_missing


async def test_prompts_of_another_length_are_not_believed(world: World, server: StandIn) -> None:
    """The server's own count decides."""
    server.n_miscounted = 2
    turn = await asked(world)
    assert turn.tokens is None
    assert turn.tokens_missing == "9 derived prompt ids where the model server counts 11"


async def test_completions_of_another_length_are_not_believed(
    world: World, server: StandIn
) -> None:
    """A token without its log-prob."""
    server.n_left_out = 1
    turn = await asked(world)
    assert turn.tokens is None
    assert turn.tokens_missing == "4 completion ids where the model server counts 5"


async def test_live_delivery_says_that_it_reads_none(world: World) -> None:
    """Ids that were asked for are never missing without a word."""
    await world.add_endpoint(token_ids=True)
    attempt = await world.open(delivery=Delivery.LIVE)
    client = world.client(attempt)
    stream = await client.chat.completions.create(model="m", messages=[HI], stream=True)
    assert [chunk async for chunk in stream]
    [turn] = (await world.trace(attempt)).turns
    assert turn.tokens is None
    assert turn.tokens_missing == "they are not read from a live stream"
