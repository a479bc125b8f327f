"""The journal of model calls that reached the model, so that a test can tell what was asked twice.

In memory only, and kept only where faults may be injected. A call that a fault refused or dropped
before its handler is not in it; a late one is there once it takes effect.
"""

import hashlib
from datetime import UTC, datetime

from aiohttp import web

from rolldock.faults.model import JournalEntry
from rolldock.models.names import SESSION_HEADER, SLOT_HEADER


class Journal:
    """Every call, oldest first."""

    def __init__(self) -> None:
        self._entries: list[JournalEntry] = []

    def add(self, request: web.Request, body: bytes) -> None:
        """Note a call."""
        slot = request.headers.get(SLOT_HEADER, "")
        entry = JournalEntry(
            received_at=datetime.now(UTC),
            session=request.headers.get(SESSION_HEADER),
            slot=int(slot) if slot.isdecimal() else None,
            digest=hashlib.sha256(body).hexdigest(),
        )
        self._entries.append(entry)

    async def show(self, _: web.Request) -> web.Response:
        """Answer with all of it."""
        return web.json_response([entry.model_dump(mode="json") for entry in self._entries])
