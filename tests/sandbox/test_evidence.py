"""What is kept of a sandbox: collected by real commands, within its bounds, stored by digest."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rolldock.models.failure import Cause
from rolldock.sandbox import archive
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.evidence import MAX_FILE_BYTES, MAX_NAMED, REST, collect, keep
from rolldock.store.store import Store

CAUSE = Cause.VERIFIER_FAILED


@pytest.fixture(autouse=True)
def tidy_tmp() -> Iterator[None]:
    """The commands leave their archives in /tmp, as they do in a sandbox that is deleted soon."""
    before = set(Path("/tmp").glob("rolldock-evidence*"))
    yield
    for left in set(Path("/tmp").glob("rolldock-evidence*")) - before:
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def packed() -> set[Path]:
    """The archives that collections have left."""
    return set(Path("/tmp").glob("rolldock-evidence-*.tgz"))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A directory with spaces in its name."""
    logs = tmp_path / "the logs"
    logs.mkdir()
    return logs


async def test_files_and_directories_come_under_their_names(
    sandboxes: Sandboxes, sandbox: str, logs: Path
) -> None:
    """At any depth, whatever their names; an absent source is passed over."""
    (logs / "a b").mkdir()
    (logs / "a b" / 'it\'s "x" ü').write_text("deep")
    (logs / "-n").write_text("dash")
    (logs / "empty").write_text("")
    sources = {
        "v": str(logs),
        "one.log": str(logs / "-n"),
        "x": "/nowhere",
        "y/z": str(logs / "-n"),
    }
    assert await collect(sandboxes, sandbox, sources, CAUSE) == {
        'v/a b/it\'s "x" ü': b"deep",
        "v/-n": b"dash",
        "v/empty": b"",
        "one.log": b"dash",
        "y/z": b"dash",
    }


async def test_nothing_to_collect_is_nothing(sandboxes: Sandboxes, sandbox: str) -> None:
    """No source at all is no failure."""
    assert await collect(sandboxes, sandbox, {"x": "/nowhere"}, CAUSE) == {}


async def test_only_regular_files_are_collected(
    sandboxes: Sandboxes, sandbox: str, logs: Path
) -> None:
    """A link is not followed, a pipe is not read."""
    (logs / "secret").symlink_to("/etc/passwd")
    (logs / "directory").symlink_to("/etc")
    os.mkfifo(logs / "pipe")
    (logs / "file").write_text("x")
    assert await collect(sandboxes, sandbox, {"v": str(logs)}, CAUSE) == {"v/file": b"x"}


async def test_a_name_that_is_no_text_is_no_obstacle(
    sandboxes: Sandboxes, sandbox: str, logs: Path, tmp_path: Path
) -> None:
    """It becomes text on its way into the record, which is UTF-8."""
    (logs / os.fsdecode(b"caf\xe9.log")).write_text("x")
    files = await collect(sandboxes, sandbox, {"v": str(logs)}, CAUSE)
    [artifact] = await keep(Store.open(str(tmp_path / "store")), files)
    assert artifact.name == "v/caf\ufffd.log"
    assert artifact.model_dump_json()


async def test_a_large_file_keeps_its_tail(
    sandboxes: Sandboxes, sandbox: str, logs: Path, tmp_path: Path
) -> None:
    """And says so in its reference."""
    with (logs / "big.log").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
        file.seek(0, os.SEEK_END)
        file.write(b"the end")
    files = await collect(sandboxes, sandbox, {"v": str(logs)}, CAUSE)
    assert files["v/big.log.tail"].endswith(b"the end")
    [artifact] = await keep(Store.open(str(tmp_path / "store")), files)
    assert (artifact.name, artifact.truncated) == ("v/big.log", True)
    assert artifact.n_bytes == MAX_FILE_BYTES // 16


async def test_a_reward_is_not_crowded_out(sandboxes: Sandboxes, sandbox: str, logs: Path) -> None:
    """Neither thousands of smaller files nor large ones keep away what comes first."""
    verifier, artifacts = logs / "verifier", logs / "artifacts"
    verifier.mkdir()
    artifacts.mkdir()
    (verifier / "reward.txt").write_text("1")
    (verifier / "ctrf.json").write_text("more than one byte")
    for directory in (verifier, artifacts):
        for number in range(1200):
            (directory / f"__init__{number}.py").touch()
    sources = {"artifacts": str(artifacts), "verifier": str(verifier)}
    first = [str(verifier / "reward.txt"), str(verifier / "ctrf.json"), str(verifier)]
    files = await collect(sandboxes, sandbox, sources, CAUSE, first=first)
    assert files["verifier/reward.txt"] == b"1"
    assert files["verifier/ctrf.json"] == b"more than one byte"
    assert len(files) == 1000
    assert {name.partition("/")[0] for name in files} == {"verifier"}


async def test_a_file_without_room_takes_none_from_the_next(
    sandboxes: Sandboxes, sandbox: str, logs: Path
) -> None:
    """What comes first is kept within the bytes, and a small file still fits beside it."""
    (logs / "verifier").mkdir()
    (logs / "small.txt").write_text("1")
    for number in range(5):
        with (logs / "verifier" / f"{number}.bin").open("wb") as file:
            file.truncate(MAX_FILE_BYTES - 1)
    sources = {"v": str(logs / "verifier"), "small.txt": str(logs / "small.txt")}
    files = await collect(sandboxes, sandbox, sources, CAUSE, first=[str(logs / "verifier")])
    assert files["small.txt"] == b"1"
    assert len(files) == 5


async def test_two_collections_at_once_do_not_meet(
    sandboxes: Sandboxes, sandbox: str, logs: Path
) -> None:
    """A stalled try and its successor each pack a place of their own."""
    (logs / "file").write_text("x")
    before = packed()
    await collect(sandboxes, sandbox, {"v": str(logs)}, CAUSE)
    await collect(sandboxes, sandbox, {"v": str(logs)}, CAUSE)
    assert len(packed() - before) == 2


async def test_few_files_have_references_of_their_own(tmp_path: Path) -> None:
    """The rest is in one archive, so that a record stays small and nothing is lost."""
    store = Store.open(str(tmp_path))
    files = {f"v/deep/{number:03}.txt": f"{number}".encode() for number in range(100)}
    files["v/reward.txt"] = b"1"
    artifacts = await keep(store, files)
    names = [artifact.name for artifact in artifacts]
    assert names == sorted(names)
    assert len(names) == MAX_NAMED + 1
    assert "v/reward.txt" in names
    kept = {one.name: await store.get_blob(one.digest) for one in artifacts}
    rest = dict(archive.unpack(kept.pop(REST), 1_000_000))
    assert kept | rest == files
    assert sum(len(one.model_dump_json()) for one in artifacts) < 16_384


async def test_long_names_have_no_references_of_their_own(tmp_path: Path) -> None:
    """An agent that nests directories cannot make a record large."""
    store = Store.open(str(tmp_path))
    deep = "/".join(["d" * 100] * 30)
    artifacts = await keep(store, {f"v/{deep}/{n}": b"x" for n in range(30)} | {"v/short": b"y"})
    assert [artifact.name for artifact in artifacts] == [REST, "v/short"]
