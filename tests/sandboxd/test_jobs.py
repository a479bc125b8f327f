"""Background jobs as the SDK starts them, and their batch status."""

import asyncio

import pytest
from prime_sandboxes import APIError, BackgroundJob

from tests.eventually import eventually
from tests.sandboxd.support import Sdk


async def test_a_job_runs_and_ends(sdk: Sdk, sandbox: str) -> None:
    """A job is running until it ends, and then has its exit code and output."""
    job = await sdk.client.start_background_job(
        sandbox, "echo out; echo err >&2; while ! test -e /tmp/go; do sleep 0.02; done; exit 4"
    )
    assert [it.completed for it in await sdk.client.get_background_jobs([job])] == [False]
    await sdk.run(sandbox, "touch /tmp/go")

    async def is_completed() -> bool:
        return (await sdk.client.get_background_job_statuses([job]))[0].completed

    await eventually(is_completed, "the job has ended")
    [status] = await sdk.client.get_background_jobs([job])
    assert (status.exit_code, status.stdout, status.stderr) == (4, "out\n", "err\n")
    assert await sdk.client.get_background_job(sandbox, job) == status


async def test_run_background_job(sdk: Sdk, sandbox: str) -> None:
    """The SDK's start-and-wait works on the batch endpoint."""
    status = await sdk.client.run_background_job(sandbox, "echo $WHO", env={"WHO": "ada"})
    assert (status.exit_code, status.stdout) == (0, "ada\n")


async def test_a_lost_job_is_an_error(sdk: Sdk, sandbox: str) -> None:
    """A job that died without an exit code is reported as such, beside one that is well."""
    lost = await sdk.client.start_background_job(sandbox, "sleep 300")
    well = await sdk.client.start_background_job(sandbox, "sleep 300")
    await sdk.run(sandbox, f"kill -9 $(cat /tmp/job_{lost.job_id}.launch/pid)")
    with pytest.raises(APIError, match="without recording an exit code"):
        await sdk.client.get_background_job_statuses([lost])
    assert not (await sdk.client.get_background_job_statuses([well]))[0].completed


async def test_jobs_of_unknown_and_ended_sandboxes(sdk: Sdk) -> None:
    """A job whose sandbox is unknown or has ended has an error of its own."""
    made = await sdk.create()
    await sdk.client.delete(made.id)
    for sandbox_id, message in (("f" * 32, "no sandbox"), (made.id, "not running")):
        job = BackgroundJob(
            job_id="0a1b2c3d",
            sandbox_id=sandbox_id,
            stdout_log_file="/tmp/job_0a1b2c3d.stdout.log",
            stderr_log_file="/tmp/job_0a1b2c3d.stderr.log",
            exit_file="/tmp/job_0a1b2c3d.exit",
        )
        with pytest.raises(APIError, match=message):
            await sdk.client.get_background_job_statuses([job])


async def test_many_jobs_in_one_batch(sdk: Sdk, sandbox: str) -> None:
    """Jobs of one sandbox are looked up together, in the order asked."""
    jobs = await asyncio.gather(
        *(sdk.client.start_background_job(sandbox, f"exit {code}") for code in range(8))
    )

    async def all_completed() -> bool:
        states = await sdk.client.get_background_job_statuses(list(jobs))
        return all(state.completed for state in states)

    await eventually(all_completed, "all jobs have ended")
    states = await sdk.client.get_background_job_statuses(list(jobs))
    assert [state.exit_code for state in states] == list(range(8))
