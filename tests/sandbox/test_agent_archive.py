"""Agents are packed into the store and brought into sandboxes, whose files are this machine's."""

import asyncio
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rolldock.agents.agent import Agent, Launch
from rolldock.errors import StageError, UsageError
from rolldock.models.agent_archive import AgentArchive
from rolldock.models.failure import Cause
from rolldock.sandbox.agent_archive import AgentArchives, build_of
from rolldock.sandbox.client import Sandboxes
from rolldock.store import agent_archives, keys
from rolldock.store.store import Store

MACHINE = "linux-x86_64"
INSTALL = 'set -eu; mkdir bin; printf "%s" "$AGENT_VERSION" > bin/run; test "$PWD" = "$AGENT_HOME"'


def some_agent(install: str = INSTALL) -> Agent:
    """An agent that is installed by a script."""
    return Agent(
        name="some",
        version="1.2",
        install=install,
        check="bin/run",
        launch=lambda _: Launch(command=":"),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A directory."""
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """An install with a program, a library, links of both kinds and an awkward name."""
    home = tmp_path / "cache" / "some" / "1.2"
    (home / "bin").mkdir(parents=True)
    (home / "lib" / "it's é").mkdir(parents=True)
    (home / "bin" / "run").write_text("#!/bin/sh\necho ran\n")
    (home / "bin" / "run").chmod(0o700)
    (home / "bin" / "link").symlink_to("run")
    (home / "lib" / "it's é" / "data").write_bytes(os.urandom(1000))
    (home / "lib" / "hard").hardlink_to(home / "lib" / "it's é" / "data")
    (home / "lib" / "source.py").write_text("x = 1\n")
    return home


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where a sandbox has the agent; afterwards nothing lies beside it, nor in /tmp."""
    before = set(Path("/tmp").glob("rolldock-agent-*"))
    place = tmp_path / "agents" / "some" / "1.2"
    yield place
    assert set(Path("/tmp").glob("rolldock-agent-*")) == before
    beside = [path.name for path in place.parent.iterdir()] if place.parent.exists() else []
    assert beside in ([], ["1.2"])


def packed(directory: Path) -> bytes:
    """An archive of a directory."""
    into = io.BytesIO()
    agent_archives.pack(directory, into)
    return into.getvalue()


async def pushed(
    store: Store, directory: Path, machine: str = MACHINE, install: str = INSTALL
) -> AgentArchive:
    """The agent, pushed."""
    return await agent_archives.push(store, directory, build_of(some_agent(install), machine))


async def bring(
    store: Store, sandboxes: Sandboxes, sandbox: str, place: Path, install: str = INSTALL
) -> None:
    """Bring the agent into a sandbox as one worker does."""
    await AgentArchives(store).bring(
        sandboxes, sandbox, some_agent(install), str(place), machine=MACHINE, seconds=20
    )


def test_the_same_install_is_the_same_archive(installed: Path, tmp_path: Path) -> None:
    """Times, owners and the order of directories make no difference."""
    other = tmp_path / "other"
    # In another order: what was made last comes first.
    for name in ("lib", "bin"):
        shutil.copytree(installed / name, other / name, symlinks=True)
    (other / "lib" / "hard").unlink()
    (other / "lib" / "hard").hardlink_to(other / "lib" / "it's é" / "data")
    os.utime(other / "bin" / "run", (1, 1))
    if os.geteuid() == 0:
        os.chown(other / "bin" / "run", 1234, 1234)
    assert packed(installed) == packed(other)


def test_an_archive_keeps_what_matters(installed: Path, tmp_path: Path) -> None:
    """Links, what can be run and, for compiled Python, the times of sources; all can read it."""
    os.utime(installed / "lib" / "source.py", (1_700_000_000, 1_700_000_000))
    with tarfile.open(fileobj=io.BytesIO(packed(installed))) as tar:
        members = {member.name: member for member in tar}
    assert members["bin"].mode == members["bin/run"].mode == 0o755
    assert members["lib/source.py"].mode == 0o644
    assert members["bin/link"].linkname == "run"
    assert members["lib/hard"].islnk() != members["lib/it's é/data"].islnk()
    assert members["lib/source.py"].mtime == 1_700_000_000
    assert {member.uid for member in members.values()} == {0}


def test_what_no_archive_holds_is_named(installed: Path) -> None:
    """A pipe in an install is refused."""
    os.mkfifo(installed / "pipe")
    with pytest.raises(UsageError, match=r"pipe: an agent's install holds only files"):
        packed(installed)


async def test_a_version_is_pushed_once(store: Store, installed: Path) -> None:
    """Whoever comes second, at once or later, gets the first one's archive, in parts of a size."""
    (installed / "lib" / "large").write_bytes(os.urandom(agent_archives.PART_BYTES + 1))
    first, second = await asyncio.gather(pushed(store, installed), pushed(store, installed))
    assert first == second
    assert len(first.parts) == 2
    content = b"".join([await store.get_blob(part.digest) for part in first.parts])
    assert content == packed(installed)
    assert first.n_bytes == len(content)
    (installed / "more").write_text("more")
    assert await pushed(store, installed) == first
    assert await agent_archives.pushed(store) == [first]


async def test_an_agent_of_the_store_is_unpacked(
    store: Store, sandboxes: Sandboxes, sandbox: str, installed: Path, place: Path
) -> None:
    """As it was installed, without its install script; two that bring it at once both succeed."""
    never = "exit 9"
    await pushed(store, installed, install=never)
    usual = os.umask(0o077)
    try:
        await asyncio.gather(*(bring(store, sandboxes, sandbox, place, never) for _ in range(2)))
    finally:
        os.umask(usual)
    assert (place / "bin" / "link").read_text() == "#!/bin/sh\necho ran\n"
    assert (place / "bin" / "run").stat().st_mode & 0o777 == 0o755
    data = (installed / "lib" / "hard").read_bytes()
    assert (place / "lib" / "it's é" / "data").read_bytes() == data
    for directory in (place / ".", place / "..", place / "lib"):
        assert directory.stat().st_mode & 0o777 == 0o755
    await bring(store, sandboxes, sandbox, place, never)


async def test_an_archive_that_is_broken_leaves_nothing(
    store: Store, sandboxes: Sandboxes, sandbox: str, installed: Path, place: Path
) -> None:
    """Whole or not at all: a cut archive is an error that names the agent."""
    whole = await pushed(store, installed)
    short = (await store.get_blob(whole.parts[0].digest))[:-100]
    part = whole.parts[0].model_copy(update={"digest": await store.put_blob(short)})
    other = Store.open(f"{store.where}-other")
    await other.put_blob(short)
    record = whole.model_copy(update={"parts": (part,)}).model_dump_json().encode()
    name = keys.agent_archive("some", "1.2", MACHINE, whole.build.recipe)
    await other.create(name, record)
    with pytest.raises(StageError, match=r"some 1\.2 .*could not be unpacked") as raised:
        await bring(other, sandboxes, sandbox, place)
    assert raised.value.cause is Cause.SETUP_FAILED
    assert not (place / ".").exists()


async def test_a_lost_part_is_named(
    store: Store,
    sandboxes: Sandboxes,
    sandbox: str,
    installed: Path,
    place: Path,
    tmp_path: Path,
) -> None:
    """A record without its blob is a failure with a cause, not a crash."""
    lost = (await pushed(store, installed)).parts[0].digest
    (tmp_path / "store" / "blobs" / lost).unlink()
    with pytest.raises(StageError, match=f"has lost a part: blob {lost}"):
        await bring(store, sandboxes, sandbox, place)


async def test_what_is_not_pushed_is_installed_with_a_warning(
    store: Store,
    sandboxes: Sandboxes,
    sandbox: str,
    installed: Path,
    place: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No other machine's archive counts, and no other recipe's; what was left half made goes."""
    await pushed(store, installed, "linux-aarch64")
    await pushed(store, installed, install="exit 9")
    (place / "bin").mkdir(parents=True)
    await bring(store, sandboxes, sandbox, place)
    assert (place / "bin" / "run").read_text() == "1.2"
    assert "`rolldock agents push some@1.2`" in caplog.text


@pytest.mark.parametrize(
    ("install", "said"),
    [("set -e; false; mkdir bin; touch bin/run", "$"), ("true", "no bin/run was left")],
)
async def test_an_install_that_fails_leaves_nothing(
    store: Store, sandboxes: Sandboxes, sandbox: str, place: Path, install: str, said: str
) -> None:
    """By its exit code, `set -e` included, or by what it did not make."""
    with pytest.raises(StageError, match=rf"some 1\.2 .*could not be installed.*{said}"):
        await bring(store, sandboxes, sandbox, place, install)
    assert not (place / ".").exists()
