"""Every name in the store, so that no other file joins strings."""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from rolldock.errors import UsageError

_SEGMENT_CHARACTERS: Final = 200
"""File systems take 255 bytes for a name, and the store adds a few while it writes one."""
_DIGEST_CHARACTERS: Final = 32


@lru_cache(maxsize=1024)
def segment(name: str) -> str:
    """A name as one path segment: percent-encoded; a long one is cut and ends in `~` and a digest.

    No rollout id and no name holds `~`, so no two of them share a segment.

    Raises:
        UsageError: it is empty.
    """
    if not name:
        raise UsageError("'' is no id and no name: give the one that is meant, see `rolldock ls`")
    encoded = quote(name, safe="")
    if len(encoded) <= _SEGMENT_CHARACTERS:
        return encoded
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{encoded[: _SEGMENT_CHARACTERS - _DIGEST_CHARACTERS - 1]}~{digest}"


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


SESSIONS: Final = "sessions"
"""Where the session logs and traces of attempts are."""


def recording(attempt: str) -> str:
    """Where the session log and the trace of an attempt are."""
    return f"{SESSIONS}/{attempt}"


def recorded_attempt(trace: str) -> str:
    """The attempt whose trace has this name; a rollout that only graded names an earlier one's."""
    return trace.split("/")[1]


def recording_deleted(attempt: str) -> str:
    """The mark that an attempt's session log and trace were deleted, which stays in their place."""
    return f"{recording(attempt)}/deleted"


EXPIRED: Final = "expired"
"""How far the recordings of ended rollouts were deleted, day by day."""
EXPIRED_ALL: Final = "all"


def expired(day: str, n_rollouts: int | None) -> str:
    """The mark that of a day's rollouts, in order of their names, so many have no recordings any
    more; None: all. Later marks sort after earlier ones."""
    return f"{EXPIRED}/{day}/{EXPIRED_ALL if n_rollouts is None else f'{n_rollouts:09}'}"


KEPT_BACK: Final = "kept-back"
"""Ended rollouts whose expired recordings could not be deleted when their day came."""


def kept_back(segment: str) -> str:
    """The mark that a rollout's expired recordings are still there, by its name's segment."""
    return f"{KEPT_BACK}/{segment}"


DEPLOYMENTS: Final = "deployments"
"""The deployments that keep their records in this store."""


def deployment(deployment: str) -> str:
    """The mark that a deployment keeps its records in this store."""
    return f"{DEPLOYMENTS}/{segment(deployment)}"


RESULTS: Final = "results"
"""Where the results of all rollouts are."""


def result(rollout: str) -> str:
    """The committed result of a rollout."""
    return f"{RESULTS}/{segment(rollout)}"


def replays(origin: str) -> str:
    """Where the replays of a rollout are named."""
    return f"replays/{segment(origin)}"


def replay(origin: str, rollout: str) -> str:
    """The mark that a rollout replays another; its content is the replay's id."""
    return f"{replays(origin)}/{segment(rollout)}"


CHECKPOINTS: Final = "checkpoints"
"""The ledger of checkpoints, which no API lists."""


def checkpoint_asked(attempt: str) -> str:
    """The mark that a checkpoint of an attempt's sandbox may have been asked for."""
    return f"{CHECKPOINTS}/{attempt}/asked"


def checkpoint_made(attempt: str) -> str:
    """The checkpoint of an attempt's sandbox, once it can be restored."""
    return f"{CHECKPOINTS}/{attempt}/made"


def checkpoint_gone(attempt: str) -> str:
    """The mark that an attempt's checkpoints were deleted."""
    return f"{CHECKPOINTS}/{attempt}/gone"


def create_sent(attempt: str) -> str:
    """The mark that a create for this attempt may have been sent, written before it is."""
    return f"creates/{attempt}"


def tombstone(attempt: str) -> str:
    """The mark that an attempt's sandbox must not exist (any more)."""
    return f"tombstones/{attempt}"


def endpoint(name: str, version: int) -> str:
    """One version of an endpoint."""
    return f"{endpoint_versions(name)}/{version:06}"


def endpoint_versions(name: str) -> str:
    """Where the versions of an endpoint are."""
    return f"endpoints/{segment(name)}"


def callers(name: str, version: int | None = None) -> str:
    """Where an endpoint's callers under one version are, or under any."""
    place = f"callers/{segment(name)}"
    return place if version is None else f"{place}/{version:06}"


def caller(name: str, version: int, attempt: str) -> str:
    """The mark that a session may have called an endpoint while a version was its newest."""
    return f"{callers(name, version)}/{attempt}"


def waiting(name: str, pause: int) -> str:
    """Where the calls are that wait for the end of a pause."""
    return f"waiting/{segment(name)}/{pause:06}"


def waiting_call(name: str, pause: int, attempt: str, slot: int) -> str:
    """The mark that a slot's call waits in the gateway and is not at the model server."""
    return f"{waiting(name, pause)}/{attempt}.{slot:06}"


TUNNELS: Final = "tunnels"
"""Where the versions of the published tunnel are."""


def tunnel(version: int) -> str:
    """One version of where the gateway is reached from outside."""
    return f"{TUNNELS}/{version:06}"


AGENTS: Final = "agents"
"""Where the records of pushed agents are."""


def agent_archive(name: str, version: str, machine: str, recipe: str) -> str:
    """The archive of an agent's version, installed in one way for one kind of machine."""
    return f"{AGENTS}/{segment(name)}/{segment(version)}/{segment(machine)}/{recipe}"


INDEX: Final = "index"
"""Where the index entries are, by day and experiment."""


def index_day(day: str) -> str:
    """Where the index entries of the rollouts are that ended on a day, `YYYY-MM-DD` in UTC."""
    return f"{INDEX}/{day}"


def index(ended_at: datetime, experiment: str, rollout: str) -> str:
    """The index entry of a result, under its day in UTC."""
    day = ended_at.astimezone(UTC)
    return f"{index_day(f'{day:%Y-%m-%d}')}/{segment(experiment)}/{segment(rollout)}"
