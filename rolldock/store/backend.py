"""What the store needs of the place where its records are.

Which names there are, and what a failure means to a caller, is the store's business.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator


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
