"""Chat completions: the model server applies its template. Streamed only under live delivery."""

from contextlib import aclosing
from typing import Final

from rolldock.gateway.completions import (
    NotACompletionError,
    body_to_send,
    effective_sampling,
    of_slot,
    read_completion,
    without_token_limit,
)
from rolldock.gateway.endpoints import Target
from rolldock.gateway.engines import llama_cpp
from rolldock.gateway.engines.base import Engine, EngineCall, Exchange, fitting, unusable
from rolldock.gateway.engines.chat_tokens import TokenReader, token_reader
from rolldock.gateway.json_bodies import BodyError, parse
from rolldock.gateway.neutral_sampling import neutral
from rolldock.gateway.outgoing import written_by_us
from rolldock.gateway.relay import Relay
from rolldock.gateway.sse import EventReader
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import IdsFrom
from rolldock.models.spec import Purpose

PATH: Final = "/chat/completions"
_NOT_READ_LIVE: Final = "they are not read from a live stream"


class ChatEngine(Engine):
    """`POST {base}/chat/completions`."""

    async def ask(self, target: Target, call: EngineCall) -> Exchange:
        endpoint = target.endpoint
        sent = body_to_send(
            call.place.request.chat_body(),
            model=endpoint.model,
            sampling=of_slot(call.session.sampling, call.place.slot),
            neutral=neutral(endpoint) if call.session.purpose is Purpose.TRAIN else {},
            output_left=call.output_left,
            token_ids=endpoint.token_ids is True,
            stream=call.relay is not None,
        )
        if endpoint.token_ids and endpoint.ids_from is IdsFrom.LLAMA_CPP:
            sent = llama_cpp.asking(sent)
        free = without_token_limit(sent)
        if (relay := call.relay) is not None:
            return await fitting(lambda body: _streamed(target, call, relay, body), sent, free)
        reader = await token_reader(target, call, sent)
        return await fitting(lambda body: _whole(target, call, reader, body), sent, free)


async def _whole(
    target: Target, call: EngineCall, reader: TokenReader, sent: JsonObject
) -> Exchange:
    url, body = f"{target.base_url}{PATH}", await written_by_us(sent)
    headers = {**target.bearer, **call.place.headers}
    reply_raw = await call.upstream.post(target, url, body, headers)
    try:
        completion = read_completion(await parse(reply_raw))
    except (BodyError, NotACompletionError) as error:
        raise unusable(url, str(error), retryable=False) from None
    reading = reader(completion.body)
    return Exchange(
        target=target,
        sent=sent,
        sent_body=body,
        reply_raw=reply_raw,
        completion=completion,
        sampling=effective_sampling(sent),
        tokens=reading.tokens,
        tokens_missing=reading.missing,
    )


async def _streamed(target: Target, call: EngineCall, relay: Relay, sent: JsonObject) -> Exchange:
    """Pass events on as they come; what the agent has seen cannot be asked for again."""
    url, place, body = f"{target.base_url}{PATH}", call.place, await written_by_us(sent)
    reader, received = EventReader(), bytearray()
    live = call.dialect.live(place.request, place.attempt, place.slot)
    headers = {**target.bearer, **place.headers}
    try:
        async with aclosing(call.upstream.stream(target, url, body, headers)) as pieces:
            async for piece in pieces:
                received += piece
                for data in reader.feed(piece):
                    if passed := live.take(data):
                        relay.push(passed)
        completion = live.completion()
    except NotACompletionError as error:
        raise unusable(url, str(error), retryable=True) from None
    return Exchange(
        target=target,
        sent=sent,
        sent_body=body,
        reply_raw=bytes(received),
        completion=completion,
        sampling=effective_sampling(sent),
        tokens_missing=_NOT_READ_LIVE if target.endpoint.token_ids else None,
        streamed=True,
        tail=live.tail,
    )
