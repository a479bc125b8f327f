"""Detached jobs watched from afar, many in one request. What it says of each is `statuses.py`'s."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from prime_sandboxes import BackgroundJob

from rolldock.errors import StageError, TransientStageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.jobs import paths
from rolldock.sandbox.statuses import MOST_JOBS, Key, job_statuses, key_of

_REQUEST_SECONDS: Final = 25.0
"""Longer than `sandboxd` waits for one sandbox, shorter than the SDK's own 30 s, three times."""
_SLOW_SECONDS: Final = 0.25
"""A request that takes longer is no longer waited for by the next one."""
_REQUESTS_AT_ONCE: Final = 8
"""So many slow ones, then the next waits: a hung API must not eat the client's connections."""


@dataclass(slots=True, eq=False)
class _Poll:
    """A job that is to be asked about, and at what time at the latest."""

    job: BackgroundJob
    answer: asyncio.Future[int | None]
    due: float
    """On the loop's clock."""
    n_waiting: int = 0
    """Who still wants to know."""


class JobWatch:
    """Polls of many jobs in few requests, none of which hangs anybody.

    A poll says how long it may wait for company. Whatever waits by then goes into one request, so
    a worker sends about one per `patience`, however many jobs it watches: 1,000 that are asked
    about every 5 s with half a second of patience are 200 polls a second in some 2 requests; one
    without patience (a job that may end any moment) goes at once and takes along who waits.

    Requests follow each other: while one is out the next gathers. One that is slow, since one of
    its sandboxes is, is overtaken by the next; one whose answer nobody waits for is given up.
    """

    def __init__(self, sandboxes: Sandboxes, request_seconds: float = _REQUEST_SECONDS) -> None:
        self._sandboxes = sandboxes
        self._request_seconds = request_seconds
        self._waiting: dict[Key, _Poll] = {}
        self._news = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._out: dict[asyncio.Task[None], list[_Poll]] = {}

    async def exit_code(
        self, sandbox_id: str, job: str, *, patience_seconds: float = 0.0
    ) -> int | None:
        """The exit code of a job; None while it runs. Answers within a minute, whatever happens.

        Raises:
            StageError: the job or its sandbox is lost; transient where it may be there later.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + patience_seconds
        poll = self._waiting.get((sandbox_id, job))
        if poll is None:
            poll = _Poll(_job(sandbox_id, job), loop.create_future(), due)
            self._waiting[sandbox_id, job] = poll
        poll.due = min(poll.due, due)
        self._news.set()
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        poll.n_waiting += 1
        try:
            return await asyncio.shield(poll.answer)
        finally:
            poll.n_waiting -= 1
            if not poll.answer.done():
                self._give_up_unwanted()

    def _give_up_unwanted(self) -> None:
        for key in [key for key, poll in self._waiting.items() if poll.n_waiting == 0]:
            del self._waiting[key]
        self._news.set()
        for request, polls in self._out.items():
            if all(poll.n_waiting == 0 for poll in polls):
                request.cancel()

    async def _send(self) -> None:
        while self._waiting:
            await self._gather()
            keys = sorted(self._waiting, key=lambda key: self._waiting[key].due)[:MOST_JOBS]
            if not keys:
                return
            polls = [self._waiting.pop(key) for key in keys]
            request = asyncio.create_task(self._ask(polls))
            self._out[request] = polls
            request.add_done_callback(self._out.pop)
            await asyncio.wait({request}, timeout=_SLOW_SECONDS)
            if len(self._out) >= _REQUESTS_AT_ONCE:
                await asyncio.wait(self._out, return_when=asyncio.FIRST_COMPLETED)

    async def _gather(self) -> None:
        """Wait until a poll is due, or a request is full, or nobody waits any more."""
        # One turn of the loop at least: whoever polls in the same moment comes along.
        await asyncio.sleep(0)
        while 0 < len(self._waiting) < MOST_JOBS:
            first = min(poll.due for poll in self._waiting.values())
            left = first - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()

    async def _ask(self, polls: list[_Poll]) -> None:
        try:
            asked = [poll.job for poll in polls]
            answers = await job_statuses(self._sandboxes, asked, self._request_seconds)
            for poll in polls:
                answer = answers[key_of(poll.job)]
                if isinstance(answer, StageError):
                    _fail(poll, answer)
                elif not poll.answer.done():
                    poll.answer.set_result(answer)
        finally:
            for poll in polls:
                message = f"job {poll.job.job_id}: the poll was given up"
                _fail(poll, TransientStageError(Cause.JOB_LOST, message))


def _fail(poll: _Poll, error: StageError) -> None:
    if not poll.answer.done():
        poll.answer.set_exception(error)
        # A waiter that was cancelled meanwhile never looks at it.
        poll.answer.exception()


def _job(sandbox_id: str, job: str) -> BackgroundJob:
    _, stdout, stderr, exit_file = paths(job)
    return BackgroundJob(
        job_id=job,
        sandbox_id=sandbox_id,
        stdout_log_file=stdout,
        stderr_log_file=stderr,
        exit_file=exit_file,
    )
