"""A store of this test's own, which the command finds by its settings."""

from pathlib import Path

import pytest

from rolldock.store.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store; the environment's settings lead to it."""
    where = str(tmp_path / "store")
    monkeypatch.setenv("ROLLDOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ROLLDOCK_STORE", where)
    return Store.open(where)
