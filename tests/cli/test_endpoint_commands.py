"""`rolldock endpoint pause`, `resume`, `update`: what they say and what they leave behind."""

from typing import TYPE_CHECKING

import pytest

from rolldock.cli import endpoints
from rolldock.cli.stack.stack import Stack
from rolldock.errors import UsageError
from rolldock.trainer.client import Client

if TYPE_CHECKING:
    from tests.cli.conftest import Say

pytestmark = pytest.mark.usefixtures("beside_the_stack")


async def test_pause_update_resume(client: Client, stack: Stack, say: "Say") -> None:
    """Each says version, state and policy; `ls` shows them."""
    await client.add_endpoint("trained", url=stack.scripted_url, model="m")
    paused = await say(endpoints.pause("trained", timeout_seconds=5))
    assert "endpoint trained version 3 is paused: no call is open" in paused
    updated = await say(endpoints.update("trained", policy_version="step-1"))
    assert "version 4 is paused, policy step-1" in updated
    assert '"paused":true' in await say(endpoints.ls(as_json=True))
    resumed = await say(endpoints.resume("trained", policy_version="step-2"))
    assert "version 5 takes calls, policy step-2" in resumed


async def test_an_unknown_endpoint(client: Client) -> None:
    """A name that no endpoint has is a usage error that says how to add it."""
    with pytest.raises(UsageError, match="endpoint nobody does not exist"):
        await endpoints.pause("nobody", timeout_seconds=5)
