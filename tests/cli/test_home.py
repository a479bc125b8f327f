"""The files of a stack's home."""

import os
import stat
from pathlib import Path

import pytest

from rolldock.cli.stack.home import Home, keep_secret
from rolldock.errors import UsageError
from rolldock.settings import Settings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_drawn_once(tmp_path: Path) -> None:
    """The second caller reads what the first one drew; only the owner can read the file."""
    path = tmp_path / "deep" / "secret"
    first, drawn = keep_secret(path)
    assert (drawn, mode(path), len(first)) == (True, 0o600, 43)
    assert keep_secret(path) == (first, False)
    assert [entry.name for entry in path.parent.iterdir()] == ["secret"]


def test_only_its_owner_may_enter_a_home(tmp_path: Path) -> None:
    """The directories above it that were missing are as private as itself: they may be homes."""
    Home(tmp_path / "outer" / "home").make()
    for made in ("outer", "outer/home", "outer/home/logs"):
        assert mode(tmp_path / made) == 0o700


def test_one_stack_per_home(tmp_path: Path) -> None:
    """Whoever comes second is told whose the home is; a free home can be taken again."""
    home = Home(tmp_path / "home")
    home.make()
    descriptor = home.lock()
    with pytest.raises(UsageError, match=rf"already \(process {os.getpid()}\)"):
        home.lock()
    os.close(descriptor)
    os.close(home.lock())


def test_the_stack_file_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings find what was written, whatever characters it has; only the owner may read it."""
    home = Home(tmp_path / "home")
    home.make()
    store = '/a b/it\'s #1 \\ "x"/$HOME'
    home.write_stack_file({"TEMPORAL_ADDRESS": "127.0.0.1:1", "ROLLDOCK_STORE": store})
    assert mode(home.stack_file) == 0o600
    for name in ("ROLLDOCK_STORE", "ROLLDOCK_TEMPORAL_ADDRESS", "TEMPORAL_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROLLDOCK_HOME", str(home.root))
    settings = Settings.load()
    assert (settings.temporal_address, settings.store) == ("127.0.0.1:1", store)


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where the directory should be is a usage error with its path."""
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(UsageError, match=str(path)):
        Home(path / "home").make()
