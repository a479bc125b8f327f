"""Tokens in, tokens out: the gateway renders the conversation, the model server only samples.

A request that appends to an earlier turn of its session goes on from exactly that turn's tokens.
Replies are wanted whole, under live delivery too: a message is read from a finished completion.
"""

import asyncio
import hashlib
from dataclasses import dataclass

import orjson
from pydantic import JsonValue

from rolldock.gateway.completions import (
    Completion,
    NotACompletionError,
    of_slot,
)
from rolldock.gateway.endpoints import Target
from rolldock.gateway.engine_tokens import EngineTokens
from rolldock.gateway.engines import generate
from rolldock.gateway.engines.base import Engine, EngineCall, Exchange, fitting
from rolldock.gateway.json_bodies import BodyError, parse
from rolldock.gateway.outgoing import written_by_us
from rolldock.gateway.rendering import Rendering, Renderings
from rolldock.gateway.rendering_history import History
from rolldock.gateway.rendering_messages import check_request, stop_strings, tools_of
from rolldock.gateway.upstream import TryFailedError
from rolldock.models.base import JsonObject
from rolldock.models.spec import Purpose
from rolldock.models.turn import TokenSource
from rolldock.store.store import Store


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A call that is rendered and can be sent."""

    rendering: Rendering
    prompt_ids: tuple[int, ...]
    sent: JsonObject


class TokensEngine(Engine):
    """`POST {root}/inference/v1/generate`."""

    def __init__(self, store: Store) -> None:
        self._renderings = Renderings(store)
        self._history = History(store)

    async def ask(self, target: Target, call: EngineCall) -> Exchange:
        prepared = await self._prepare(target, call)
        return await fitting(
            lambda body: _send(target, call, prepared, body),
            prepared.sent,
            generate.without_limit(prepared.sent),
        )

    async def _prepare(self, target: Target, call: EngineCall) -> _Prepared:
        endpoint, session, chat = target.endpoint, call.session, call.place.request.chat
        check_request(chat)
        rendering = await self._renderings.of(endpoint)
        prompt_ids = await self._prompt(target, call, rendering)
        params = generate.sampling_params(
            chat,
            of_slot(session.sampling, call.place.slot),
            pinned=session.purpose is Purpose.TRAIN,
            output_left=call.output_left,
        )
        params |= generate.stopping(rendering.stop_ids, stop_strings(chat))
        sent = generate.generate_body(endpoint.model, prompt_ids, params)
        salt = chat.get("cache_salt") or endpoint.policy_version
        if isinstance(salt, str) and salt:
            # What another policy has cached would make the log-probs those of neither.
            sent["cache_salt"] = salt
        return _Prepared(rendering, prompt_ids, sent)

    async def _prompt(
        self, target: Target, call: EngineCall, rendering: Rendering
    ) -> tuple[int, ...]:
        request = call.place.request
        tools = tools_of(request.chat)
        known = await self._continued(target, call, rendering, tools)
        if known is not None:
            return known
        return await asyncio.to_thread(rendering.whole, request.messages, tools)

    async def _continued(
        self,
        target: Target,
        call: EngineCall,
        rendering: Rendering,
        tools: list[JsonObject] | None,
    ) -> tuple[int, ...] | None:
        """The prompt as what follows the parent's tokens; None: it has to be rendered whole."""
        place, endpoint = call.place, target.endpoint
        if place.placement.parent is None:
            return None
        parent = await self._history.turn(place.attempt, place.placement.parent)
        if parent is None:
            return None
        ours = (endpoint.tokenizer_digest, endpoint.renderer, _digest(place.request.chat))
        if ours != (parent.tokenizer_digest, parent.renderer, parent.tools_digest):
            return None
        return await asyncio.to_thread(
            rendering.continued,
            parent.prompt_ids,
            parent.completion_ids,
            place.request.messages,
            parent.n_messages + 1,
            tools,
        )


async def _send(
    target: Target, call: EngineCall, prepared: _Prepared, sent: JsonObject
) -> Exchange:
    url, sent_body = f"{target.root_url}{generate.PATH}", await written_by_us(sent)
    headers = {**target.bearer, **call.place.headers}
    reply_raw = await call.upstream.post(target, url, sent_body, headers)
    try:
        body = await parse(reply_raw)
        generated = generate.read_generated(body, len(prepared.prompt_ids))
        message = await asyncio.to_thread(
            prepared.rendering.message,
            prepared.prompt_ids,
            generated.completion_ids,
            call.place.request.chat,
        )
    except (BodyError, NotACompletionError) as error:
        said = f"the model server at {url} answered 200 without a completion's tokens: {error}"
        again = isinstance(error, generate.GivenUpError)
        raise TryFailedError(502, said, retryable=again, upstream_status=200) from None
    called = generated.finish_reason == "stop" and "tool_calls" in message
    finish = "tool_calls" if called else generated.finish_reason
    return Exchange(
        target=target,
        sent=sent,
        sent_body=sent_body,
        reply_raw=reply_raw,
        completion=Completion(body, message, finish, generated.usage),
        sampling=generate.effective_sampling(sent),
        format=generate.FORMAT,
        sent_apart=frozenset({generate.PROMPT_IDS}),
        tokens=EngineTokens(
            prepared.prompt_ids,
            generated.completion_ids,
            generated.logprobs,
            TokenSource.RENDERED,
            target.endpoint.logprobs_mode,
        ),
    )


def _digest(chat: JsonObject) -> str | None:
    """Of a request's tools, as turns store it."""
    tools: JsonValue = chat.get("tools")
    return None if tools is None else hashlib.sha256(orjson.dumps(tools)).hexdigest()
