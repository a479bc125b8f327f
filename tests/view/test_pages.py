"""The pages as any client gets them: what they say, whom they answer, what they forbid."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from rolldock.models.replay import ReplayFrom, ReplayPoint
from rolldock.store.recordings import delete_recordings
from rolldock.store.store import Store
from rolldock.trainer.live import LiveRollout
from rolldock.view.export import export_html
from rolldock.view.live import OpenAttempt, OpenRollout, Running
from tests.view.conftest import Site, served
from tests.view.hostile import HOSTILE, IMAGE, SCRIPT
from tests.view.records import Talk, assistant, attempt, finish
from tests.view.shelf import GOOD, LOST, REPLAY

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def get(site: Site, path: str, **headers: str) -> httpx.Response:
    """A page, whatever its status."""
    async with site.client() as client:
        return await client.get(path, headers=headers)


async def test_the_list_filters_and_sorts(site: Site) -> None:
    """Each filter of the address narrows the list; what cannot be understood is said."""
    everything = (await get(site, "/")).text
    assert all(name in everything for name in (GOOD, LOST, REPLAY, "eval/hello-world/nop/0"))
    failed = (await get(site, "/?status=failed&experiment=grpo-7&sort=rollout")).text
    assert failed.index(f"/rollout/{REPLAY}") < failed.index(f"/rollout/{LOST}")
    assert f'href="/rollout/{GOOD}">{GOOD}</a>\n' not in failed
    odd = await get(site, "/?reward_above=much&status=nonsense&sort=secret&page=0&offset=-1")
    assert odd.status_code == 200
    assert odd.text.count("Left out: ") == 3
    assert "Nothing matches" in (await get(site, "/?task=none")).text


async def test_a_rollout_says_what_became_of_it(site: Site) -> None:
    """Verdict, every attempt with its cause, what the tests wrote, and who replays it."""
    html = (await get(site, f"/rollout/{GOOD}")).text
    assert "Reward 1" in html
    assert "The sandbox was lost while it was in use" in html
    assert "sandbox sbx-1f3a9c answered 404 while in use" in html
    assert "3 passed in 0.41s" in html
    assert f'href="/rollout/{REPLAY}"' in html
    assert f"/trace/{site.shelf.good.attempt}" in html
    assert "namespaces/default/workflows/grpo-7%2F12%2Ffix-parser%2F0" in html
    replayed = (await get(site, f"/rollout/{REPLAY}")).text
    assert f'href="/rollout/{GOOD}"' in replayed
    assert "from its recording" in replayed


async def test_a_conversation_tells_what_was_said(site: Site) -> None:
    """Reasoning, calls, results, errors, forks, replayed turns, and where a replay parted."""
    html = (await get(site, f"/trace/{site.shelf.good.attempt}")).text
    for text in (
        "Read before writing",
        "edited",
        "CUDA out of memory",
        "3 branches",
        "Run a command",
    ):
        assert text in html
    fork = (await get(site, f"/trace/{site.shelf.good.attempt}?leaf=5")).text
    assert "replayed from slot 7" in fork
    assert "two lines became one" in fork
    assert "You are welcome" not in fork
    live = (await get(site, f"/trace/{site.shelf.live.attempt}")).text
    assert "not sealed" in live
    assert "has not answered yet" in live
    parted = (await get(site, f"/trace/{site.shelf.diverged.attempt}")).text
    assert "messages[1].content" in parted
    assert "+It is 10:31." in parted


async def test_a_turn_is_there_whole(site: Site) -> None:
    """As JSON of its record, however long, as plain text."""
    answer = await get(site, f"/turn/{site.shelf.hostile.attempt}/1")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert len(json.loads(answer.text)["message"]["content"]) == 5 * 1024 * 1024


async def test_files_are_never_pages_of_their_own(site: Site) -> None:
    """Whatever its name says, a file is plain text or a download; unknown ones are not there."""
    place = f"/file/{HOSTILE}"
    name = f"agent/{IMAGE}.html"
    async with site.client() as client:
        for form, kind in (
            ("raw", "text/plain; charset=utf-8"),
            ("download", "application/octet-stream"),
        ):
            asked = {"attempt": "1", "name": name, "form": form}
            answer = await client.get(place, params=asked)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == kind
            assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
            assert '"' not in answer.headers["content-disposition"][:-1].split('"', 1)[1]
        page = await client.get(place, params={"attempt": "1", "name": name})
        assert "&lt;script&gt;" in page.text
        assert "<script>alert" not in page.text
        binary = {"attempt": "2", "name": "agent/core.bin"}
        assert "This is no text" in (await client.get(f"/file/{GOOD}", params=binary)).text
        for asked in ({"attempt": "9", "name": name}, {"name": "../../etc/passwd"}, {}):
            assert (await client.get(place, params=asked)).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/rollout/none",
        "/rollout/..%2f..%2f..%2fetc%2fpasswd",
        "/rollout/%2e%2e/%2e%2e/etc/passwd",
        f"/rollout/{SCRIPT}",
        "/rollout/%00",
        "/rollout/a%0d%0aX-Evil:%201",
        "/trace/..%2f..%2fsecret",
        "/trace/none",
        "/turn/none/0",
        "/turn/none/-1",
        "/tokens/none/99999999999999999999",
        "/static/..%2f..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/static/server.py",
        "/blobs/x",
    ],
)
async def test_what_is_not_there_is_said_safely(site: Site, path: str) -> None:
    """Odd addresses are a page of ours with status 404, and repeat nothing as markup."""
    answer = await get(site, path)
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text
    assert "x-evil" not in answer.headers
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[x"]
)
async def test_a_foreign_name_is_refused(site: Site, host: str) -> None:
    """A page that made its own name lead here (DNS rebinding) learns nothing."""
    answer = await get(site, "/", Host=host)
    assert answer.status_code in (400, 403)
    assert GOOD not in answer.text


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:80", "192.0.2.7:80"])
async def test_a_number_or_localhost_is_answered(site: Site, host: str) -> None:
    """A name server can make none of these lead elsewhere."""
    assert (await get(site, "/", Host=host)).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_nothing_is_written(site: Site, method: str) -> None:
    """Only reading is answered."""
    async with site.client() as client:
        assert (await client.request(method, f"/rollout/{GOOD}")).status_code == 405


async def test_every_answer_forbids_what_it_can(site: Site) -> None:
    """No foreign source, no inline script, no guessed type, no frame, no cache."""
    for path in ("/", "/static/view.css", "/none"):
        headers = (await get(site, path)).headers
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"


class TwoRunning:
    """Knows of two rollouts that run, one of which has ended meanwhile."""

    def __init__(self, attempt: str) -> None:
        self._attempt = attempt
        self._since = datetime.now(UTC) - timedelta(minutes=1)

    async def rollouts(self) -> Sequence[OpenRollout]:
        """Both."""
        return [
            LiveRollout(
                id=id,
                experiment="grpo-7",
                task="fix-parser",
                agent="opencode",
                endpoint=None,
                stage="await_agent",
                started_at=self._since,
            )
            for id in ("grpo-7/13/fix-parser/0", GOOD)
        ]

    async def running(self, rollout: str) -> Running | None:
        """The one."""
        begun = OpenAttempt(attempt=self._attempt, number=1, started_at=self._since)
        return Running(id=rollout, stage="await_agent", started_at=self._since, attempts=(begun,))


async def test_what_runs_stands_above(site: Site, tmp_path: Path) -> None:
    """Where somebody knows of open rollouts the list begins with them, and each has a page."""
    store, attempt = site.shelf.store, site.shelf.live.attempt
    async with (
        served(store, tmp_path, TwoRunning(attempt)) as address,
        httpx.AsyncClient(base_url=address) as client,
    ):
        html = (await client.get("/")).text
        section = html[html.index("Running") : html.index("<table")]
        assert "grpo-7/13/fix-parser/0" in section
        assert GOOD not in section
        page = (await client.get("/rollout/grpo-7/13/fix-parser/0")).text
        assert "Stage: the agent works" in page
        assert f"/trace/{attempt}" in page


async def test_a_grade_shows_the_conversation_that_it_graded(tmp_path: Path) -> None:
    """Its links lead to the origin's session, and its export has it; both say when it is gone."""
    store = Store.open(str(tmp_path / "store"))
    talk = Talk(store, "a/b")
    await talk.open()
    await talk.say(None, [{"role": "user", "content": "go"}], assistant("as you wish"))
    trace = await talk.seal()
    origin = await finish(store, "a/b", [attempt(talk.attempt, trace=trace)])
    point = ReplayPoint(kind=ReplayFrom.GRADE, attempt=talk.attempt)
    again = attempt("0b7f2f0e-0000-4000-8000-00000000000c", trace=trace)
    await finish(store, "a/c", [again], replay_of="a/b", replay=point)
    place = f"/trace/{talk.attempt}"
    async with (
        served(store, tmp_path) as address,
        httpx.AsyncClient(base_url=address) as client,
    ):
        html = (await client.get("/rollout/a/c")).text
        assert set(re.findall(r'href="(/trace/[^"]*)"', html)) == {place}
        assert "as you wish" in (await client.get(place)).text
        assert "as you wish" in await export_html(store, "a/c")
        await delete_recordings(store, origin, origin.ended_at)
        gone = await client.get(place)
        assert (gone.status_code, "was deleted after 0 days" in gone.text) == (404, True)
        assert "was deleted after 0 days" in await export_html(store, "a/c")


async def test_an_empty_store_has_a_page(tmp_path: Path) -> None:
    """It says how to begin."""
    store = Store.open(str(tmp_path / "store"))
    async with served(store, tmp_path) as address, httpx.AsyncClient() as client:
        assert "No rollout has ended in this store yet" in (await client.get(address)).text
