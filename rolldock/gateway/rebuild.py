"""The bytes of a session's calls, made again from its turns and checked against their digests.

Four kinds: the request as received, the request as sent, the reply as received, and the body that
went to the agent. Reads only what the store has; a trace needs no gateway.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeAlias, cast

import orjson
from pydantic import JsonValue

from rolldock.errors import RolldockError
from rolldock.gateway.dialects.base import Dialect
from rolldock.gateway.dialects.registry import dialect_named
from rolldock.gateway.engine_tokens import EngineTokens, with_ids
from rolldock.gateway.engines import generate
from rolldock.gateway.json_bodies import encode
from rolldock.models.base import JsonObject
from rolldock.models.turn import Body, Encoding, Native, Tokens, Turn
from rolldock.store.store import Store

_Part: TypeAlias = Callable[[Turn], tuple[int, tuple[JsonValue, ...]]]
"""How many items a turn shares with its parent, and its own."""


class DamagedTurnError(RolldockError):
    """Raised when a turn does not give the bytes that its digest names."""


class Rebuilder:
    """The calls of one attempt.

    Raises:
        DamagedTurnError: from every method, when the bytes differ from those that were stored.
        KeyError: no such turn, or one of its blobs is missing.
        UnavailableError: the store does not answer.
    """

    def __init__(self, store: Store, attempt: str, turns: Iterable[Turn]) -> None:
        self._store = store
        self._attempt = attempt
        self._turns = {turn.slot: turn for turn in turns}

    def messages(self, slot: int) -> list[JsonValue]:
        """The whole list of messages that a turn's request had, in chat form."""
        return self._whole_list(slot, lambda turn: (turn.n_shared, turn.messages))

    def native(self, slot: int) -> list[JsonValue]:
        """The same in the agent's own format; for chat completions that is no other."""
        if self._turns[slot].native is None:
            return self.messages(slot)
        return self._whole_list(slot, _native_part)

    def tokens(self, slot: int) -> EngineTokens | None:
        """The whole prompt and completion of a turn; None: the model server gave no ids."""
        tokens = self._turns[slot].tokens
        if tokens is None:
            return None
        prompt = (*self._sequence(tokens.extends), *tokens.prompt_ids)
        return EngineTokens(
            prompt, tokens.completion_ids, tokens.logprobs, tokens.source, tokens.logprobs_mode
        )

    async def request(self, slot: int) -> bytes:
        """The request's bytes as the agent sent them."""
        turn = self._turns[slot]
        if turn.native is None:
            return await self._chat(slot, turn.request)
        return await self._native(slot, turn.request, turn.native)

    async def sent(self, slot: int) -> bytes:
        """The request's bytes as they went to the model server."""
        turn, tokens = self._turns[slot], self.tokens(slot)
        if turn.upstream == generate.FORMAT and tokens is not None:
            fields: JsonObject = {**turn.sent.fields, generate.PROMPT_IDS: [*tokens.prompt_ids]}
            return _checked(encode(fields, turn.sent.encoding), turn.sent.digest, slot, "request")
        if turn.native is None or not dialect_named(turn.dialect).passes_through:
            return await self._chat(slot, turn.sent)
        return await self._native(slot, turn.sent, turn.native)

    async def reply(self, slot: int) -> bytes:
        """The reply's bytes as the model server sent them, a stream with all its events."""
        body = self._turns[slot].reply
        if body.encoding is Encoding.BLOB:
            return await self._store.get_blob(body.digest)
        tokens = self.tokens(slot)
        fields = body.fields if tokens is None else with_ids(body.fields, tokens)
        return _checked(encode(fields, body.encoding), body.digest, slot, "reply")

    async def delivered(self, slot: int) -> bytes | None:
        """The body that went to the agent; None under live delivery."""
        turn = self._turns[slot]
        if turn.delivered_digest is None:
            return None
        dialect: Dialect = dialect_named(turn.dialect)
        if dialect.passes_through:
            return await self.reply(slot)
        rendered = dialect.render(turn, self._attempt)
        return _checked(rendered, turn.delivered_digest, slot, "delivered body")

    def _whole_list(self, slot: int, part: _Part) -> list[JsonValue]:
        """A list of which each turn has what its parent has not, from the root on."""
        turn = self._turns[slot]
        wanted, items = part(turn)
        pieces = [items]
        while wanted and turn.parent is not None:
            turn = self._turns[turn.parent]
            n_shared, items = part(turn)
            pieces.append(items[: max(0, wanted - n_shared)])
            wanted = min(wanted, n_shared)
        return [item for piece in reversed(pieces) for item in piece]

    async def _native(self, slot: int, body: Body, native: Native) -> bytes:
        """A body in the agent's own format."""
        if body.encoding is Encoding.BLOB:
            return await self._store.get_blob(body.digest)
        fields = dict(body.fields)
        if fields.get(native.key, ...) is None:
            fields[native.key] = self.native(slot)
        for key, digest in native.blobs.items():
            fields[key] = cast(JsonValue, orjson.loads(await self._store.get_blob(digest)))
        return _checked(encode(fields, body.encoding), body.digest, slot, "request")

    async def _chat(self, slot: int, body: Body) -> bytes:
        """A body in chat form."""
        if body.encoding is Encoding.BLOB:
            return await self._store.get_blob(body.digest)
        fields = dict(body.fields)
        if "messages" in fields:
            fields["messages"] = self.messages(slot)
        tools = self._turns[slot].tools_digest
        if "tools" in fields and tools is not None:
            fields["tools"] = cast(JsonValue, orjson.loads(await self._store.get_blob(tools)))
        return _checked(encode(fields, body.encoding), body.digest, slot, "request")

    def _sequence(self, slot: int | None) -> tuple[int, ...]:
        """Prompt and completion of a turn, back to where its chain begins."""
        chain: list[Tokens] = []
        while slot is not None and (tokens := self._turns[slot].tokens) is not None:
            chain.append(tokens)
            slot = tokens.extends
        return tuple(
            token
            for tokens in reversed(chain)
            for token in (*tokens.prompt_ids, *tokens.completion_ids)
        )


def _native_part(turn: Turn) -> tuple[int, tuple[JsonValue, ...]]:
    native = turn.native
    return (0, ()) if native is None else (native.n_shared, native.items)


def _checked(raw: bytes, digest: str, slot: int, what: str) -> bytes:
    if hashlib.sha256(raw).hexdigest() != digest:
        raise DamagedTurnError(f"turn {slot}: its {what} cannot be rebuilt to digest {digest}")
    return raw
