"""The sessions of all sandboxes: finding them, following them, retaining their ends."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from rolldock.sandboxd import wire
from rolldock.sandboxd.live import LiveSandbox
from rolldock.sandboxd.session import Session, SessionError, Subscription

RETENTION_SECONDS: Final = 300
"""How long the end of a session can still be asked for."""


class Sessions:
    """The sessions of all sandboxes, and the tasks that follow them."""

    def __init__(self) -> None:
        self._sessions: dict[str, list[Session]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    def start(
        self,
        live: LiveSandbox,
        request: wire.StartRequest,
        environment: dict[str, str],
    ) -> tuple[Session, Subscription]:
        """Start a command and listen to it, or listen to the one that has the uuid.

        Raises:
            SessionError: the uuid belongs to another command.
            SandboxGoneError: the sandbox is ending.
        """
        if request.session_uuid is not None:
            for session in self._of(live):
                if session.request.session_uuid == request.session_uuid:
                    if session.request != request:
                        raise SessionError(
                            "failed_precondition",
                            f"session {request.session_uuid} runs another command",
                        )
                    return session, session.subscribe()
        session = Session(live, request, environment)
        subscription = session.subscribe()
        self._of(live).append(session)
        self._own(self._follow(live, session))
        return session, subscription

    def find(self, live: LiveSandbox, selector: wire.Selector) -> Session:
        """A session that runs or ended lately.

        Raises:
            SessionError: there is none.
        """
        for session in reversed(self._sessions.get(live.id, [])):
            if selector.session_uuid is not None:
                if session.request.session_uuid == selector.session_uuid:
                    return session
            elif session.pid is not None and session.pid == selector.pid:
                return session
        wanted = selector.session_uuid or f"with pid {selector.pid}"
        raise SessionError("not_found", f"no session {wanted}")

    def running(self, live: LiveSandbox) -> list[Session]:
        """Sessions that run."""
        return [session for session in self._sessions.get(live.id, []) if session.is_running]

    async def kill(self, session: Session) -> None:
        """End a command; goes on even if the caller is cancelled."""
        await asyncio.shield(self._own(session.kill()))

    async def close(self) -> None:
        """End every command that runs, and wait for it."""
        known = [session for sessions in self._sessions.values() for session in sessions]
        await asyncio.gather(*(session.abandon() for session in known))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for timer in self._timers:
            timer.cancel()

    def _of(self, live: LiveSandbox) -> list[Session]:
        return self._sessions.setdefault(live.id, [])

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _follow(self, live: LiveSandbox, session: Session) -> None:
        await session.run()
        if session.request.session_uuid is None:
            self._drop(live, session)
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(RETENTION_SECONDS, self._drop, live, session)
        self._timers = {it for it in self._timers if it.when() > loop.time()} | {timer}

    def _drop(self, live: LiveSandbox, session: Session) -> None:
        sessions = self._sessions.get(live.id, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            self._sessions.pop(live.id, None)
