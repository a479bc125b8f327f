"""A model server as users name it: one record per version, the key encrypted."""

from enum import StrEnum

from pydantic import Field

from .base import Record, UtcTime
from .spec import Name


class EngineMode(StrEnum):
    """`chat`: the server applies the template. `tokens`: the gateway renders exact ids."""

    CHAT = "chat"
    TOKENS = "tokens"


class Endpoint(Record):
    """Version N of an endpoint. A change is a new record; the newest one counts."""

    name: Name
    version: int = Field(ge=1)
    replicas: tuple[str, ...] = Field(min_length=1)
    """Base URLs that end before `/chat/completions`, e.g. http://127.0.0.1:8000/v1; a session
    sticks to one by hash."""
    model: str = Field(min_length=1)
    """The model's name at the server, which replaces whatever the agent asks for."""
    api_key: str | None = None
    """Encrypted under the deployment's secret; None: the server wants no key."""
    mode: EngineMode = EngineMode.CHAT
    tokenizer_digest: str | None = None
    token_ids: bool | None = None
    """Whether the server returned token ids and log-probs when it was probed; None: not probed."""
    policy_version: str | None = None
    paused: bool = False
    """Calls wait in the gateway; those that are open go on."""
    pause_version: int = Field(default=0, ge=0)
    """The version that began the newest pause; 0: never paused."""
    drained_version: int = Field(default=0, ge=0)
    """No call that began under an earlier version than this is open any more."""
    created_at: UtcTime

    @property
    def pause(self) -> int:
        """The version that began the pause which this record is part of."""
        return self.pause_version or self.version
