"""Exports in the hands of Harbor's own code: its models load every file, its viewer shows them."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from rolldock.cli.export import export
from rolldock.cli.stack.ports import free_port
from rolldock.exports.documents import Format
from rolldock.models.failure import Failure
from rolldock.store.store import Store
from rolldock.trainer.client import Client
from tests.agent_cache import installed
from tests.browser import chromium, needs_chromium, tab
from tests.e2e.runs import HELLO, run
from tests.eventually import eventually
from tests.exports import filled, harbor_itself
from tests.exports.harbor_itself import LOAD, needs_harbor
from tests.exports.test_export import LOGS, LOST, request

pytestmark = [pytest.mark.slow, needs_harbor]


async def fill(store: Store) -> None:
    """Rollouts that were graded, failed, were cancelled or called no model."""
    cancelled = Failure(stage="await_agent", cause="cancelled", message="asked", retryable=False)
    await filled.put(store, artifacts=LOGS)
    await filled.put(store, "grpo-7/12/hello-world/1", failure=LOST, earlier=True, artifacts=LOGS)
    await filled.put(store, "grpo-7/12/hello-world/2", failure=cancelled)
    await filled.put(store, "grpo-7/12/no-model/0", task="no-model", trace=False)


async def test_its_model_loads_every_trajectory(store: Store, tmp_path: Path) -> None:
    """ATIF documents with tokens, branches, broken calls and replayed turns are valid."""
    await fill(store)
    await export(request(kind=Format.ATIF, out=tmp_path / "atif", experiment="grpo-7"))
    said = await asyncio.to_thread(harbor_itself.run, ["-c", LOAD, tmp_path / "atif"])
    assert json.loads(said) == {"trajectories": 3, "steps": 15, "trials": 0, "jobs": 0}


async def test_its_models_load_every_document_of_a_job(store: Store, tmp_path: Path) -> None:
    """Jobs, trials and trajectories are valid, and Harbor counts the trials as the export does."""
    await fill(store)
    await export(request(kind=Format.HARBOR, out=tmp_path / "jobs", experiment="grpo-7"))
    said = await asyncio.to_thread(harbor_itself.run, ["-c", LOAD, tmp_path / "jobs"])
    assert json.loads(said) == {"trajectories": 3, "steps": 15, "trials": 4, "jobs": 1}


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("agent", ["bash", "opencode", "claude-code", "codex"])
async def test_its_models_load_real_rollouts(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: str
) -> None:
    """What real agents said in their own wire formats is as valid, and its logs are in place."""
    known = agent if agent == "bash" else await asyncio.to_thread(installed, agent)
    result = await run(client, HELLO, known, "scripted", limits={"agent_seconds": 60})
    monkeypatch.setenv("ROLLDOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ROLLDOCK_STORE", client.store.where)
    await export(request(result.rollout, kind=Format.HARBOR, out=tmp_path / "jobs"))
    said = await asyncio.to_thread(harbor_itself.run, ["-c", LOAD, tmp_path / "jobs"])
    seen = json.loads(said)
    assert (seen["trajectories"], seen["trials"], seen["jobs"]) == (1, 1, 1)
    assert seen["steps"] >= 3
    assert list((tmp_path / "jobs").glob("*/*/verifier/reward.*"))
    assert list((tmp_path / "jobs").glob("*/*/agent/stdout.log"))


@needs_chromium
async def test_its_viewer_shows_them(store: Store, tmp_path: Path) -> None:
    """`harbor view` lists the job, its trials, and a trial with its reward and trajectory."""
    await fill(store)
    await export(request(kind=Format.HARBOR, out=tmp_path / "jobs", experiment="grpo-7"))
    (trial,) = [
        path.parents[1].name
        for path in (tmp_path / "jobs").rglob("verifier/reward.txt")
        if not (path.parents[1] / "exception.txt").exists()
    ]
    async with viewer(tmp_path / "jobs") as url, chromium() as browser, tab(browser) as opened:
        page = opened.page
        await page.goto(f"{url}/jobs/grpo-7")
        await page.get_by_text("4/4 trials completed").wait_for()
        await page.goto(f"{url}/jobs/grpo-7/trials/{trial}")
        await page.get_by_text("rolldock:grpo-7/12/hello-world/0").wait_for()
        await page.get_by_text("Looking.").first.wait_for()
        await opened.keep("harbor-view")
        # Files that not every trial of Harbor's has either; the viewer asks for them all the same.
        optional = ("files/lock.json", "files/exception.txt")
        assert not [error for error in opened.errors if not any(o in error for o in optional)]


@asynccontextmanager
async def viewer(jobs: Path) -> AsyncGenerator[str, None]:
    """Harbor's viewer of a directory, while the block runs; its URL."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        harbor_itself.PYTHON,
        *("-c", "from harbor.cli.main import app; app()"),
        *("view", jobs, "--port", str(port), "--no-build"),
        env=harbor_itself.environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(trust_env=False) as http:

            async def answers() -> bool:
                assert process.returncode is None
                try:
                    return (await http.get(f"{url}/api/health")).is_success
                except httpx.TransportError:
                    return False

            await eventually(answers, "Harbor's viewer answers", 60)
        yield url
    finally:
        process.terminate()
        await process.wait()
