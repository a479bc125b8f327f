"""`rolldock view --export`: one rollout as one file, and the command around the pages."""

import json
import re
import signal
import subprocess
from contextlib import closing
from html import unescape
from pathlib import Path

import httpx
import pytest

from rolldock.cli import view
from rolldock.errors import UsageError
from rolldock.index.cache import IndexCache
from rolldock.view.export import export_html
from rolldock.view.library import Library
from rolldock.view.live import Nobody
from rolldock.view.pages import Pages
from rolldock.view.server import serving
from tests.cli.conftest import ROLLDOCK
from tests.view.conftest import Site
from tests.view.hostile import HOSTILE
from tests.view.shelf import GOOD, Shelf

SESSION = pytest.mark.asyncio(loop_scope="session")


@SESSION
async def test_a_file_holds_the_whole_rollout(shelf: Shelf) -> None:
    """Verdict, every branch of the conversation, logs; no link, script or source to anywhere."""
    html = await export_html(shelf.store, GOOD)
    for text in ("Reward 1", "You are welcome.", "two lines became one", "session began"):
        assert text in html
    assert re.findall(r'(?:href|src|action)="([^"]*)"', html) == ["#main"]
    assert "<script" not in html
    assert "default-src 'none'" in unescape(html)
    hostile = await export_html(shelf.store, HOSTILE)
    assert "<script" not in hostile
    assert "<img" not in hostile


@SESSION
async def test_a_rollout_without_a_result_is_refused(shelf: Shelf) -> None:
    """One line names the rollout and the store."""
    for rollout in ("none", "../../etc/passwd", "<script>"):
        with pytest.raises(UsageError, match="has no result in"):
            await export_html(shelf.store, rollout)


@SESSION
async def test_the_command_writes_a_file(
    shelf: Shelf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It says where; without an id, or where nothing can be written, it says what is wrong."""
    monkeypatch.setenv("ROLLDOCK_STORE", shelf.store.where)
    file = tmp_path / "one.html"
    assert await view.export(GOOD, file, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["n_bytes"] == file.stat().st_size
    assert file.read_text(encoding="utf-8") == await export_html(shelf.store, GOOD)
    with pytest.raises(UsageError, match="No such file or directory: give --export a file"):
        await view.export(GOOD, tmp_path / "none" / "x.html", as_json=False)
    with pytest.raises(UsageError, match="give its id"):
        await view.export(None, file, as_json=False)


@SESSION
async def test_a_port_that_is_taken_is_refused(site: Site, tmp_path: Path) -> None:
    """One line says what to give instead."""
    port = int(site.address.rstrip("/").rpartition(":")[2])
    with closing(IndexCache.open(site.shelf.store, tmp_path / "index.sqlite")) as index:
        pages = Pages(Library(site.shelf.store), index, Nobody())
        with pytest.raises(UsageError, match="give another --port"):
            async with serving(pages, "127.0.0.1", port):
                pass


def test_the_command_serves_until_it_is_told_to_end(shelf: Shelf, tmp_path: Path) -> None:
    """It needs the store alone, says its address, and ends cleanly."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "ROLLDOCK_HOME": str(tmp_path / "home"),
        "ROLLDOCK_STORE": shelf.store.where,
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    process = subprocess.Popen(
        [ROLLDOCK, "view", "--port", "0", "--json", GOOD],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["url"].startswith("http://127.0.0.1:")
        assert "Reward 1" in httpx.get(said["url"]).text
        listed = httpx.get(said["url"].partition("rollout")[0])
        assert "Temporal does not answer" in listed.text
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=30)
        assert (process.returncode, complaints) == (0, "")
    finally:
        process.kill()
        process.wait()
