"""Ten seconds without any gateway process, with the official clients in the middle of a call."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.gateway.conftest import GatewayProcess, World, gateway_process
from tests.gateway.model_server import Plan

GONE_SECONDS: Final = 10.0
RETRIES: Final = 10
"""As agents' configurations set them: 60 s of patience and more."""


async def chat(url: str, key: str) -> str:
    """A turn by chat completions."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=RETRIES) as client:
        reply = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}]
        )
    return reply.choices[0].message.content or ""


async def responses(url: str, key: str) -> str:
    """A turn by Responses."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=RETRIES) as client:
        return (await client.responses.create(model="m", input="hi")).output_text


async def messages(url: str, key: str) -> str:
    """A turn by Messages."""
    async with AsyncAnthropic(base_url=url, api_key=key, max_retries=RETRIES) as client:
        reply = await client.messages.create(
            model="m", max_tokens=100, messages=[{"role": "user", "content": "hi"}]
        )
    return "".join(block.text for block in reply.content if block.type == "text")


def kill(gateway: GatewayProcess) -> None:
    """kill -9 of both processes."""
    child = gateway.child()
    assert child is not None
    for pid in (gateway.process.pid, child):
        os.kill(pid, signal.SIGKILL)
    gateway.process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("ask", [chat, responses, messages])
async def test_ten_seconds_without_a_gateway(
    own_world: World, tmp_path: Path, ask: Callable[[str, str], Coroutine[None, None, str]]
) -> None:
    """The client's own retries bridge them; the turn is in the trace once."""
    attempt = await own_world.open()
    gate = asyncio.Event()
    own_world.model.plans.extend([Plan(gate=gate), Plan(content="after the gap")])
    url = own_world.gateway.url
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as again:
        asked = tasks.create_task(ask(url, own_world.token(attempt)))
        await own_world.model.arrived(1)
        kill(own_world.gateway)
        # The length of the gap is what is tested; there is nothing in it to wait for.
        await asyncio.sleep(GONE_SECONDS)
        assert not asked.done()
        port = urlsplit(url).port
        again.enter_context(gateway_process(tmp_path / "store", port=port))
        assert await asked == "after the gap"
        gate.set()
        await own_world.delivered(attempt, 0)
        assert [turn.slot for turn in (await own_world.trace(attempt)).turns] == [0]
