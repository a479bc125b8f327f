"""`rolldock endpoint pause`, `resume`, `update`: what they say and what they leave behind."""

import os
from collections.abc import Awaitable

import pytest

from rolldock.cli import endpoints
from rolldock.cli.stack.stack import Stack
from rolldock.errors import UsageError
from rolldock.trainer.client import Client


@pytest.fixture(autouse=True)
def beside_the_stack(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the stack by its home, as if they were typed beside it."""
    for name in list(os.environ):
        if name.startswith(("ROLLDOCK_", "PRIME_", "TEMPORAL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ROLLDOCK_HOME", str(stack.home.root))


async def said(capsys: pytest.CaptureFixture[str], action: Awaitable[int]) -> str:
    """What a command's action, which must succeed, prints on stdout."""
    capsys.readouterr()
    assert await action == 0
    return capsys.readouterr().out


async def test_pause_update_resume(
    client: Client, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each says version, state and policy; `ls` shows them."""
    await client.add_endpoint("trained", url=stack.scripted_url, model="m")
    paused = await said(capsys, endpoints.pause("trained", timeout_seconds=5))
    assert "endpoint trained version 3 is paused: no call is open" in paused
    updated = await said(capsys, endpoints.update("trained", policy_version="step-1"))
    assert "version 4 is paused, policy step-1" in updated
    assert '"paused":true' in await said(capsys, endpoints.ls(as_json=True))
    resumed = await said(capsys, endpoints.resume("trained", policy_version="step-2"))
    assert "version 5 takes calls, policy step-2" in resumed


async def test_an_unknown_endpoint(client: Client) -> None:
    """A name that no endpoint has is a usage error that says how to add it."""
    with pytest.raises(UsageError, match="endpoint nobody does not exist"):
        await endpoints.pause("nobody", timeout_seconds=5)
