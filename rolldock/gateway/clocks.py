"""The time of one try at a model server, less the time that its endpoint was paused.

Nothing is watched while time is left: whether there was a pause is asked when a timer would run
out. How long a try may take, and what follows, is `upstream.py`'s.
"""

import asyncio
from abc import ABC, abstractmethod


class Pauses(ABC):
    """How long one endpoint has been paused."""

    @property
    @abstractmethod
    def known_seconds(self) -> float:
        """As of the last look, over all pauses that have ended."""

    @abstractmethod
    async def waited_out(self) -> None:
        """Look, and return when the endpoint is not paused (any more).

        Raises:
            UnavailableError: the store has not answered for long.
        """


class TryClock:
    """How long a try has taken, and how long it has been silent, in seconds."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses
        self._loop = asyncio.get_running_loop()
        self._began = self._heard = self._now()

    @property
    def taken_seconds(self) -> float:
        """Since the try began."""
        return self._now() - self._began

    @property
    def silent_seconds(self) -> float:
        """Since the model server sent something, or since the try began."""
        return self._now() - self._heard

    def hear(self) -> None:
        """The model server sent something."""
        self._heard = self._now()

    async def pauses_over(self) -> None:
        """Look for pauses, and wait for the end of one that lasts."""
        await self._pauses.waited_out()

    def _now(self) -> float:
        return self._loop.time() - self._pauses.known_seconds
