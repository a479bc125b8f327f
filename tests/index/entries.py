"""Index entries for tests, written as a seal writes them. Their rollouts never ran."""

from datetime import UTC, datetime

from rolldock.models.result import IndexEntry, Status, StopReason
from rolldock.store import keys
from rolldock.store.store import Store

NOW = datetime.now(UTC)


def entry(rollout: str, **fields: object) -> IndexEntry:
    """A graded rollout with reward 1 that has just ended, but for some fields."""
    given: dict[str, object] = {
        "rollout": rollout,
        "experiment": "exp",
        "task": "task",
        "agent": "bash",
        "status": Status.COMPLETED,
        "stop_reason": StopReason.AGENT_COMPLETED,
        "reward": 1,
        "ended_at": NOW,
    }
    return IndexEntry.model_validate(given | fields)


def failed(rollout: str, cause: str, **fields: object) -> IndexEntry:
    """A rollout without a reward."""
    ending = {
        "status": Status.FAILED,
        "stop_reason": StopReason.INFRASTRUCTURE,
        "cause": cause,
        "failed_in": "await_agent",
        "reward": None,
    }
    return entry(rollout, **(ending | fields))


async def write(store: Store, *entries: IndexEntry) -> None:
    """Put entries into a store's index."""
    for one in entries:
        name = keys.index(one.ended_at, one.experiment, one.rollout)
        await store.create(name, one.model_dump_json().encode())
