"""The two kinds of model: contracts that we write and records that we read back later.

A contract refuses what it does not know, so that a typing error is an error. A stored record is
read by versions that were never told of its newer fields, so it keeps what it does not know.
"""

from datetime import datetime
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue


class Contract(BaseModel):
    """A frozen model that forbids unknown fields: inputs, settings, activity arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Record(BaseModel):
    """A frozen model that keeps unknown fields: whatever is read from the store."""

    model_config = ConfigDict(frozen=True, extra="allow")


def _utc(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise ValueError("needs a time zone: all times are UTC")
    return value


UtcTime: TypeAlias = Annotated[datetime, AfterValidator(_utc)]
"""A time with its zone; we write UTC."""

JsonObject: TypeAlias = dict[str, JsonValue]
"""A JSON object as it came over a wire, its keys in their original order."""
