"""The file in which a launch passes variables: for its user alone, and gone once it is read."""

import asyncio
import stat
import uuid
from pathlib import Path

from anyio import Path as AsyncPath

from rolldock.models.failure import Cause
from rolldock.sandbox import jobs
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.launch import launch_job


async def test_the_variables_of_a_launch_are_in_a_file_of_mode_0600_that_goes(
    sandboxes: Sandboxes, sandbox: str, tmp_path: Path
) -> None:
    """Seen while a launch waits for another one of the same job; removed although nothing ran."""
    job = uuid.uuid4().hex[:8]
    other, variables = AsyncPath(jobs.paths(job)[0]), AsyncPath(f"/tmp/job_{job}.env")
    await other.mkdir()
    try:
        launching = asyncio.create_task(
            launch_job(
                sandboxes,
                sandbox,
                job,
                "true",
                env={"TOKEN": "it's a secret"},
                cwd=str(tmp_path),
                user=None,
                otherwise=Cause.SETUP_FAILED,
            )
        )
        async with asyncio.timeout(4):
            while not (await variables.exists() and await variables.read_bytes()):
                await asyncio.sleep(0.01)
        assert stat.S_IMODE((await variables.stat()).st_mode) == 0o600
        assert "a secret" in await variables.read_text()
        await (other / "pid").write_text("7\n")
        assert await launching == 7
        assert not await variables.exists()
    finally:
        await variables.unlink(missing_ok=True)
        await (other / "pid").unlink(missing_ok=True)
        await other.rmdir()
