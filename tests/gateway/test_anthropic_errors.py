"""Errors in Anthropic's shape, as the official client's own exceptions."""

import asyncio
from pathlib import Path
from typing import cast

import orjson
import pytest
from anthropic import (
    APIStatusError,
    AsyncAnthropic,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from pydantic import JsonValue

from rolldock.models.base import JsonObject
from rolldock.models.session import EndReason
from rolldock.models.spec import Limits
from rolldock.store.store import Store
from tests.gateway.conftest import World, gateway_process
from tests.gateway.model_server import ModelServer, Plan
from tests.gateway.test_anthropic import ask, claude, user

UNTRANSLATABLE: list[tuple[dict[str, JsonValue], str]] = [
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
    ({"tools": [{"name": "a", "input_schema": {}, "defer_loading": True}]}, "defer_loading"),
    ({"mcp_servers": [{"name": "x"}]}, "mcp_servers"),
    ({"container": "c1"}, "container"),
    ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "compact_20260112"),
    ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"stream": 1}, "stream"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "'document'"),
    ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0]"),
    (
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        "messages[1]: a prefilled answer",
    ),
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
                }
            ]
        },
        "messages[0].content[0].source",
    ),
    ({"system": [{"type": "image"}]}, "system[0]"),
]


def kind_of(error: APIStatusError) -> object:
    """The `type` in an error's body, which must have Anthropic's shape."""
    body = cast(dict[str, JsonObject], error.body)
    assert {**body, "error": None} == {"type": "error", "error": None}
    return body["error"]["type"]


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_of_the_model_server(tmp_path: Path, model: ModelServer, stream: bool) -> None:
    """429, 5xx and 4xx of the model server are the client's own exceptions, with its words."""
    path = tmp_path / "store"
    with gateway_process(path, upstream_total_seconds=0.1) as running:
        world = World(Store.open(str(path)), running, model, "endpoint")
        await world.add_endpoint()
        async with claude(world, await world.open(), retries=0) as client:
            for status, raised, kind in (
                (429, RateLimitError, "rate_limit_error"),
                (503, InternalServerError, "api_error"),
                (400, BadRequestError, "invalid_request_error"),
                (404, NotFoundError, "not_found_error"),
            ):
                said: JsonObject = {"error": {"message": f"said {status}"}}
                model.plans.append(Plan(status=status, error=said))
                with pytest.raises(raised, match=f"said {status}") as caught:
                    await ask(client, user("hi"), stream=stream)
                assert kind_of(caught.value) == kind


async def test_an_overflow_says_what_agents_look_for(world: World) -> None:
    """A prompt that is too long is told in the words by which agents know it."""
    said: JsonObject = {"message": "the maximum context length is 8 tokens"}
    world.model.plans.extend(Plan(status=400, error={"error": said}) for _ in range(2))
    async with claude(world, await world.open()) as client:
        with pytest.raises(BadRequestError, match="prompt is too long: the maximum context"):
            await ask(client, user("hi"))


async def test_an_error_after_the_hold_is_an_event(world: World) -> None:
    """Once a stream is open, comments keep it so and the error comes as an event."""
    gate = asyncio.Event()
    attempt = await world.open(hold_seconds=0.01)
    world.model.plans.extend([Plan(gate=gate), Plan(content=None, choice={"message": None})])
    async with claude(world, attempt, retries=0) as client:
        asked = asyncio.create_task(ask(client, user("hi"), stream=True))
        await world.model.arrived(1)
        # Some keep-alives of the shared gateway, 0.1 s apart, reach the client first.
        await asyncio.wait({asked}, timeout=0.35)
        gate.set()
        assert (await asked).stop_reason == "end_turn"
        with pytest.raises(APIStatusError, match="without a chat completion") as caught:
            await ask(client, user("ho"), stream=True)
        assert kind_of(caught.value) == "api_error"


@pytest.mark.parametrize(("body", "named"), UNTRANSLATABLE)
async def test_what_cannot_be_translated_is_named(
    world: World, body: dict[str, JsonValue], named: str
) -> None:
    """A hosted tool, a document, a prefill and the like are a 400 that names the item."""
    attempt = await world.open()
    async with claude(world, attempt) as client:
        with pytest.raises(BadRequestError) as caught:
            await client.messages.create(
                model="m", max_tokens=5, messages=[user("hi")], extra_body=body
            )
    assert named in caught.value.message
    assert kind_of(caught.value) == "invalid_request_error"
    assert world.model.calls == []
    assert await world.log(attempt).read_claim(0) is None


async def test_tokens_and_ends(world: World) -> None:
    """A bad token, an ended session and a reached budget have this format's shape; the token is
    taken from either header."""
    attempt = await world.open(limits=Limits(max_turns=1))
    async with claude(world, attempt) as client:
        async with AsyncAnthropic(
            base_url=world.gateway.url,
            auth_token=world.token(attempt),
            default_headers={"x-api-key": "sk-other"},
        ) as bearer:
            await ask(bearer, user("hi"))
        with pytest.raises(BadRequestError, match="max_turns"):
            await ask(client, user("ho"))
        with pytest.raises(AuthenticationError) as refused:
            await ask(client.with_options(api_key="sk-other"), user("hi"))
        assert kind_of(refused.value) == "authentication_error"
        with pytest.raises(NotFoundError) as missing:
            await client.post("/v1/nowhere", cast_to=object, body={})
        assert kind_of(missing.value) == "not_found_error"
    ended = await world.open()
    await world.log(ended).end(EndReason.STOPPED, by="stop_agent")
    async with claude(world, ended) as client:
        with pytest.raises(PermissionDeniedError) as stopped:
            await ask(client, user("hi"))
        assert kind_of(stopped.value) == "permission_error"


async def test_a_body_that_is_no_json(world: World) -> None:
    """What is no JSON at all is refused in the same shape."""
    async with claude(world, await world.open()) as client:
        with pytest.raises(BadRequestError, match="not JSON") as caught:
            await client.post("/v1/messages", cast_to=object, content=b"{nope")
        assert kind_of(caught.value) == "invalid_request_error"
    assert orjson.loads(caught.value.response.content)["type"] == "error"
