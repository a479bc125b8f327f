"""What the options that choose rollouts come to: a query of the index and one of the open ones."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError

from rolldock.errors import UsageError
from rolldock.index.query import Query
from rolldock.models.base import Contract
from rolldock.trainer.live import LiveQuery

RUNNING: Final = "running"
_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Filters(Contract):
    """The options as they were given; None: not given."""

    experiment: str | None = None
    group: str | None = None
    task: str | None = None
    agent: str | None = None
    endpoint: str | None = None
    status: str | None = None
    cause: str | None = None
    stage: str | None = None
    stop_reason: str | None = None
    replay_of: str | None = None
    reward_below: float | None = None
    reward_above: float | None = None
    since: str | None = None
    until: str | None = None

    def ended(self, sort: str | None = None, limit: int | None = None) -> Query | None:
        """The query for rollouts that have ended; None: only running ones are wanted.

        Raises:
            UsageError: a value is none that the option takes.
        """
        if self.status == RUNNING:
            return None
        now = datetime.now(UTC)
        given = self.model_dump(exclude={"stage", "since", "until"}, exclude_none=True)
        given |= {"failed_in": self.stage, "limit": limit}
        given |= {"sort": sort} if sort is not None else {}
        for option, value in (("since", self.since), ("until", self.until)):
            given[option] = None if value is None else _time(option, value, now)
        try:
            return Query.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            option = "--" + str(first["loc"][0]).replace("_", "-")
            said = first["msg"].removeprefix("Value error, ")
            said += f", or {RUNNING!r}" if option == "--status" else ""
            raise UsageError(f"{option} {first['input']}: {said}") from error

    def running(self) -> LiveQuery | None:
        """The query for open rollouts; None: a filter wants what only an end gives."""
        of_an_end = (self.cause, self.stop_reason, self.reward_below, self.reward_above, self.until)
        if self.status not in (None, RUNNING) or any(value is not None for value in of_an_end):
            return None
        return LiveQuery(
            experiment=self.experiment,
            group=self.group,
            task=self.task,
            agent=self.agent,
            endpoint=self.endpoint,
            stage=self.stage,
            replay_of=self.replay_of,
        )


def _time(option: str, value: str, now: datetime) -> datetime:
    ago = _AGO.fullmatch(value)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        at = datetime.fromisoformat(value)
    except (OverflowError, ValueError) as error:
        raise UsageError(
            f"--{option} {value}: no time: give 90s, 30m, 2h, 3d or 1w for so long ago, or a date "
            "as in 2026-01-31 or 2026-01-31T12:00 (UTC where no zone is given)"
        ) from error
    return at if at.utcoffset() is not None else at.replace(tzinfo=UTC)
