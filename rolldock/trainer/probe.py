"""A few small requests to a model server before it becomes an endpoint: what can it do?

Does it answer, does it give token ids, what are its log-probs, which sampling names does it take.
"""

from dataclasses import dataclass
from typing import Final

import httpx

from rolldock.errors import UsageError
from rolldock.gateway.endpoints import server_root
from rolldock.gateway.engine_tokens import NoTokensError, first_choice, read_tokens
from rolldock.gateway.engines import llama_cpp
from rolldock.gateway.json_bodies import BodyError, parse_object
from rolldock.gateway.neutral_sampling import NEUTRAL
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import IdsFrom, LogprobsMode, SamplingNames
from rolldock.trainer.asking import PROBE_SECONDS, ask, bearer, check_answered
from rolldock.trainer.logprobs_mode import HOT, N_CANDIDATES, lists_candidates, logprobs_mode

_PARAMETER_REFUSED: Final = frozenset({400, 422})
_CHAT_PATH: Final = "/chat/completions"
_URL_ENDS: Final = "which ends before /chat/completions, e.g. http://127.0.0.1:8000/v1"
_WITH_IDS: Final[JsonObject] = {
    "temperature": 1,
    "logprobs": True,
    "top_logprobs": N_CANDIDATES,
    "return_token_ids": True,
}


@dataclass(frozen=True, slots=True)
class Probed:
    """What a model server showed of itself."""

    ids_from: IdsFrom | None = None
    """None: it gives no token ids, or no log-probs."""
    logprobs_mode: LogprobsMode = LogprobsMode.UNKNOWN
    sampling_names: SamplingNames = SamplingNames.NONE
    """Asked for only where there are ids: nothing else is trained on."""


async def probe_endpoint(url: str, model: str, api_key: str | None) -> Probed:
    """Ask a server for one token in a few ways, the most demanding first.

    Args:
        url: the base that ends before `/chat/completions`.

    Raises:
        UsageError: it refuses, wants another key, has no such model, or speaks something else.
    """
    async with httpx.AsyncClient(timeout=PROBE_SECONDS, headers=bearer(api_key)) as client:
        server = _Server(client, url.rstrip("/"))
        names, asked, response = await _answered(server, model)
        reply = _completion(response, f"{server.base}{_CHAT_PATH}", model)
        ids_from = await _ids_from(server, asked, reply)
        if ids_from is None:
            return Probed()
        mode = await _mode(server, asked, reply)
        if ids_from is IdsFrom.LLAMA_CPP:
            names = SamplingNames.LLAMA_CPP
        return Probed(ids_from, mode, names)


@dataclass(frozen=True, slots=True)
class _Server:
    client: httpx.AsyncClient
    base: str

    async def chat(self, body: JsonObject) -> httpx.Response:
        target = f"{self.base}{_CHAT_PATH}"
        return await ask(self.client, target, body, f"check the URL, {_URL_ENDS}")

    async def own(self, path: str, body: JsonObject) -> bytes:
        """POST to one of llama.cpp's own paths."""
        response = await self.client.post(
            f"{server_root(self.base)}{path}",
            json=body,
        )
        if response.is_error:
            raise NoTokensError(f"{path} answered {response.status_code}")
        return response.content


async def _answered(
    server: _Server, model: str
) -> tuple[SamplingNames, JsonObject, httpx.Response]:
    """The first body that a server does not refuse for its parameters, and what it says to it."""
    plain: JsonObject = {"model": model, "messages": [{"role": "user", "content": "Say ok."}]}
    limited: JsonObject = {**plain, "max_tokens": 1}
    bodies: list[tuple[SamplingNames, JsonObject]] = [
        (names, {**limited, **_WITH_IDS, **NEUTRAL[names]})
        for names in (SamplingNames.VLLM, SamplingNames.OPENAI, SamplingNames.NONE)
    ]
    # Servers without a parameter refuse it; the endpoint is usable all the same. The last body has
    # none: reasoning models refuse `max_tokens`.
    for names, asked in (*bodies, (SamplingNames.NONE, limited)):
        response = await server.chat(asked)
        if response.status_code not in _PARAMETER_REFUSED:
            return names, asked, response
    return SamplingNames.NONE, plain, await server.chat(plain)


async def _ids_from(server: _Server, asked: JsonObject, reply: JsonObject) -> IdsFrom | None:
    try:
        given = read_tokens(reply)
    except NoTokensError:
        return await _derived_ids(server, asked, reply)
    return IdsFrom.ENGINE if given.prompt_ids and given.completion_ids else None


async def _derived_ids(server: _Server, asked: JsonObject, reply: JsonObject) -> IdsFrom | None:
    if not llama_cpp.completion_ids(reply):
        return None
    try:
        prompt_ids = await llama_cpp.derive_prompt_ids(server.own, asked)
        llama_cpp.read_derived(reply, prompt_ids, LogprobsMode.UNKNOWN)
    except (NoTokensError, httpx.HTTPError):
        return None
    return IdsFrom.LLAMA_CPP


async def _mode(server: _Server, asked: JsonObject, cold: JsonObject) -> LogprobsMode:
    if not lists_candidates(cold):
        return LogprobsMode.UNKNOWN
    response = await server.chat({**asked, "temperature": HOT})
    try:
        hot = parse_object(response.content)
    except BodyError:
        return LogprobsMode.UNKNOWN
    return logprobs_mode(cold, hot)


def _completion(response: httpx.Response, target: str, model: str) -> JsonObject:
    """The chat completion that a server answered with."""
    check_answered(response, target, model, f"check the model's name and the URL, {_URL_ENDS}")
    try:
        body = parse_object(response.content)
    except BodyError:
        body = JsonObject()
    if not first_choice(body):
        raise UsageError(
            f"{target} does not answer as chat completions do (no choices): check the URL, "
            f"{_URL_ENDS}"
        )
    return body
