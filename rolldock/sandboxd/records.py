"""One sandbox as sandboxd remembers it, and as the Prime API shows it. No behaviour."""

from datetime import UTC, datetime
from enum import StrEnum
from math import ceil
from typing import Annotated, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from rolldock.models.base import JsonObject, Record, UtcTime
from rolldock.sandboxd.processes import ProcessIdentity

HOST_IMAGE: Final = "host"
"""The one image: the root of this machine."""
_HOSTNAME_LIMIT: Final = 63


class Status(StrEnum):
    """Where a sandbox is in its life."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    ERROR = "ERROR"
    """It died by itself."""
    TERMINATED = "TERMINATED"
    """It was deleted."""
    TIMEOUT = "TIMEOUT"
    """It reached its lifetime."""


class Network(StrEnum):
    """What a sandbox reaches beside its own loopback and the gateway."""

    NONE = "none"
    PASTA = "pasta"
    """The outside, but not this machine's loopback."""
    HOST = "host"
    """This machine's own network: no isolation."""


class CreateRequest(BaseModel):
    """The body of a create. What this server cannot do is refused, not ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    docker_image: str | None = None
    checkpoint_id: str | None = None
    start_command: JsonObject | None = None
    cpu_cores: Annotated[float, Field(gt=0, le=1024)] = 1.0
    memory_gb: Annotated[float, Field(gt=0, le=1 << 20)] = 1.0
    disk_size_gb: float = 5.0
    """Accepted, and not limited."""
    gpu_count: int = 0
    network_allowlist: tuple[str, ...] | None = None
    network_denylist: tuple[str, ...] | None = None
    timeout_minutes: Annotated[float, Field(ge=0)] = 60
    """Lifetime; a fraction is allowed; 0: none."""
    idle_timeout_minutes: int | None = None
    environment_vars: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)
    labels: tuple[str, ...] = ()
    team_id: str | None = None
    volumes: tuple[JsonObject, ...] | None = None
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class Ending(NamedTuple):
    """How a sandbox ends, as its record will say."""

    status: Status
    error_type: str | None
    message: str


class SandboxRecord(Record):
    """The state of one sandbox, on disk and in memory."""

    id: str
    request: CreateRequest
    network: Network
    hostname: str = ""
    hidden: tuple[str, ...] = ()
    """Paths of the host that its upper directory hides."""
    status: Status
    created_at: UtcTime
    updated_at: UtcTime
    started_at: UtcTime | None = None
    terminated_at: UtcTime | None = None
    process: ProcessIdentity | None = None
    """Its first process; None before it runs."""
    pasta: ProcessIdentity | None = None
    """The process that gives it a public network, if one does."""
    error_type: str | None = None
    error_message: str | None = None
    logs: tuple[str, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether it still exists."""
        return self.status in (Status.PENDING, Status.RUNNING)

    @property
    def expires_in_seconds(self) -> float | None:
        """What is left of its lifetime; None: it has no limit."""
        if self.request.timeout_minutes == 0:
            return None
        age = (datetime.now(UTC) - (self.started_at or self.created_at)).total_seconds()
        return max(0.0, self.request.timeout_minutes * 60 - age)

    def updated(self, log: str | None = None, **changes: object) -> "SandboxRecord":
        """A copy with changes, its time of change, and a line in its log."""
        now = datetime.now(UTC)
        lines = self.logs if log is None else (*self.logs, f"{now.isoformat()} {log}")
        return self.model_copy(update={**changes, "updated_at": now, "logs": lines})

    def ended(self, ending: Ending) -> "SandboxRecord":
        """What is kept of it; a record that tells its end already stays as it is."""
        if not self.is_active:
            return self
        return self.updated(
            f"{ending.status.value}: {ending.message}",
            status=ending.status,
            terminated_at=datetime.now(UTC),
            error_type=ending.error_type,
            error_message=ending.message if ending.error_type else None,
        )

    def as_sandbox(self) -> JsonObject:
        """The API's sandbox object. Secrets are not in it."""
        request = self.request
        times = {
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "startedAt": self.started_at,
            "terminatedAt": self.terminated_at,
        }
        return {
            "id": self.id,
            "name": request.name,
            "dockerImage": HOST_IMAGE,
            "cpuCores": request.cpu_cores,
            "memoryGB": request.memory_gb,
            "diskSizeGB": request.disk_size_gb,
            "diskMountPath": "/",
            "gpuCount": 0,
            "vm": True,
            "networkAllowlist": _listed(request.network_allowlist),
            "networkDenylist": _listed(request.network_denylist),
            "status": self.status.value,
            "timeoutMinutes": ceil(request.timeout_minutes),
            "terminationReason": None if self.is_active else self.status.value,
            "environmentVars": {**request.environment_vars},
            "labels": _listed(request.labels),
            "errorType": self.error_type,
            "errorMessage": self.error_message,
            "teamId": request.team_id,
            **{name: time.isoformat() if time else None for name, time in times.items()},
        }

    def as_snapshot(self) -> JsonObject:
        """The API's short form, in batch lookups."""
        return {
            "sandbox_id": self.id,
            "status": self.status.value,
            "error_type": self.error_type,
            "error_message": self.error_message,
        }


def hostname(name: str) -> str:
    """A sandbox's name as a host name: its letters, digits and hyphens."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
    return kept[:_HOSTNAME_LIMIT].strip("-") or "sandbox"


def _listed(entries: tuple[str, ...] | None) -> list[JsonValue] | None:
    return None if entries is None else list(entries)
