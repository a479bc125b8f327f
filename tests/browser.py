"""Chromium without a window, for tests that look at web pages as a person does.

It drives the Chromium that is installed; it installs none, and sends nothing out of the machine.
"""

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, ConsoleMessage, Dialog, Error, Page, async_playwright

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")

needs_chromium: Final = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: apt-get install -y chromium"
)
"""A mark for tests that open a browser."""

_DOCS: Final = Path(__file__).parents[1] / "docs" / "screenshots"

_ARGUMENTS: Final = (
    "--no-sandbox",  # Chromium refuses to run as root with its sandbox
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


@dataclass
class Tab:
    """One page, and what went wrong on it so far."""

    page: Page
    errors: list[str] = field(default_factory=list[str])
    """Errors of the console, and exceptions that no script caught."""
    dialogs: list[str] = field(default_factory=list[str])
    """What `alert` and its like said; each is dismissed."""

    async def keep(self, name: str) -> None:
        """Renew a screenshot of the documentation, where ROLLDOCK_SCREENSHOTS is set."""
        if os.environ.get("ROLLDOCK_SCREENSHOTS"):
            await self.screenshot(_DOCS / f"{name}.png")

    async def screenshot(self, path: Path, *, full: bool = False) -> None:
        """The visible part as a PNG file, or the full page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=path, full_page=full)


@asynccontextmanager
async def chromium() -> AsyncGenerator[Browser, None]:
    """A browser while the block runs."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=_ARGUMENTS
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def tab(
    browser: Browser, *, width: int = 1280, height: int = 900, javascript: bool = True
) -> AsyncGenerator[Tab, None]:
    """A page of its own, with no cookies, storage or cache of another."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, java_script_enabled=javascript
    )
    opened = Tab(await context.new_page())

    def note_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            opened.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def note_exception(error: Error) -> None:
        opened.errors.append(str(error))

    async def note_dialog(dialog: Dialog) -> None:
        opened.dialogs.append(dialog.message)
        await dialog.dismiss()

    opened.page.on("console", note_console)
    opened.page.on("pageerror", note_exception)
    opened.page.on("dialog", note_dialog)
    try:
        yield opened
    finally:
        await context.close()
