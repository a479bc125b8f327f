"""The sessions that this process has met, opened from the store at first use."""

import asyncio
from datetime import UTC, datetime
from typing import Final
from weakref import WeakValueDictionary

from rolldock.gateway.live_session import LiveSession
from rolldock.gateway.process import Process
from rolldock.gateway.refusals import RefusedError
from rolldock.gateway.session_log import SessionLog

_KEPT: Final = 2048
"""Beyond this many, idle sessions are forgotten, the longest unused first."""


class Sessions:
    """Live sessions by attempt."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._open: dict[str, LiveSession] = {}
        self._opening: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """There while somebody holds one, or waits for it."""

    async def get(self, attempt: str) -> LiveSession:
        """The session of an attempt.

        Raises:
            RefusedError: it was never opened, or it has expired.
            UnavailableError: the store does not answer.
        """
        session = self._open.pop(attempt, None) or await self._recover(attempt)
        self._open[attempt] = session
        if session.record.expires_at <= datetime.now(UTC):
            raise RefusedError(401, "session_expired", "this session has expired")
        return session

    async def _recover(self, attempt: str) -> LiveSession:
        """Open a session once, however many requests ask for it."""
        lock = self._opening.setdefault(attempt, asyncio.Lock())
        async with lock:
            if attempt in self._open:
                return self._open[attempt]
            log = SessionLog(self._process.tools.store, attempt)
            record = await log.session()
            if record is None:
                raise RefusedError(403, "session_not_found", "this session was never opened")
            session = await LiveSession.recover(record, log, self._process)
            self._open[attempt] = session
            self._forget_idle()
            return session

    def _forget_idle(self) -> None:
        if len(self._open) > _KEPT:
            idle = [attempt for attempt, session in self._open.items() if session.idle]
            for attempt in idle[: len(self._open) - _KEPT]:
                del self._open[attempt]
