"""What a watcher's heartbeats tell of its agent, for whoever looks at the pending activity.

Never ends the watching, and costs at most one look at the session for each heartbeat that is sent.
"""

import asyncio
from datetime import timedelta
from typing import Final

from pydantic import ValidationError
from temporalio import activity

from activities.heartbeat import Pulse
from rolldock.gateway.progress import Progress, SessionProgress
from rolldock.gateway.session_log import SessionLog

_SENT_SHARE: Final = 0.8
"""Of the heartbeat timeout: how often the SDK sends what was beaten last."""
_AHEAD_SECONDS: Final = 6.0
"""How long before a sending a look is due: polls may be five seconds apart."""
_UNTIMED: Final = timedelta(seconds=30)


class Telling:
    """Turns, tokens and the last tool call of a session, kept in a pulse."""

    def __init__(self, pulse: Pulse, log: SessionLog) -> None:
        self._pulse = pulse
        self._progress = SessionProgress(log, _earlier(pulse))
        timeout = activity.info().heartbeat_timeout or _UNTIMED
        self._every = _SENT_SHARE * timeout.total_seconds()
        self._due = asyncio.get_running_loop().time()
        self._ahead = min(_AHEAD_SECONDS, self._every / 2)

    async def tell(self) -> None:
        """Look, if it is time to, and let the next heartbeat say what is new.

        Raises:
            UnavailableError: the store does not answer.
        """
        now = asyncio.get_running_loop().time()
        if now < self._due:
            return
        while self._due <= now:
            self._due += self._every - self._ahead
            self._ahead = 0.0
        before = self._progress.known
        try:
            seen = await self._progress.look()
        except ValueError as error:
            # What cannot be read costs the trace, later; it is no reason to watch no longer.
            activity.logger.warning("the session's progress cannot be read: %s", error)
            self._due = float("inf")
            return
        if seen != before:
            self._pulse.keep(seen.model_dump(mode="json"))


def _earlier(pulse: Pulse) -> Progress | None:
    """What an earlier try told; None: nothing, or a release before this one told it."""
    try:
        return Progress.model_validate(pulse.kept)
    except ValidationError:
        return None
