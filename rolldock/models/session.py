"""The session log's records: session, claim (turn or end), reply (turn or error).

Names under `sessions/{attempt}/` and the rules by which they are written are in
`rolldock/gateway/session_log.py`.
"""

from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from .base import Contract, JsonObject, Record, UtcTime
from .replay import Divergence, Replayed, ReplayPoint
from .spec import Delivery, Limits, Name, Purpose, RolloutId, Sampling, Sha256
from .turn import Turn


class Session(Record):
    """An attempt at the gateway: whose it is, what it may do. Written before the agent starts."""

    attempt: str
    rollout: RolloutId
    endpoint: Name
    sampling: Sampling = Sampling()
    limits: Limits = Limits()
    purpose: Purpose = Purpose.TRAIN
    delivery: Delivery = Delivery.HELD
    hold_seconds: float = Field(default=60, gt=0)
    """How long response headers may be withheld: the agent's client must wait that long."""
    tunnel_url: str | None = None
    """The published URL that its agent was given; None: it reaches the gateway without a tunnel."""
    replay: ReplayPoint | None = None
    """The recording that its calls are answered from; None: the model is asked."""
    expires_at: UtcTime
    """The token's expiry: after the attempt's deadline."""
    created_at: UtcTime


class EndReason(StrEnum):
    """Why a session takes no more turns. `stopped` is any END that is not a budget's."""

    STOPPED = "stopped"
    MAX_TURNS = "max_turns"
    TOKEN_BUDGET = "token_budget"
    CONTEXT_LENGTH = "context_length"
    AGENT_TIMEOUT = "agent_timeout"
    """The agent's seconds are over, and no worker has ended it."""
    REPLAY_DIVERGED = "replay_diverged"
    """The agent asked what was not recorded, and the replay was to stop then."""
    REPLAY_UNAVAILABLE = "replay_unavailable"
    """The recording that was to answer is gone or damaged."""
    SUPERSEDED = "superseded"
    """A newer attempt of the same rollout has begun."""


class TurnClaim(Record):
    """Slot n is taken by a model call that has not been answered yet."""

    kind: Literal["turn"] = "turn"
    gateway: str
    """The gateway process that calls the model: a UUID drawn when it started."""
    request_digest: Sha256
    """Of the canonical body without `stream`, `stream_options` and `metadata`."""
    idempotency_key: str | None = None
    assumed_retry: bool = False
    """A retry without an idempotency key or a retry header, taken as one because its slot's
    connection was gone."""
    reserved_output_tokens: int = Field(default=0, ge=0)
    claimed_at: UtcTime


class EndClaim(Record):
    """Slot n is the end: no claim may follow."""

    kind: Literal["end"] = "end"
    reason: EndReason
    by: str
    """Who wrote it: `stop_agent`, `attempt:{uuid}`, `gateway:{uuid}`, `reaper` or `client`."""
    detail: str | None = None
    """Of `replay_unavailable`, a sentence that names what is gone or damaged."""
    claimed_at: UtcTime


Claim: TypeAlias = Annotated[TurnClaim | EndClaim, Field(discriminator="kind")]


class TurnError(Record):
    """The model server's last word on a call that gave no turn; delivered like a reply."""

    kind: Literal["error"] = "error"
    slot: int = Field(ge=0)
    status: int = Field(ge=400, le=599)
    """The HTTP status that the agent gets."""
    upstream_status: int | None = None
    """None: no response came."""
    message: str
    body: JsonObject | None = None
    context_overflow: bool = False
    """The model server refused the request because it does not fit the model's context."""
    divergence: Divergence | None = None
    """Why a replay has no answer; None: this is no replay, or the recording holds this error."""
    replayed: Replayed | None = None
    """The recorded error that this repeats; None: the model was asked, or nobody was."""
    started_at: UtcTime
    ended_at: UtcTime


class TurnReply(Record):
    """A claim's answer: the turn."""

    kind: Literal["turn"] = "turn"
    turn: Turn


class SessionFacts(Contract):
    """What a session's log says once its agent has ended."""

    has_turn: bool = False
    """Whether any model call was answered."""
    end_reason: EndReason | None = None
    last_error: str | None = None
    """The newest recorded error of the model server, where no turn is newer."""
    undelivered: bool = False
    """The newest turn's last byte never reached the agent."""
    end_detail: str | None = None
    """What END says beside its reason."""
    divergence: str | None = None
    """How the call that ended a replay differs from the recording, in a sentence."""


Reply: TypeAlias = Annotated[TurnReply | TurnError, Field(discriminator="kind")]

CLAIM: TypeAdapter[TurnClaim | EndClaim] = TypeAdapter(Claim)
REPLY: TypeAdapter[TurnReply | TurnError] = TypeAdapter(Reply)
