"""The pages beside a real stack: a rollout while it runs, and after it."""

import asyncio
import json
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from rolldock.cli.stack.stack import Stack
from rolldock.cli.view import TemporalLive
from rolldock.index.cache import IndexCache
from rolldock.trainer.client import Client
from rolldock.view.export import export_html
from rolldock.view.library import Library
from rolldock.view.pages import Pages
from rolldock.view.server import serving
from tests.e2e.runs import LONG_WAIT
from tests.e2e.waiting import waiting_rollout

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_rollout_is_seen_while_it_runs_and_afterwards(
    stack: Stack, client: Client, tmp_path: Path
) -> None:
    """It stands above the list with its stage, its open session can be read, then its result."""
    spec = await client.spec(LONG_WAIT, agent="bash", endpoint="scripted")
    live = TemporalLive(client.settings, client.store)
    place = f"/rollout/{spec.id}"
    with closing(IndexCache.open(client.store, tmp_path / "index.sqlite")) as index:
        pages = Pages(Library(client.store), index, live)
        async with (
            asyncio.timeout(110),
            serving(pages, "127.0.0.1", 0) as address,
            httpx.AsyncClient(base_url=address, timeout=30) as browser,
        ):
            async with waiting_rollout(stack, client, spec) as waiting:
                while spec.id not in (await browser.get("/")).text:
                    await asyncio.sleep(0.1)
                running = (await browser.get(place)).text
                assert "It has no result yet" in running
                assert f"/trace/{waiting.attempt}" in running
                session = (await browser.get(f"/trace/{waiting.attempt}")).text
                assert "not sealed" in session
                assert "touch /tmp/waiting" in session
                result = await waiting.let_go()
            shown = (await browser.get(place)).text
            assert f"Reward {result.reward:g}" in shown
            assert "verifier/test-stdout.txt" in shown
            conversation = (await browser.get(f"/trace/{waiting.attempt}")).text
            assert "not sealed" not in conversation
            turn = (await browser.get(f"/turn/{waiting.attempt}/0")).text
            assert json.loads(turn)["slot"] == 0
    assert "touch /tmp/waiting" in await export_html(client.store, spec.id)
