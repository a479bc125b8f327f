"""The list of sandboxes as callers see it: a provider's list may lag behind what it has created.

The lag is zero unless a test asks for one. Looking up one sandbox by its id never lags.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from rolldock.sandboxd.fleet import Fleet
from rolldock.sandboxd.records import SandboxRecord


class Listing:
    """What lists, and deletes by label, are made from."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.lag_seconds = 0.0
        """How long after its create a sandbox appears."""

    def records(self) -> Iterable[SandboxRecord]:
        """Everything that is to be seen, newest first."""
        records = self._fleet.records()
        if self.lag_seconds == 0:
            return records
        newest = datetime.now(UTC) - timedelta(seconds=self.lag_seconds)
        return [record for record in records if record.created_at <= newest]
