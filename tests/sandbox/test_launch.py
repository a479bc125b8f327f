"""Launching by upload and command, and stopping again, on this machine."""

import os
import shlex
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.sandbox import archive, jobs
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.ending import end_agent
from rolldock.sandbox.launch import launch_job
from rolldock.sandbox.transfer import last, run_checked, upload_archives

if TYPE_CHECKING:
    from tests.sandbox.conftest import Provider


@pytest.fixture
def job() -> Iterator[str]:
    """A job's id; what it leaves is removed."""
    job = uuid.uuid4().hex[:8]
    yield job
    for left in sorted(Path("/tmp").glob(f"job_{job}*"), reverse=True):
        if left.is_dir():
            for file in left.iterdir():
                file.unlink()
            left.rmdir()
        else:
            left.unlink()


def uploads(prefix: str = "rolldock-upload-") -> set[str]:
    """What lies about in /tmp."""
    return {str(path) for path in Path("/tmp").glob(f"{prefix}*")}


async def launch(
    sandboxes: Sandboxes, sandbox: str, job: str, command: str, workdir: Path, **more: object
) -> int:
    """Launch a job whose files go below the work directory."""
    files = {str(workdir / "config" / "file.json"): "{}"}
    user = more.get("user")
    return await launch_job(
        sandboxes,
        sandbox,
        job,
        command,
        env={"TOKEN": "it's a secret"},
        cwd=str(workdir),
        user=None if user is None else str(user),
        otherwise=Cause.SETUP_FAILED,
        files=files,
    )


async def test_a_job_gets_its_files_and_its_environment(
    sandboxes: Sandboxes, sandbox: str, job: str, tmp_path: Path
) -> None:
    """Files are for its user alone; a second launch changes nothing."""
    command = 'printf %s "$TOKEN" > token; sleep 100'
    pid = await launch(sandboxes, sandbox, job, command, tmp_path)
    config = tmp_path / "config" / "file.json"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert await launch(sandboxes, sandbox, job, command, tmp_path) == pid
    assert f"/tmp/job_{job}.env" not in uploads("job_")
    assert await end_agent(sandboxes, sandbox, job) is None
    assert (tmp_path / "token").read_text() == "it's a secret"


async def test_an_agent_that_has_ended_keeps_its_exit_code(
    sandboxes: Sandboxes, sandbox: str, job: str, tmp_path: Path
) -> None:
    """Ending it again only reads it."""
    await launch(sandboxes, sandbox, job, "exit 3", tmp_path)
    ended = f"until test -s {jobs.paths(job)[3]}; do sleep 0.01; done"
    await sandboxes.run(sandbox, ended, timeout_seconds=5, otherwise=Cause.SETUP_FAILED)
    assert await end_agent(sandboxes, sandbox, job) == 3


async def test_a_user_that_the_image_lacks_is_named(
    sandboxes: Sandboxes, sandbox: str, job: str, tmp_path: Path
) -> None:
    """The launch says which user, before anything runs."""
    with pytest.raises(StageError, match="preparing for user 'nobody-of-the-sort' failed: "):
        await launch(sandboxes, sandbox, job, "true", tmp_path, user="nobody-of-the-sort")


async def unpack(sandboxes: Sandboxes, sandbox: str, archives: dict[str, bytes]) -> None:
    """Upload archives and run the command that unpacks them."""
    command = await upload_archives(sandboxes, sandbox, archives, Cause.SETUP_FAILED)
    await run_checked(sandboxes, sandbox, command, "unpacking files", Cause.SETUP_FAILED)


async def test_trees_are_unpacked_where_they_belong(
    sandboxes: Sandboxes, sandbox: str, tmp_path: Path
) -> None:
    """Directories are made, also with quotes in their names, and no upload stays behind."""
    before = uploads()
    packed = archive.pack({"/f": (b"x", archive.READABLE)})
    places = [str(tmp_path / "it's" / "a b"), str(tmp_path / "two")]
    await unpack(sandboxes, sandbox, dict.fromkeys(map(shlex.quote, places), packed))
    assert [(Path(place) / "f").read_bytes() for place in places] == [b"x", b"x"]
    assert uploads() == before


async def test_a_broken_archive_is_a_stage_error(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str, tmp_path: Path
) -> None:
    """With tar's own words."""
    before = uploads()
    with pytest.raises(StageError, match="unpacking files failed: ") as raised:
        await unpack(sandboxes, sandbox, {str(tmp_path): b"no tar"})
    assert raised.value.cause is Cause.SETUP_FAILED
    for left in uploads() - before:
        os.unlink(left)
    assert provider.alive() == [sandbox]


def test_the_end_of_an_output_is_short() -> None:
    """A message holds what was said last, without blank edges."""
    assert last("  x\n") == "x"
    assert last("a" * 5000 + "end") == "a" * 1497 + "end"
