"""The Temporal UI in a real browser: the story's words stand on its pages."""

import pytest
from playwright.async_api import Page, expect

from tests.browser import chromium, needs_chromium, tab
from tests.temporal_ui.conftest import EXPERIMENT, Scene

pytestmark = [pytest.mark.slow, needs_chromium, pytest.mark.asyncio(loop_scope="session")]

_PATIENCE = 60_000
"""Milliseconds until a page of the UI has drawn itself on a busy machine."""


async def see(page: Page, *words: str) -> None:
    """Wait until all these words are on the page."""
    for said in words:
        await expect(page.locator("body")).to_contain_text(said, timeout=_PATIENCE)


async def turn_to(page: Page, name: str) -> None:
    """Go to another page of the rollout that is shown."""
    await page.goto(f"{page.url.rpartition('/')[0]}/{name}")


async def in_frame(page: Page, frame: str, *words: str) -> None:
    """Wait until these words are in a frame, where the UI draws what others wrote."""
    for said in words:
        drawn = page.frame_locator(f"#{frame}").locator("body")
        await expect(drawn).to_contain_text(said, timeout=_PATIENCE)


async def test_the_list_shows_how_rollouts_ended(scene: Scene) -> None:
    """One experiment's rollouts, each with its status."""
    async with chromium() as browser, tab(browser, width=1400) as opened:
        await opened.page.goto(f"{scene.ui}?query=RolldockExperiment%3D%22{EXPERIMENT}%22")
        await see(opened.page, scene.running.id, scene.failed.rollout, scene.replayed.rollout)
        await opened.keep("temporal-list")
        assert opened.errors == []


async def test_a_running_rollout_reads_as_a_story(scene: Scene) -> None:
    """Its timeline names what each activity does; its heartbeat what the agent does now."""
    async with chromium() as browser, tab(browser, width=1400, height=1000) as opened:
        page = opened.page
        await page.goto(scene.page(scene.running.id))
        await see(
            page,
            "Create the sandbox of attempt 1 of 3: 1 CPU, 2 GB",
            "Bring works-and-waits and bash into the sandbox",
            "Launch bash with scripted, detached",
            "Watch bash until it ends",
        )
        await opened.keep("temporal-running")
        await turn_to(page, "pending-activities")
        await see(page, "last_tool_call", "while [ ! -e /app/go ]")
        await opened.keep("temporal-progress")
        await turn_to(page, "user-metadata")
        await in_frame(page, "user-metadata-summary", "works-and-waits · bash · scripted")
        await in_frame(page, "user-metadata-current-details", "await_agent · attempt 1 of 3")
        await opened.keep("temporal-details")
        assert opened.errors == []


async def test_a_failed_rollout_says_why(scene: Scene) -> None:
    """The close message names stage and cause in words; so do the details."""
    async with chromium() as browser, tab(browser, width=1400) as opened:
        page = opened.page
        await page.goto(scene.page(scene.failed.rollout))
        await see(page, "failed in grade: reward_invalid", "Run the tests of no-reward")
        await opened.keep("temporal-failed")
        await turn_to(page, "user-metadata")
        await in_frame(page, "user-metadata-current-details", "failed in grade: reward_invalid")
        assert opened.errors == []
