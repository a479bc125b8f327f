"""Which deployments keep their records in a store.

Results and sessions do not say whose they are, and what the open rollouts of another deployment
need is in its own Temporal alone. So each deployment leaves a mark here before it stores anything
for a rollout, and `gc` leaves alone what another one may need. A mark is never taken back: that a
deployment is gone for good is a person's word (`rolldock gc --foreign`).
"""

from datetime import UTC, datetime

from rolldock.models.collecting import StoreUser
from rolldock.store import keys
from rolldock.store.store import Store


async def mark_deployment(store: Store, deployment: str, namespace: str) -> None:
    """Say that a deployment keeps its records here; once said, it stays as it is.

    Raises:
        UnavailableError: the store does not answer.
    """
    user = StoreUser(deployment=deployment, namespace=namespace, since=datetime.now(UTC))
    await store.create(keys.deployment(deployment), user.model_dump_json().encode())


async def other_deployments(store: Store, deployment: str) -> tuple[StoreUser, ...]:
    """The deployments that keep their records here, without this one, the oldest first.

    Raises:
        UnavailableError: the store does not answer.
    """
    marks = [await store.get(name) async for name in store.names(keys.DEPLOYMENTS)]
    users = [StoreUser.model_validate_json(mark) for mark in marks if mark is not None]
    others = [user for user in users if user.deployment != deployment]
    return tuple(sorted(others, key=lambda user: user.since))
