"""What can be asked of a server that injects faults: faults, their actions, the reports on them.

No behaviour; which request a fault applies to is decided in `registry.py`.
"""

import re
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

from rolldock.models.base import Contract, Record, UtcTime

ADMIN_PATH: Final = "/faults"
JOURNAL_PATH: Final = "/journal"

When: TypeAlias = Literal["before", "after"]
"""before: the handler has not been called; after: the request has taken effect."""


def _expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from None
    return value


class Answer(Contract):
    """An answer of our own; the handler is not called."""

    kind: Literal["answer"] = "answer"
    status: Annotated[int, Field(ge=200, le=599)]
    retry_after_seconds: Annotated[int, Field(ge=0)] | None = None
    """Sent as Retry-After; None: no such header."""
    detail: str = "injected fault"
    """The body is `{"detail": ...}`."""


class Delay(Contract):
    """Time that passes before the handler is called, or before its answer leaves."""

    kind: Literal["delay"] = "delay"
    seconds: Annotated[float, Field(ge=0)]
    when: When = "before"


class Drop(Contract):
    """The connection is closed without a byte of an answer."""

    kind: Literal["drop"] = "drop"
    when: When = "before"
    """after: when the answer's body begins, so a stream is dropped at its first piece."""


class Cut(Contract):
    """The answer is cut in its body and the connection closed; a shorter one is only closed."""

    kind: Literal["cut"] = "cut"
    n_bytes: Annotated[int, Field(ge=0)]
    """Of the body as it goes over the wire, the framing of chunks included."""


class Late(Contract):
    """The connection is dropped now, the request takes effect later; a restart forgets it.

    Not for bodies that a handler reads piece by piece (uploads): they are empty by then.
    """

    kind: Literal["late"] = "late"
    seconds: Annotated[float, Field(ge=0)]


Action: TypeAlias = Annotated[Answer | Delay | Drop | Cut | Late, Field(discriminator="kind")]


class Fault(Contract):
    """What happens to the requests that it matches. The first fault that applies is the only one.

    Faults live in the memory of one process: they are gone when it is restarted.
    """

    method: str | None = None
    """In capitals; None: any."""
    path: Annotated[str, AfterValidator(_expression)]
    """A regular expression for the whole path, without the query."""
    action: Action
    times: Annotated[int, Field(ge=1)] | None = 1
    """How many requests it applies to; None: all."""
    skip: Annotated[int, Field(ge=0)] = 0
    """How many matching requests pass first."""
    probability: Annotated[float, Field(gt=0, le=1)] = 1
    """With which it applies to a matching request that is not skipped."""


class ActiveFault(Record):
    """A fault as its server keeps it."""

    id: str
    fault: Fault
    hits: int
    """How many requests it has been applied to."""


class FaultsState(Record):
    """What a server tells of its faults."""

    faults: tuple[ActiveFault, ...]
    requests: dict[str, int]
    """How many requests have come, faulted ones too, by "METHOD route" (the route's pattern)."""


Harm: TypeAlias = Literal["lose", "oom", "disk_full"]
"""What sandboxd can do to a sandbox: its first process killed, killed for want of memory, no space
left on its disk, so that uploads fail (what runs inside has no limit to run into)."""


class HarmRequest(Contract):
    """Body of sandboxd's `POST /faults/sandboxes/{id}`."""

    kind: Harm


class ListingRequest(Contract):
    """Body of sandboxd's `POST /faults/listing`."""

    lag_seconds: Annotated[float, Field(ge=0)]
    """How long after its create a sandbox shows in lists; 0 ends the lag."""


class JournalEntry(Record):
    """A model call that reached the scripted server's model."""

    received_at: UtcTime
    session: str | None
    """The attempt; None: the caller sent none."""
    slot: int | None
    digest: str
    """SHA-256 of the body as received, hexadecimal."""
