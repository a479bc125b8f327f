"""The pages by their addresses. Every handler reads, renders and answers; none writes."""

import asyncio
import re
import time
from typing import Final

from aiohttp import web

from rolldock.index.cache import IndexCache
from rolldock.index.query import Query
from rolldock.view import listing, places, words
from rolldock.view.library import Library, Recorded
from rolldock.view.live import LiveSource
from rolldock.view.rendering import ASSETS, asset, render
from rolldock.view.rollout import show_rollout, text_of
from rolldock.view.session import show_branch
from rolldock.view.tokens import tokens_of

_REFRESH_SECONDS: Final = 1.0
"""Between two looks for what has ended."""
_PATIENCE_SECONDS: Final = 0.5
"""How long a list waits for such a look; then it shows what is known, and says so."""
_NEWEST: Final = 500
"""Among so many that ended last one is looked for that Temporal still has open."""
_MAX_FILE_CHARACTERS: Final = 512 * 1024
_MAX_TOKENS: Final = 4_000
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


class Pages:
    """The routes over one store."""

    def __init__(
        self,
        library: Library,
        index: IndexCache,
        live: LiveSource,
        temporal_ui: str | None = None,
        temporal_namespace: str = "default",
    ) -> None:
        self._library = library
        self._index = index
        self._live = live
        self._temporal_ui = temporal_ui
        self._temporal_namespace = temporal_namespace
        self._refreshed_at = float("-inf")
        self._look: asyncio.Task[int] | None = None

    def routes(self) -> list[web.RouteDef]:
        """All that there is; every route takes GET (and HEAD) alone."""
        return [
            web.get("/", self.rollouts),
            web.get("/rollout/{rollout:.+}", self.rollout),
            web.get("/file/{rollout:.+}", self.file),
            web.get("/trace/{attempt}", self.trace),
            web.get("/turn/{attempt}/{slot:[0-9]{1,9}}", self.turn),
            web.get("/tokens/{attempt}/{slot:[0-9]{1,9}}", self.tokens),
            web.get("/static/{name}", self.static),
        ]

    async def close(self) -> None:
        """End what goes on without a request."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait({self._look})

    async def rollouts(self, request: web.Request) -> web.Response:
        """The list."""
        asked = listing.read_asked(request.query)
        is_new, open_ones = await asyncio.gather(self._refresh(), self._live.rollouts())
        found = listing.list_page(self._index, asked)
        # A rollout whose result is written is still open while its sandbox is deleted.
        newest = Query(limit=_NEWEST) if open_ones else Query(limit=0)
        ended = {entry.rollout for entry in self._index.find(newest)}
        running = [one for one in open_ones or () if one.id not in ended]
        return self._page(
            "rollouts.html",
            listing=found,
            columns=listing.COLUMNS,
            suggested=listing.suggestions(self._index),
            running=running if asked.page == 1 and not asked.given else (),
            running_known=open_ones is not None,
            is_new=is_new,
        )

    async def rollout(self, request: web.Request) -> web.Response:
        """One rollout: its result, else what is known of it while it runs."""
        rollout = request.match_info["rollout"]
        result = await self._library.result(rollout)
        ui = places.temporal(self._temporal_ui, self._temporal_namespace, rollout)
        if result is not None:
            shown = await show_rollout(self._library, result)
            return self._page("rollout.html", shown=shown, temporal_ui=ui)
        running = await self._live.running(rollout)
        if running is None:
            raise missing(f"There is no rollout “{rollout}” in this store.")
        return self._page("running.html", running=running, temporal_ui=ui)

    async def trace(self, request: web.Request) -> web.Response:
        """One branch of what an attempt's session recorded."""
        recorded = await self._recorded(request)
        leaf = places.whole_number(request.query, "leaf", -1)
        page = places.whole_number(request.query, "page", 1)
        shown = await show_branch(self._library, recorded, None if leaf < 0 else leaf, page)
        return self._page("trace.html", shown=shown)

    async def turn(self, request: web.Request) -> web.Response:
        """One turn as it was recorded, whole."""
        recorded, slot = await self._recorded(request), int(request.match_info["slot"])
        for one in (*recorded.trace.turns, *recorded.trace.errors):
            if one.slot == slot:
                content = one.model_dump_json(indent=2).encode()
                return _file(content, f"turn-{slot}.json", download=False)
        raise missing(f"This session has no turn {slot}.")

    async def tokens(self, request: web.Request) -> web.Response:
        """The tokens that a turn sampled."""
        recorded, slot = await self._recorded(request), int(request.match_info["slot"])
        turn = next((turn for turn in recorded.trace.turns if turn.slot == slot), None)
        if turn is None:
            raise missing(f"This session has no turn {slot}.")
        tokens = tokens_of(turn)
        return self._page(
            "tokens.html",
            trace=recorded.trace,
            turn=turn,
            tokens=tokens[:_MAX_TOKENS],
            n_left_out=max(0, len(tokens) - _MAX_TOKENS),
        )

    async def file(self, request: web.Request) -> web.Response:
        """A file that an attempt left: on a page, as plain text, or to be kept."""
        rollout, name = request.match_info["rollout"], request.query.get("name", "")
        number = places.whole_number(request.query, "attempt", 1)
        form = request.query.get("form")
        result = await self._library.result(rollout)
        found = None
        if result is not None:
            found = await self._library.artifact(result, number, name)
        if result is None or found is None:
            raise missing(f"Attempt {number} of “{rollout}” has no file “{name}” in this store.")
        artifact, content = found
        if form in ("raw", "download"):
            return _file(content, artifact.name, download=form == "download")
        text = text_of(content)
        half = _MAX_FILE_CHARACTERS // 2
        n_cut = max(0, len(text or "") - _MAX_FILE_CHARACTERS)
        return self._page(
            "file.html",
            result=result,
            number=number,
            artifact=artifact,
            text=text if text is None or not n_cut else text[:half],
            end="" if text is None or not n_cut else text[-half:],
            n_cut=n_cut,
        )

    async def static(self, request: web.Request) -> web.Response:
        """One of our own three files."""
        name = request.match_info["name"]
        if name not in ASSETS:
            raise missing("There is no such file.")
        headers = {"Cache-Control": "no-cache"}
        return web.Response(
            text=asset(name), content_type=ASSETS[name], charset="utf-8", headers=headers
        )

    async def _recorded(self, request: web.Request) -> Recorded:
        attempt = request.match_info["attempt"]
        recorded = await self._library.recorded(attempt)
        if recorded is None:
            deleted = await self._library.deleted(attempt)
            if deleted is not None:
                raise missing(f"Of attempt “{attempt}” nothing is left: {words.gone(deleted)}.")
            raise missing(f"No session of attempt “{attempt}” is in this store (any more).")
        return recorded

    async def _refresh(self) -> bool:
        """Take up what has ended since the last look; whether that is done."""
        if self._look is None and time.monotonic() - self._refreshed_at < _REFRESH_SECONDS:
            return True
        look = self._look = self._look or asyncio.create_task(self._index.refresh())
        # The first look of all may take long, and without it there is nothing to show.
        first = self._refreshed_at == float("-inf")
        await asyncio.wait({look}, timeout=None if first else _PATIENCE_SECONDS)
        if not look.done():
            return False
        if self._look is look:
            self._look, self._refreshed_at = None, time.monotonic()
        look.result()
        return True

    def _page(self, template: str, **values: object) -> web.Response:
        html = render(template, served=True, store=self._library.where, **values)
        return page(html)


def page(html: str, status: int = 200) -> web.Response:
    """A page as a response."""
    return web.Response(text=html, status=status, content_type="text/html", charset="utf-8")


class Missing(web.HTTPNotFound):
    """Raised when an address names nothing; it says what, for the page that tells."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message


def missing(message: str) -> Missing:
    """A page that is not there."""
    return Missing(message)


def _file(content: bytes, name: str, *, download: bool) -> web.Response:
    """A file of an agent: plain text whatever it is, or to be kept; in no case to be run."""
    kept = _UNSAFE.sub("_", name.rsplit("/", 1)[-1]).lstrip(".")[-120:] or "file"
    disposition = "attachment" if download else "inline"
    return web.Response(
        body=content,
        headers={
            "Content-Type": "application/octet-stream" if download else "text/plain; charset=utf-8",
            "Content-Disposition": f'{disposition}; filename="{kept}"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )
