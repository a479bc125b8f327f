"""The pages in a real browser: nothing of an agent's is run, all is reached by keyboard alone."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from rolldock.view.export import export_html
from tests.browser import needs_chromium, tab
from tests.view.conftest import Site
from tests.view.hostile import HOSTILE, IMAGE
from tests.view.shelf import GOOD, LOST, REPLAY

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_chromium]

NARROW = 400
MAX_TABS = 60


def every_page(site: Site) -> list[str]:
    """The path of a page of every kind."""
    shelf = site.shelf
    return [
        "/",
        "/?experiment=grpo-7&reward_above=x",
        "/?task=none",
        f"/rollout/{GOOD}",
        f"/rollout/{LOST}",
        f"/rollout/{HOSTILE}",
        f"/trace/{shelf.good.attempt}",
        f"/trace/{shelf.good.attempt}?leaf=5",
        f"/trace/{shelf.hostile.attempt}",
        f"/trace/{shelf.live.attempt}",
        f"/trace/{shelf.diverged.attempt}",
        f"/tokens/{shelf.good.attempt}/1",
        f"/file/{GOOD}?attempt=2&name=verifier%2Ftest-stdout.txt",
        f"/file/{HOSTILE}?attempt=1&name=agent%2Flong.txt",
    ]


async def overflow(page: Page) -> int:
    """How many pixels the page is wider than the window."""
    return await page.evaluate("document.documentElement.scrollWidth - innerWidth")


async def focused(page: Page) -> str:
    """What the keyboard is at, in words."""
    return await page.evaluate("(document.activeElement.innerText || '').trim()")


async def walk_to(page: Page, text: str) -> None:
    """Press Tab until something with this text has the focus, and shows it."""
    for _ in range(MAX_TABS):
        await page.keyboard.press("Tab")
        if (await focused(page)).startswith(text):
            outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{text!r} has the focus and does not show it"
            return
    raise AssertionError(f"{text!r} is not reached by Tab")


async def test_every_page_is_in_order(site: Site, browser: Browser) -> None:
    """No console error, no dialog, no script of others, one h1, a title, nothing wider than a
    telephone, in both colour schemes, with everything unfolded."""
    async with tab(browser, width=NARROW, height=800) as opened:
        for number, path in enumerate(every_page(site)):
            await opened.page.emulate_media(color_scheme="dark" if number % 2 else "light")
            await opened.page.goto(site.at(path))
            await opened.page.evaluate(
                "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
            )
            assert await opened.page.locator("h1").count() == 1, path
            assert (await opened.page.title()).endswith("Rolldock")
            assert await overflow(opened.page) <= 0, path
            alien = "body script, [onerror], iframe, object, embed, [style], img, base, [onload]"
            assert await opened.page.locator(alien).count() == 0, path
            schemes = await opened.page.eval_on_selector_all(
                "a[href]", "(links) => [...new Set(links.map((link) => link.protocol))]"
            )
            assert schemes == ["http:"], path
        assert opened.errors == []
        assert opened.dialogs == []


async def test_files_of_an_agent_do_not_run(site: Site, browser: Browser) -> None:
    """An HTML file that was left behind is shown as its source, by itself too."""
    async with tab(browser) as opened:
        page = opened.page
        await page.goto(site.at(f"/rollout/{HOSTILE}"))
        await page.get_by_role("link", name=f"agent/{IMAGE}.html").click()
        await page.get_by_role("link", name="As plain text").click()
        assert "<script>alert" in await page.inner_text("body")
        assert await page.evaluate("document.contentType") == "text/plain"
        assert opened.dialogs == []


async def test_a_rollout_is_found_by_keyboard_alone(site: Site, browser: Browser) -> None:
    """From the list by filter and sort to a rollout, its conversation and another branch."""
    async with tab(browser) as opened:
        page = opened.page
        await page.goto(site.at("/"))
        await page.keyboard.press("Tab")
        assert await focused(page) == "Skip to the content"
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"
        await page.keyboard.press("/")
        await page.keyboard.type("parser/0")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/?text=parser%2F0")
        await walk_to(page, "Reward")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**sort=-reward**")
        assert await page.locator("th[aria-sort=descending]").inner_text() == "Reward↓"
        assert await page.locator("tbody th a.id").all_inner_texts() == [GOOD, REPLAY]
        await walk_to(page, GOOD)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/rollout/{GOOD}")
        await walk_to(page, "Read the conversation")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/trace/**")
        await walk_to(page, "turn 3")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**leaf=5")
        await walk_to(page, "Reasoning")
        await page.keyboard.press("Enter")
        assert await page.get_by_text("Read before writing").is_visible()
        assert opened.errors == []


async def test_without_script_everything_works(site: Site, browser: Browser) -> None:
    """The form filters, titles sort, details unfold."""
    async with tab(browser, javascript=False) as opened:
        page = opened.page
        await page.goto(site.at("/"))
        await page.get_by_label("Status").select_option("failed")
        await page.get_by_text("More filters").click()
        await page.get_by_label("Cause of failure").fill("replay_diverged")
        await page.get_by_role("button", name="Show").click()
        assert await page.locator("tbody th a.id").all_inner_texts() == [REPLAY]
        await page.get_by_role("link", name="all rollouts").click()
        await page.get_by_role("columnheader", name="Rollout").get_by_role("link").click()
        names = await page.locator("tbody th a.id").all_inner_texts()
        assert names == sorted(names)
        await page.goto(site.at(f"/trace/{site.shelf.good.attempt}"))
        await page.get_by_text("Reasoning").click()
        assert await page.get_by_text("Read before writing").is_visible()


async def test_a_status_takes_effect_when_it_is_chosen(site: Site, browser: Browser) -> None:
    """With scripts nobody has to press the button, and the address holds what was asked alone."""
    async with tab(browser) as opened:
        await opened.page.goto(site.at("/"))
        await opened.page.get_by_label("Status").select_option("completed")
        await opened.page.wait_for_url("**/?status=completed")
        assert GOOD in await opened.page.locator("tbody th a.id").all_inner_texts()
        await opened.page.goto(site.at(f"/trace/{site.shelf.good.attempt}"))
        await opened.page.get_by_role("button", name="Unfold everything").click()
        assert await opened.page.get_by_text("Read before writing").is_visible()
        assert opened.errors == []


@pytest.mark.parametrize("rollout", [GOOD, HOSTILE, LOST])
async def test_an_exported_file_opens_by_itself(
    site: Site, browser: Browser, tmp_path: Path, rollout: str
) -> None:
    """From file://, without a request to anybody, everything unfolds and nothing runs."""
    file = tmp_path / "rollout.html"
    file.write_text(await export_html(site.shelf.store, rollout), encoding="utf-8")
    asked: list[str] = []
    async with tab(browser, width=NARROW) as opened:
        opened.page.on("request", lambda request: asked.append(request.url))
        await opened.page.goto(file.as_uri())
        await opened.page.evaluate(
            "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
        )
        assert await opened.page.locator("h1").inner_text() == rollout
        assert await overflow(opened.page) <= 0
        links = await opened.page.eval_on_selector_all("a", "(all) => all.map((a) => a.href)")
        assert links == [f"{file.as_uri()}#main"]
        painted = await opened.page.evaluate(
            "getComputedStyle(document.querySelector('.verdict')).borderLeftWidth"
        )
        assert painted == "4px"
        assert asked == [file.as_uri()]
        assert opened.errors == []
        assert opened.dialogs == []
