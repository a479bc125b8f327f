"""Probing a model server before it becomes an endpoint, against real servers of many tempers."""

from collections.abc import AsyncIterator, Callable
from math import exp, log
from typing import Any

import pytest
from aiohttp import web

from rolldock.errors import UsageError
from rolldock.models.endpoint import IdsFrom, LogprobsMode, SamplingNames
from rolldock.trainer.probe import Probed, probe_endpoint

Reply = Callable[[dict[str, Any]], web.Response]

CHOICE: dict[str, Any] = {"message": {"role": "assistant", "content": "ok"}}
WITH_IDS: dict[str, Any] = {
    "prompt_token_ids": [1, 2],
    "choices": [
        {**CHOICE, "token_ids": [3], "logprobs": {"content": [{"token": "ok", "logprob": -0.1}]}}
    ],
}


class ModelServer:
    """A server whose temper a test sets, and the requests that it got."""

    def __init__(self) -> None:
        self.reply: Reply = lambda _: web.json_response({"choices": [CHOICE]})
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        self.keys.append(request.headers.get("authorization"))
        self.requests.append(await request.json())
        return self.reply(self.requests[-1])


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """A model server on a port that the system chose."""
    server = ModelServer()
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", server.answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield server
    await runner.cleanup()


def with_candidates(temperature: float) -> dict[str, Any]:
    """A reply with ids, whose log-probs are those at a temperature."""
    logits = [2.0 / temperature, 0.5 / temperature, -1.0 / temperature]
    total = log(sum(exp(value) for value in logits))
    listed = [{"token": f"t{n}", "logprob": value - total} for n, value in enumerate(logits)]
    entry = {"token": "t0", "logprob": logits[0] - total, "top_logprobs": listed}
    choice = {**CHOICE, "token_ids": [3], "logprobs": {"content": [entry]}}
    return {**WITH_IDS, "choices": [choice]}


async def test_a_server_with_ids_and_log_probs_is_told_so(server: ModelServer) -> None:
    """One small request that asks for both, with the key as a bearer token."""
    server.reply = lambda _: web.json_response(WITH_IDS)
    probed = await probe_endpoint(server.url, "m", "sk-1")
    assert probed == Probed(IdsFrom.ENGINE, LogprobsMode.UNKNOWN, SamplingNames.VLLM)
    [asked] = server.requests
    assert (asked["model"], asked["max_tokens"]) == ("m", 1)
    assert asked["return_token_ids"]
    assert asked["logprobs"]
    assert server.keys == ["Bearer sk-1"]


@pytest.mark.parametrize("mode", [LogprobsMode.RAW, LogprobsMode.PROCESSED])
async def test_the_mode_is_told_from_two_temperatures(
    server: ModelServer, mode: LogprobsMode
) -> None:
    """The same request again, hotter: do its log-probs change?"""
    processed = mode is LogprobsMode.PROCESSED
    server.reply = lambda asked: web.json_response(
        with_candidates(asked["temperature"] if processed else 1.0)
    )
    assert (await probe_endpoint(server.url, "m", None)).logprobs_mode is mode
    cold, hot = server.requests
    assert {**cold, "temperature": hot["temperature"]} == hot


async def test_a_server_that_dislikes_the_second_temperature_has_no_known_mode(
    server: ModelServer,
) -> None:
    """The endpoint is usable; whoever knows better says so."""

    def cool(asked: dict[str, Any]) -> web.Response:
        if asked["temperature"] > 1:
            return web.json_response({"error": "too hot"}, status=400)
        return web.json_response(with_candidates(1.0))

    server.reply = cool
    probed = await probe_endpoint(server.url, "m", None)
    assert (probed.ids_from, probed.logprobs_mode) == (IdsFrom.ENGINE, LogprobsMode.UNKNOWN)


@pytest.mark.parametrize(
    ("refused", "names"),
    [
        ("top_k", SamplingNames.OPENAI),
        ("presence_penalty", SamplingNames.NONE),
    ],
)
async def test_the_names_that_a_server_takes_are_found(
    server: ModelServer, refused: str, names: SamplingNames
) -> None:
    """A strict server refuses those that it does not know."""

    def strict(asked: dict[str, Any]) -> web.Response:
        if refused in asked:
            return web.json_response({"error": f"unknown: {refused}"}, status=400)
        return web.json_response(WITH_IDS)

    server.reply = strict
    assert (await probe_endpoint(server.url, "m", None)).sampling_names is names


@pytest.mark.parametrize("missing", ["prompt_token_ids", "token_ids", "logprobs"])
async def test_all_three_are_needed(server: ModelServer, missing: str) -> None:
    """Ids without log-probs, or a completion without its prompt, cannot be trained on."""
    choice = {name: value for name, value in WITH_IDS["choices"][0].items() if name != missing}
    body = {name: value for name, value in WITH_IDS.items() if name != missing}
    server.reply = lambda _: web.json_response(body | {"choices": [choice]})
    assert await probe_endpoint(server.url, "m", None) == Probed()


async def test_ids_in_log_probs_without_llama_cpps_paths_are_none(server: ModelServer) -> None:
    """Those of the prompt cannot be had."""
    entry = {"id": 3, "token": "ok", "logprob": -0.1}
    choice = {**CHOICE, "logprobs": {"content": [entry]}}
    usage = {"prompt_tokens": 2, "completion_tokens": 1}
    server.reply = lambda _: web.json_response({"choices": [choice], "usage": usage})
    assert await probe_endpoint(server.url, "m", None) == Probed()


async def test_a_server_without_ids_is_usable(server: ModelServer) -> None:
    """It ignores what it does not know; without a key none is sent."""
    assert await probe_endpoint(f"{server.url}/", "m", None) == Probed()
    assert server.keys == [None]


@pytest.mark.parametrize("status", [400, 422])
async def test_a_server_that_refuses_our_parameters_is_asked_plainly(
    server: ModelServer, status: int
) -> None:
    """Strict servers refuse what they do not know, and are usable all the same."""

    def strict(asked: dict[str, Any]) -> web.Response:
        if "return_token_ids" in asked:
            return web.json_response({"error": "unknown parameter"}, status=status)
        return web.json_response({"choices": [CHOICE]})

    server.reply = strict
    assert await probe_endpoint(server.url, "m", None) == Probed()
    assert server.requests[-1].keys() == {"model", "messages", "max_tokens"}


async def test_a_model_that_refuses_max_tokens_is_asked_without(server: ModelServer) -> None:
    """Reasoning models know the limit by another name."""

    def reasoning(asked: dict[str, Any]) -> web.Response:
        if "max_tokens" in asked:
            return web.json_response({"error": "use max_completion_tokens"}, status=400)
        return web.json_response({"choices": [CHOICE]})

    server.reply = reasoning
    assert await probe_endpoint(server.url, "m", None) == Probed()


async def test_a_server_that_refuses_everything_is_quoted(server: ModelServer) -> None:
    """Its own words, on one line, with the model's name."""
    server.reply = lambda _: web.Response(status=400, text="no such\n  model")
    with pytest.raises(UsageError, match=r"HTTP 400 for model 'nope': no such model$"):
        await probe_endpoint(server.url, "nope", None)
    assert server.requests[-1].keys() == {"model", "messages"}


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_named_without_being_shown(server: ModelServer, status: int) -> None:
    """The mend is in the message; the key is not."""
    server.reply = lambda _: web.Response(status=status)
    with pytest.raises(UsageError, match=f"refuses the key .HTTP {status}.: .*--api-key") as raised:
        await probe_endpoint(server.url, "m", "sk-secret")
    assert "sk-secret" not in str(raised.value)


@pytest.mark.parametrize("status", [404, 429, 500, 503])
async def test_another_error_is_shown(server: ModelServer, status: int) -> None:
    """Once, without asking again."""
    server.reply = lambda _: web.Response(status=status, text="because")
    with pytest.raises(UsageError, match=f"HTTP {status} for model 'm': because"):
        await probe_endpoint(server.url, "m", None)
    assert len(server.requests) == 1


async def test_a_wrong_path_says_how_the_url_ends(server: ModelServer) -> None:
    """The URL of the call itself in place of its base is the likely mistake."""
    with pytest.raises(UsageError, match=r"HTTP 404 .* ends before /chat/completions"):
        await probe_endpoint(f"{server.url}/chat/completions", "m", None)


@pytest.mark.parametrize(
    "text",
    ["<html>hello</html>", "", "[]", "3", '"x"', "{}", '{"choices": []}', '{"choices": ["x"]}'],
)
async def test_what_is_no_chat_completion_is_refused(server: ModelServer, text: str) -> None:
    """A web page or another API behind the address."""
    server.reply = lambda _: web.Response(text=text)
    with pytest.raises(UsageError, match="does not answer as chat completions do"):
        await probe_endpoint(server.url, "m", None)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/v1", "127.0.0.1:1", "http://", "http://[", "ftp://127.0.0.1/"]
)
async def test_an_address_where_nothing_answers_is_one_line(url: str) -> None:
    """The address, the reason and an example of a good one."""
    with pytest.raises(UsageError, match=r"no model server answers at .*e\.g\. http") as raised:
        await probe_endpoint(url, "m", None)
    assert "\n" not in str(raised.value)
