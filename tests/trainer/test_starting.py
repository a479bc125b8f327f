"""What is refused before a rollout starts."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rolldock.errors import UsageError
from rolldock.models.endpoint import Endpoint
from rolldock.models.spec import AgentRef, Limits, Purpose, RolloutSpec, TaskRef
from rolldock.settings import Settings
from rolldock.store import endpoints
from rolldock.store.store import Store
from rolldock.trainer.starting import check_startable

SETTINGS = Settings(max_lifetime_minutes=60, lifetime_slack_seconds=600)


def spec(**fields: object) -> RolloutSpec:
    """A spec with an endpoint, changed as said."""
    base: dict[str, object] = {
        "id": "a/b",
        "task": TaskRef(name="t", digest="0" * 64),
        "agent": AgentRef(name="bash"),
        "endpoint": "m",
        "limits": Limits(total_seconds=1200),
    }
    return RolloutSpec.model_validate(base | fields)


async def add(store: Store, *, token_ids: bool | None) -> None:
    """An endpoint `m` that was probed with this outcome."""
    record = Endpoint(
        name="m",
        version=1,
        replicas=("http://127.0.0.1:1/v1",),
        model="m",
        token_ids=token_ids,
        created_at=datetime.now(UTC),
    )
    await endpoints.add(store, record)


async def test_an_unknown_endpoint_is_named_with_those_that_exist(tmp_path: Path) -> None:
    """And the command that adds it."""
    store = Store.open(str(tmp_path))
    with pytest.raises(UsageError, match=r"no endpoint 'm'.*endpoint add m .*known: none"):
        await check_startable(store, SETTINGS, spec())


async def test_training_needs_token_ids(tmp_path: Path) -> None:
    """A server without them is good for evaluation only."""
    store = Store.open(str(tmp_path))
    await add(store, token_ids=False)
    with pytest.raises(UsageError, match="no token ids"):
        await check_startable(store, SETTINGS, spec())
    await check_startable(store, SETTINGS, spec(purpose=Purpose.EVAL))
    await add(store, token_ids=True)
    await check_startable(store, SETTINGS, spec())


async def test_a_total_must_leave_the_agent_time(tmp_path: Path) -> None:
    """Grading and what surrounds it are kept back first."""
    store = Store.open(str(tmp_path))
    await add(store, token_ids=True)
    with pytest.raises(UsageError, match=r"total_seconds = 720 .* more than 720"):
        await check_startable(store, SETTINGS, spec(limits=Limits(total_seconds=720)))
    await check_startable(store, SETTINGS, spec(limits=Limits(total_seconds=721)))


async def test_a_sandbox_may_not_have_to_outlive_the_providers_limit(tmp_path: Path) -> None:
    """Deadline and slack together."""
    store = Store.open(str(tmp_path))
    await add(store, token_ids=True)
    await check_startable(store, SETTINGS, spec(limits=Limits(total_seconds=3000)))
    with pytest.raises(UsageError, match="total_seconds = 3001"):
        await check_startable(store, SETTINGS, spec(limits=Limits(total_seconds=3001)))
