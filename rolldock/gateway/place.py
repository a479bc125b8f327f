"""Which call of which session a turn is."""

from dataclasses import dataclass
from datetime import datetime

from rolldock.gateway.conversation import Placement
from rolldock.gateway.dialects.base import AgentRequest
from rolldock.models.names import SESSION_HEADER, SLOT_HEADER


@dataclass(frozen=True, slots=True)
class CallPlace:
    """A claimed slot with its request and that request's place in the conversation."""

    attempt: str
    slot: int
    request: AgentRequest
    placement: Placement
    started_at: datetime

    @property
    def headers(self) -> dict[str, str]:
        """What tells model servers and their routers which call it is, in every try."""
        return {SESSION_HEADER: self.attempt, SLOT_HEADER: str(self.slot)}
