"""What the sessions of one gateway process have in common. Holds no session."""

from dataclasses import dataclass, field

from rolldock.gateway.calls import CallTools
from rolldock.gateway.replaying.recording import Recordings
from rolldock.gateway.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Process:
    """What the sessions of one gateway process share."""

    gateway: str
    """The UUID drawn when it started."""
    tools: CallTools
    tasks: Tasks
    end_probe_seconds: float
    recordings: Recordings = field(default_factory=Recordings)
