"""Polls in numbers and under an API that hangs: few requests, and every deadline kept."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from rolldock.errors import TransientStageError
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.polling import poll
from rolldock.sandbox.watch import JobWatch

if TYPE_CHECKING:
    from tests.sandbox.conftest import Provider

STATUSES = "POST /api/v1/sandbox/background-jobs/status:batchGet"
N_ROLLOUTS = 1000
ROUND_SECONDS = 5.0


def job(number: int) -> str:
    """A job's id."""
    return f"{number:08x}"


def after(seconds: float) -> datetime:
    """So many seconds from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def hang(_: web.Request) -> web.StreamResponse:
    """Accept, and never answer."""
    await asyncio.Event().wait()
    raise AssertionError("never")


async def test_an_api_that_never_answers_is_a_transient_error(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """Both of a shared request get it, in the request's own time, and the watch goes on."""
    provider.instead[STATUSES] = hang
    provider.jobs = {job(1): 0, job(2): 0}
    watch = JobWatch(sandboxes, request_seconds=0.3)
    began = time.monotonic()
    found = await asyncio.gather(
        *(watch.exit_code(sandbox, job(n)) for n in (1, 2)), return_exceptions=True
    )
    assert [type(one) for one in found] == [TransientStageError, TransientStageError]
    assert time.monotonic() - began < 2
    del provider.instead[STATUSES]
    assert await watch.exit_code(sandbox, job(1)) == 0


async def test_a_request_that_hangs_holds_up_no_other(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """One that is out for long is overtaken by the polls that came after it."""
    provider.jobs = {job(1): 0, job(2): 7}

    async def hang_for_the_first(request: web.Request) -> web.StreamResponse:
        asked = (await request.json())["jobs"]
        return await (hang if asked[0]["job_id"] == job(1) else provider.job_statuses)(request)

    provider.instead[STATUSES] = hang_for_the_first
    watch = JobWatch(sandboxes, request_seconds=30)
    hung = asyncio.create_task(watch.exit_code(sandbox, job(1)))
    async with asyncio.timeout(5):
        while STATUSES not in provider.requests:
            await asyncio.sleep(0.01)
        assert await watch.exit_code(sandbox, job(2)) == 7
    assert not hung.done()
    hung.cancel()


async def test_a_deadline_is_kept_while_a_poll_hangs(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """The poll that is out gets a last moment, then nothing was seen."""
    provider.instead[STATUSES] = hang
    watch = JobWatch(sandboxes, request_seconds=60)

    async def look(patience_seconds: float) -> int | None:
        return await watch.exit_code(sandbox, job(1), patience_seconds=patience_seconds)

    async with asyncio.timeout(8):
        assert await poll(look, until=after(0.1)) is None


async def test_what_ended_before_the_deadline_is_seen_after_it() -> None:
    """Whoever comes late, since every worker was away, still looks once."""

    async def look(_: float) -> int | None:
        return 3

    assert await poll(look, until=after(-60)) == 3


async def test_looks_begin_at_once_and_grow_patient() -> None:
    """The first looks wait for nobody; later ones wait a tenth of their pause for company."""
    asked: list[float] = []

    async def look(patience_seconds: float) -> int | None:
        asked.append(patience_seconds)
        return None

    assert await poll(look, until=after(2.5)) is None
    assert asked[:4] == [0, 0, 0, 0]
    assert asked == sorted(asked)
    assert 0.05 < asked[-1] <= 0.5


async def test_one_named_job_spoils_two_requests_and_not_a_hundred(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """It is asked about alone, the others together once more."""
    provider.jobs = {job(n): n for n in range(50)}
    provider.jobs[job(7)] = "the job ended without recording an exit code"
    watch = JobWatch(sandboxes)
    polls = (watch.exit_code(sandbox, job(n)) for n in range(50))
    found = await asyncio.gather(*polls, return_exceptions=True)
    assert [n for n, code in enumerate(found) if code != n] == [7]
    assert provider.requests.count(STATUSES) == 3


async def test_an_api_that_is_away_is_not_asked_for_each_job(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """A 503 for the batch is nobody's fault: the SDK's own repeats, and no storm after them."""

    async def away(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "away"}, status=503)

    provider.instead[STATUSES] = away
    watch = JobWatch(sandboxes)
    polls = (watch.exit_code(sandbox, job(n)) for n in range(50))
    found = await asyncio.gather(*polls, return_exceptions=True)
    assert {type(one) for one in found} == {TransientStageError}
    assert provider.requests.count(STATUSES) <= 3


@pytest.mark.slow
async def test_a_thousand_waiting_rollouts_are_a_few_requests_a_second(
    provider: "Provider", sandboxes: Sandboxes, sandbox: str
) -> None:
    """Unsynchronised polls every 5 s with half a second of patience: at most 10 requests/s."""
    provider.jobs = {job(n): None for n in range(N_ROLLOUTS)}
    watch = JobWatch(sandboxes)

    async def rollout(number: int) -> None:
        await asyncio.sleep(ROUND_SECONDS * number / N_ROLLOUTS)
        for _ in range(2):
            code = await watch.exit_code(sandbox, job(number), patience_seconds=0.5)
            assert code is None
            await asyncio.sleep(ROUND_SECONDS)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(N_ROLLOUTS):
            group.create_task(rollout(number))
    n_requests = provider.requests.count(STATUSES)
    assert n_requests / (time.monotonic() - began) < 10
