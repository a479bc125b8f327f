"""The tunnel's public URL as agents get it: one record per version, the newest one counts."""

from pydantic import Field

from .base import Record, UtcTime


class PublishedTunnel(Record):
    """Version N of where the gateway is reached from outside. A change is a new record."""

    version: int = Field(ge=1)
    url: str | None
    """Without a path; None: the tunnel was lost or ended, and there is no new one yet."""
    connected: bool = True
    """False: calls through it fail for the moment; it is to come back under the same URL."""
    tunnel_id: str | None = None
    """The registration's id at the provider."""
    keeper: str
    """The UUID of the state directory whose `rolldock tunnel` wrote this."""
    check_seconds: float = Field(gt=0)
    """How long a loss may go unseen."""
    published_at: UtcTime
