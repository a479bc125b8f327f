"""Polls of many jobs share requests, one bad job spoils no other, and nobody waits for ever."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from rolldock.errors import StageError, TransientStageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.watch import JobWatch

if TYPE_CHECKING:
    from tests.sandbox.conftest import Provider

STATUSES = "POST /api/v1/sandbox/background-jobs/status:batchGet"


def job(number: int) -> str:
    """A job's id."""
    return f"{number:08x}"


async def test_polls_at_once_share_one_request(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """Fifty watchers, one request; each gets the answer of its own job."""
    provider.jobs = {job(n): n if n % 2 else None for n in range(50)}
    watch = JobWatch(sandboxes)
    codes = await asyncio.gather(*(watch.exit_code(sandbox, job(n)) for n in range(50)))
    assert codes == list(provider.jobs.values())
    assert provider.requests.count(STATUSES) == 1


async def test_more_than_a_batch_goes_in_several(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """The API takes a hundred at a time."""
    provider.jobs = {job(n): n for n in range(230)}
    watch = JobWatch(sandboxes)
    codes = await asyncio.gather(*(watch.exit_code(sandbox, job(n)) for n in range(230)))
    assert codes == list(range(230))
    assert provider.requests.count(STATUSES) == 3


async def test_one_lost_job_spoils_no_other(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """The others get their codes; the lost one a final error."""
    provider.jobs = {job(1): 0, job(2): "the job ended without recording an exit code", job(3): 3}
    watch = JobWatch(sandboxes)
    found = await asyncio.gather(
        *(watch.exit_code(sandbox, name) for name in provider.jobs), return_exceptions=True
    )
    assert (found[0], found[2]) == (0, 3)
    lost = found[1]
    assert isinstance(lost, StageError)
    assert not isinstance(lost, TransientStageError)
    assert lost.cause is Cause.JOB_LOST


async def test_a_job_of_which_nothing_is_known_now_is_asked_again(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """A sandbox that lives and gives no answer may give one later."""
    provider.jobs = {job(1): "no answer from the sandbox in 20 s"}
    with pytest.raises(TransientStageError):
        await JobWatch(sandboxes).exit_code(sandbox, job(1))


async def test_the_job_of_a_sandbox_that_has_ended_is_lost_with_it(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """The cause is the sandbox's, and final."""
    provider.jobs = {job(1): "the sandbox is not running"}
    provider.sandboxes[sandbox]["status"] = "TERMINATED"

    async def gone(_: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound(text='{"detail": "gone"}')

    provider.instead[f"POST /api/v1/sandbox/{sandbox}/auth"] = gone
    with pytest.raises(StageError) as raised:
        await JobWatch(sandboxes).exit_code(sandbox, job(1))
    assert raised.value.cause is Cause.SANDBOX_LOST
    assert not isinstance(raised.value, TransientStageError)


@pytest.mark.parametrize("text", ["<html>", "[]", '{"statuses": 3}', "{}"])
async def test_a_nonsensical_answer_leaves_no_watcher_waiting(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str, text: str
) -> None:
    """A proxy that answers for the API is an error like any other."""

    async def nonsense(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type="application/json")

    provider.instead[STATUSES] = nonsense
    watch = JobWatch(sandboxes)
    async with asyncio.timeout(10):
        with pytest.raises(TransientStageError):
            await watch.exit_code(sandbox, job(1))


async def test_a_watcher_that_leaves_takes_nobody_with_it(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """A cancelled poll is gone at once; one of the same job at the same time is answered."""
    provider.jobs = {job(1): 5}
    watch = JobWatch(sandboxes)
    leaving = asyncio.create_task(watch.exit_code(sandbox, job(1)))
    staying = asyncio.create_task(watch.exit_code(sandbox, job(1)))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 5
    assert leaving.cancelled()


async def test_a_watch_can_be_used_again_after_an_error(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """One bad moment of the API is over when it is over."""

    async def unwell(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "unwell"}, status=500)

    provider.jobs = {job(1): 0}
    provider.instead[STATUSES] = unwell
    watch = JobWatch(sandboxes)
    with pytest.raises(TransientStageError):
        await watch.exit_code(sandbox, job(1))
    del provider.instead[STATUSES]
    assert await watch.exit_code(sandbox, job(1)) == 0
