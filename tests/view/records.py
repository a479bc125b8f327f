"""Rollouts as a store holds them: written through the store's own ways, read by the pages.

Turns are placed by the gateway's own reading of conversations. Nothing here runs an agent.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson
from pydantic import JsonValue

from rolldock.gateway.conversation import Conversation, Placement
from rolldock.gateway.dialects.chat_form import canonical
from rolldock.gateway.seal import seal
from rolldock.gateway.session_log import SessionLog
from rolldock.models.base import JsonObject
from rolldock.models.failure import Failure
from rolldock.models.result import (
    Artifact,
    AttemptResult,
    RolloutResult,
    Stage,
    Status,
    StopReason,
)
from rolldock.models.session import EndReason, Session, TurnClaim, TurnError, TurnReply
from rolldock.models.spec import AgentRef, RolloutSpec, Sampling, TaskRef
from rolldock.models.stages import Order, SealRequest
from rolldock.models.trace import TraceSummary
from rolldock.models.turn import Tokens, TokenSource, Turn, Usage
from rolldock.results import build_result, commit
from rolldock.store.store import Store
from tests.recording import BODY

BEGAN = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
DIGEST = "0" * 64
STAGES = {
    Stage.CREATE_SANDBOX: 2.4,
    Stage.SET_UP_SANDBOX: 6.1,
    Stage.START_AGENT: 0.8,
    Stage.AWAIT_AGENT: 41.5,
    Stage.STOP_AGENT: 0.6,
    Stage.GRADE: 7.9,
}


def call(name: str, id: str, **arguments: JsonValue) -> JsonObject:
    """A tool call in chat form."""
    written = orjson.dumps(arguments).decode()
    return {"id": id, "type": "function", "function": {"name": name, "arguments": written}}


def assistant(content: str | None, *calls: JsonObject, **fields: JsonValue) -> JsonObject:
    """An assistant's message."""
    message: JsonObject = {"role": "assistant", "content": content, **fields}
    return {**message, "tool_calls": list(calls)} if calls else message


def result_of(id: str, content: str) -> JsonObject:
    """The result of a tool call."""
    return {"role": "tool", "tool_call_id": id, "content": content}


@dataclass
class Talk:
    """A session that is written turn by turn into the log of a store."""

    store: Store
    rollout: str
    attempt: str = field(default_factory=lambda: str(uuid.uuid4()))
    _asked: dict[int, tuple[JsonValue, ...]] = field(
        default_factory=dict[int, tuple[JsonValue, ...]]
    )
    _replies: dict[int, JsonObject] = field(default_factory=dict[int, JsonObject])
    _places: Conversation = field(default_factory=lambda: Conversation(canonical))
    _slot: int = 0

    @property
    def log(self) -> SessionLog:
        """Its log."""
        return SessionLog(self.store, self.attempt)

    async def open(self) -> None:
        """Write the session record."""
        session = Session(
            attempt=self.attempt,
            rollout=self.rollout,
            endpoint="qwen3-coder",
            expires_at=BEGAN + timedelta(hours=6),
            created_at=BEGAN,
        )
        await self.log.open(session)

    async def ask(self) -> int:
        """Claim the next slot; the model has not answered."""
        slot, self._slot = self._slot, self._slot + 1
        claim = TurnClaim(gateway="test", request_digest=DIGEST, claimed_at=self._at(slot))
        assert await self.log.claim(slot, claim)
        return slot

    async def say(
        self, after: int | None, news: Sequence[JsonObject], said: JsonObject, **fields: object
    ) -> int:
        """A turn that continues an earlier one; its slot."""
        slot = await self.ask()
        before = () if after is None else (*self._asked[after], self._replies[after])
        messages = (*before, *news)
        placed = self._places.place(messages)
        turn = self._turn(slot, placed, messages, said, fields)
        await self.log.answer(slot, TurnReply(turn=turn))
        await self.log.mark_delivered(slot)
        self._asked[slot], self._replies[slot] = messages, said
        self._places.add(slot, placed, said)
        return slot

    async def fail(self, message: str, **fields: object) -> int:
        """A call that the model server refused."""
        slot = await self.ask()
        error: dict[str, object] = {
            "slot": slot,
            "status": 502,
            "upstream_status": 500,
            "message": message,
            "started_at": self._at(slot),
            "ended_at": self._at(slot),
        }
        await self.log.answer(slot, TurnError.model_validate(error | fields))
        return slot

    async def seal(self, reason: EndReason = EndReason.STOPPED) -> TraceSummary:
        """End the session and write its trace."""
        await self.log.end(reason, "stop_agent")
        return await seal(self.store, self.attempt, self.rollout, BEGAN + timedelta(minutes=2))

    def _turn(
        self,
        slot: int,
        placed: Placement,
        messages: tuple[JsonValue, ...],
        reply: JsonObject,
        fields: Mapping[str, object],
    ) -> Turn:
        known: dict[str, object] = {
            "slot": slot,
            "dialect": "openai.chat",
            "parent": placed.parent,
            "n_shared": placed.n_shared,
            "messages": messages[placed.n_shared :],
            "request": BODY,
            "sent": BODY,
            "reply": BODY,
            "message": reply,
            "finish_reason": "tool_calls" if reply.get("tool_calls") else "stop",
            "usage": Usage(
                input_tokens=900 + 310 * slot, output_tokens=64 + slot, cached_tokens=300 * slot
            ),
            "sampling": {"temperature": 1.0},
            "endpoint": "qwen3-coder",
            "endpoint_version": 1,
            "policy_version_start": "step-0012",
            "policy_version_end": "step-0012",
            "started_at": self._at(slot),
            "ended_at": self._at(slot) + timedelta(seconds=1.7 + slot / 10),
        }
        return Turn.model_validate(known | dict(fields))

    def _at(self, slot: int) -> datetime:
        return BEGAN + timedelta(seconds=10 + 4 * slot)


def sampled(*texts: str) -> tuple[Tokens, JsonObject]:
    """Tokens, and the reply's fields that give their texts as vLLM does."""
    ids = tuple(range(100, 100 + len(texts)))
    logprobs = tuple(-0.07 * 2**number for number in range(len(texts)))
    entries: list[JsonValue] = [
        {"token": text, "logprob": logprob} for text, logprob in zip(texts, logprobs, strict=True)
    ]
    reply: JsonObject = {"choices": [{"logprobs": {"content": entries}}]}
    tokens = Tokens(
        source=TokenSource.ENGINE, completion_ids=ids, logprobs=logprobs, prompt_ids=(1, 2)
    )
    return tokens, reply


async def keep(store: Store, files: Mapping[str, bytes]) -> tuple[Artifact, ...]:
    """Files as an attempt leaves them."""
    return tuple(
        [
            Artifact(name=name, digest=await store.put_blob(content), n_bytes=len(content))
            for name, content in files.items()
        ]
    )


def attempt(id: str, number: int = 1, **fields: object) -> AttemptResult:
    """An attempt that went well, but for what is said otherwise."""
    begins = BEGAN + timedelta(seconds=64 * (number - 1))
    known: dict[str, object] = {
        "attempt": id,
        "number": number,
        "sandbox_id": f"sbx-{number}f3a9c",
        "stage": Stage.GRADE,
        "stop_reason": StopReason.AGENT_COMPLETED,
        "agent_version": "1.14.2",
        "agent_exit_code": 0,
        "started_at": begins,
        "ended_at": begins + timedelta(seconds=60.4),
        "timings": {str(stage): seconds for stage, seconds in STAGES.items()},
    }
    return AttemptResult.model_validate(known | fields)


async def finish(
    store: Store,
    rollout: str,
    attempts: Sequence[AttemptResult],
    *,
    status: Status = Status.COMPLETED,
    rewards: Mapping[str, float] | None = None,
    ended_after_seconds: float = 125,
    **spec: object,
) -> RolloutResult:
    """Commit a rollout's result and its index entry."""
    asked: dict[str, object] = {
        "id": rollout,
        "task": TaskRef(name="fix-parser", digest=DIGEST),
        "agent": AgentRef(name="opencode"),
        "endpoint": "qwen3-coder",
        "sampling": Sampling(temperature=1),
        "experiment": "grpo-7",
    }
    wanted = RolloutSpec.model_validate(asked | spec)
    *earlier, last = attempts
    order = Order(
        rollout=rollout,
        run="run",
        attempt=last.attempt,
        number=last.number,
        spec=wanted,
        spec_digest=DIGEST,
        deadline=BEGAN + timedelta(hours=6),
    )
    request = SealRequest(
        order=order,
        attempt=last,
        earlier=tuple(earlier),
        last=True,
        status=status,
        rewards=dict(rewards or {"reward": 1.0}),
        started_at=BEGAN,
    )
    result = build_result(request, BEGAN + timedelta(seconds=ended_after_seconds))
    return await commit(store, result)


def failed(stage: Stage, cause: str, message: str) -> Failure:
    """A failure of an attempt."""
    return Failure(stage=stage, cause=cause, message=message, retryable=True)


def words(n_words: int, of: Iterable[str] = ("alpha", "beta", "gamma", "delta")) -> str:
    """A text of so many words."""
    known = list(of)
    return " ".join(known[number % len(known)] for number in range(n_words))
