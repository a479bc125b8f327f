"""What the end-to-end tests ask of a stack again and again."""

from collections.abc import Awaitable, Callable

import pytest

from rolldock.sandbox.labels import Ownership
from rolldock.trainer.client import Client, OwnedSandbox


@pytest.fixture
def alive(client: Client) -> Callable[[str], Awaitable[list[OwnedSandbox]]]:
    """The living sandboxes of a rollout."""

    async def of(rollout: str) -> list[OwnedSandbox]:
        found = await client.sandboxes()
        wanted = Ownership(rollout=rollout).rollout
        return [one for one in found if one.sandbox.owner.rollout == wanted]

    return of
