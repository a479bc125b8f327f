"""What the store needs of the place where its records are.

Which names there are, what may be deleted and what a failure means to a caller is the store's
business.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple


class Entry(NamedTuple):
    """A record as a listing shows it."""

    name: str
    n_bytes: int
    written_at: datetime
    """When it was written or last renewed, in UTC, by the clock of the place."""


class Backend(ABC):
    """Named records: each is written once, and seen whole or not at all.

    Raises:
        OSError, obstore.exceptions.BaseError: from every method, when the place cannot be used.
        ValueError: from every method, for what can be no name.
    """

    @abstractmethod
    async def create(self, name: str, content: bytes) -> bool:
        """Write a record unless it exists. Returns whether this call wrote it."""

    @abstractmethod
    async def get(self, name: str) -> bytes | None:
        """A record's content; None where it does not exist."""

    @abstractmethod
    def names(self, prefix: str, after: str | None) -> AsyncIterator[str]:
        """Names below a prefix (whole path segments) that sort after one, in no order."""

    @abstractmethod
    def entries(self, prefix: str) -> AsyncIterator[Entry]:
        """Records below a prefix (whole path segments), in no order."""

    @abstractmethod
    def half_written(self) -> AsyncIterator[Entry]:
        """What writers have begun, or have left when they were killed; no other method shows it."""

    @abstractmethod
    async def delete_half_written(self, name: str) -> None:
        """Remove what a killed writer has left, by the name that `half_written` gave it."""

    @abstractmethod
    async def entry(self, name: str) -> Entry | None:
        """One record's size and age; None where it does not exist."""

    @abstractmethod
    async def renew(self, name: str, content: bytes) -> None:
        """Make a record as young as one that is written now; it is there afterwards.

        Args:
            content: what it holds.
        """

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Remove a record; one that does not exist is no error."""

    @abstractmethod
    async def delete_unless_newer(self, name: str, than: datetime) -> bool:
        """Remove a record that was neither written nor renewed at `than` or later.

        Returns:
            Whether this call removed it.
        """
