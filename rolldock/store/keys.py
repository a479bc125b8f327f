"""Every name in the store, so that no other file joins strings."""

from datetime import datetime
from urllib.parse import quote


def segment(name: str) -> str:
    """A name as one path segment, percent-encoded."""
    return quote(name, safe="")


def session(attempt: str) -> str:
    """The session record of an attempt."""
    return f"sessions/{attempt}/session"


def claim(attempt: str, slot: int, takeover: int = 1) -> str:
    """The claim of a slot; `takeover` counts the gateways that asked for it, from 1."""
    suffix = "" if takeover == 1 else f".{takeover}"
    return f"sessions/{attempt}/{slot:06}.claim{suffix}"


def reply(attempt: str, slot: int) -> str:
    """The answer to a slot: a turn or a recorded error."""
    return f"sessions/{attempt}/{slot:06}.reply"


def delivered(attempt: str, slot: int) -> str:
    """The mark that a slot's last byte went to the client."""
    return f"sessions/{attempt}/{slot:06}.delivered"


def trace(attempt: str) -> str:
    """The sealed trace of an attempt."""
    return f"sessions/{attempt}/trace"


def result(rollout: str) -> str:
    """The committed result of a rollout."""
    return f"results/{segment(rollout)}"


def create_sent(attempt: str) -> str:
    """The mark that a create for this attempt may have been sent, written before it is."""
    return f"creates/{attempt}"


def tombstone(attempt: str) -> str:
    """The mark that an attempt's sandbox must not exist (any more)."""
    return f"tombstones/{attempt}"


def endpoint(name: str, version: int) -> str:
    """One version of an endpoint."""
    return f"endpoints/{segment(name)}/{version:06}"


def index(ended_at: datetime, experiment: str, rollout: str) -> str:
    """The index entry of a result, under its day in UTC."""
    return f"index/{ended_at:%Y-%m-%d}/{segment(experiment)}/{segment(rollout)}"
