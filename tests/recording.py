"""Turns as the gateway records them: through its own reading of a reply and its own links.

It keeps beside them what the engine really gave, to compare with. It serves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import JsonValue

from rolldock.gateway.conversation import Conversation, Placement
from rolldock.gateway.engine_tokens import (
    EngineTokens,
    NoTokensError,
    TokenPrefixes,
    read_tokens,
)
from rolldock.models.base import JsonObject
from rolldock.models.trace import Trace
from rolldock.models.turn import Body, Encoding, Tokens, Turn, Usage

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BODY = Body(fields={}, encoding=Encoding.COMPACT, digest="0" * 64, n_bytes=0)


def make_turn(slot: int, tokens: Tokens | None, **changes: object) -> Turn:
    """A turn of which only what a test names matters."""
    fields: dict[str, object] = {
        "slot": slot,
        "dialect": "openai.chat",
        "messages": (),
        "request": BODY,
        "sent": BODY,
        "reply": BODY,
        "message": {"role": "assistant", "content": ""},
        "finish_reason": "stop",
        "usage": Usage(),
        "tokens": tokens,
        "sampling": {"temperature": 1.0},
        "endpoint": "endpoint",
        "endpoint_version": 1,
        "started_at": NOW,
        "ended_at": NOW,
    }
    return Turn.model_validate(fields | changes)


def make_trace(turns: Sequence[Turn]) -> Trace:
    """A trace of these turns, as it comes back from the store."""
    ordered = tuple(sorted(turns, key=lambda turn: turn.slot))
    trace = Trace(attempt="attempt", rollout="test/rollout", turns=ordered, sealed_at=NOW)
    return Trace.model_validate_json(trace.model_dump_json())


@dataclass
class OpenCall:
    """A request that has its slot and its parent, and no answer yet."""

    slot: int
    messages: tuple[JsonValue, ...]
    prompt: tuple[int, ...]
    placement: Placement

    def given(self, completion: Sequence[int]) -> EngineTokens:
        """What an engine gives for it; no two tokens of a session have one log-prob."""
        logprobs = tuple(-(self.slot * 4096 + n + 1) / 1024 for n in range(len(completion)))
        return EngineTokens(self.prompt, tuple(completion), logprobs)


@dataclass
class Recording:
    """A session that grows, call by call."""

    turns: dict[int, Turn] = field(default_factory=dict[int, Turn])
    given: dict[int, EngineTokens] = field(default_factory=dict[int, EngineTokens])
    """What the engine really gave, whether or not it said so."""
    _requests: dict[int, OpenCall] = field(default_factory=dict[int, OpenCall])
    _conversation: Conversation = field(default_factory=lambda: Conversation(orjson.dumps))
    _prefixes: TokenPrefixes = field(default_factory=TokenPrefixes)

    def ask(self, after: int | None, prompt: Sequence[int]) -> OpenCall:
        """A request that continues the messages of an answered turn, or begins anew."""
        slot = len(self._requests)
        news: JsonObject = {"role": "user", "content": f"request {slot}"}
        before: tuple[JsonValue, ...] = ()
        if after is not None:
            before = (*self._requests[after].messages, self.turns[after].message)
        messages = (*before, news)
        call = OpenCall(slot, messages, tuple(prompt), self._conversation.place(messages))
        self._requests[slot] = call
        return call

    def answer(
        self,
        call: OpenCall,
        completion: Sequence[int],
        *,
        n_logprobs_left_out: int | None = 0,
        n_miscounted: int = 0,
        **changes: object,
    ) -> Turn:
        """The answer to a call, whose turn later ones may continue.

        Args:
            n_logprobs_left_out: that the engine does not send; None: it sends no ids at all.
            n_miscounted: tokens by which the usage is wrong.
        """
        given = call.given(completion)
        reply = _reply(given, n_logprobs_left_out)
        try:
            tokens, missing = self._prefixes.place(read_tokens(reply)), None
        except NoTokensError as error:
            tokens, missing = None, str(error)
        message: JsonObject = {"role": "assistant", "content": f"answer {call.slot}"}
        n_output = len(completion) + n_miscounted
        turn = make_turn(
            call.slot,
            tokens,
            parent=call.placement.parent,
            message=message,
            tokens_missing=missing,
            usage=Usage(input_tokens=len(call.prompt), output_tokens=n_output),
            **changes,
        )
        self.turns[call.slot] = turn
        self.given[call.slot] = given
        self._conversation.add(call.slot, call.placement, message)
        if tokens is not None:
            self._prefixes.add(call.slot, tokens)
        return turn

    def say(
        self,
        after: int | None,
        news: Sequence[int],
        completion: Sequence[int] = (7, 8),
        **changes: Any,
    ) -> Turn:
        """One whole call that appends to an earlier turn, token by token."""
        call = self.ask(after, (*self.sequence(after), *news))
        return self.answer(call, completion, **changes)

    def sequence(self, slot: int | None) -> tuple[int, ...]:
        """A turn's prompt and completion, as the engine knew them."""
        if slot is None:
            return ()
        return (*self.given[slot].prompt_ids, *self.given[slot].completion_ids)

    @property
    def trace(self) -> Trace:
        """The session, sealed and read back."""
        return make_trace(list(self.turns.values()))


def _reply(given: EngineTokens, n_left_out: int | None) -> JsonObject:
    """A chat completion's tokens, as vLLM writes them."""
    if n_left_out is None:
        return {"choices": [{}]}
    kept = given.logprobs[: max(0, len(given.logprobs) - n_left_out)]
    logprobs: JsonObject = {"content": [{"token": "x", "logprob": value} for value in kept]}
    choice: JsonObject = {"token_ids": [*given.completion_ids], "logprobs": logprobs}
    return {"prompt_token_ids": [*given.prompt_ids], "choices": [choice]}
