"""Environment variables -> one object, read by the entry points alone.

A variable wins over `.rolldock/stack.env`, which `rolldock up` writes with the addresses of the
stack that it runs, so that a command typed beside it finds it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from rolldock.errors import UsageError

HOME_VARIABLE: Final = "ROLLDOCK_HOME"
STACK_FILE: Final = "stack.env"


def home() -> Path:
    """The state directory of a local stack: `ROLLDOCK_HOME`, by default `.rolldock` here."""
    return Path(os.environ.get(HOME_VARIABLE, ".rolldock")).absolute()


class Settings(BaseSettings):
    """What an installation is told from outside."""

    model_config = SettingsConfigDict(env_prefix="ROLLDOCK_", extra="ignore", frozen=True)

    temporal_address: str = Field(
        default="127.0.0.1:7233",
        validation_alias=AliasChoices("ROLLDOCK_TEMPORAL_ADDRESS", "TEMPORAL_ADDRESS"),
    )
    temporal_namespace: str = Field(
        default="default",
        validation_alias=AliasChoices("ROLLDOCK_TEMPORAL_NAMESPACE", "TEMPORAL_NAMESPACE"),
    )
    temporal_ui: str | None = None
    """Address of the Temporal UI, for links."""
    store: str = Field(default_factory=lambda: str(home() / "store"))
    """A directory, or a URL that obstore knows (s3://bucket/prefix)."""
    secret: str | None = None
    """The deployment's secret; None: read from `secret_file`."""
    secret_file: Path = Field(default_factory=lambda: home() / "secret")
    """Made by `rolldock init`, mode 0600."""
    gateway_url: str = "http://127.0.0.64:41800"
    """The gateway as a sandbox reaches it, without `/v1`; `tunnel`: where `rolldock tunnel`
    publishes it."""
    tunnel_frpc: str | None = None
    """The command in place of frpc; None: Prime's own, loaded once into ~/.prime/bin."""
    tunnel_check_seconds: float = Field(default=20, gt=0)
    """Within so many seconds a tunnel that was deregistered is seen."""
    tunnel_connect_seconds: float = Field(default=30, gt=0)
    """How long frpc may take to connect; an agent's start waits for a tunnel so long too."""
    prime_api_base_url: str | None = Field(default=None, validation_alias="PRIME_API_BASE_URL")
    """The sandbox API: `sandboxd` on one machine; None: Prime's own."""
    prime_api_key: str | None = Field(default=None, validation_alias="PRIME_API_KEY")
    default_image: str = "python:3.12-slim"
    """For tasks that name none; `host` with a local sandbox server."""
    task_variables: str = ""
    """Names, separated by commas, of the worker's variables that a task's env may name."""
    cache: Path = Field(default_factory=lambda: home() / "cache")
    """What can be made again at any time: the index of the store, for lists and completion."""
    agent_cache: Path = Field(default_factory=lambda: Path(".cache/agents").absolute())
    """Where `rolldock agents install` puts agents on this machine."""
    max_live_sandboxes: int = Field(default=256, ge=1)
    """Of this deployment, counted before each create."""
    creates_per_second: float = Field(default=10, gt=0)
    """Over all workers: the server limits the queue of creates."""
    max_lifetime_minutes: int = Field(default=24 * 60, ge=1)
    """The provider's limit for a sandbox."""
    lifetime_slack_seconds: float = Field(default=1800, ge=0)
    """What a sandbox's lifetime has over the attempt's deadline."""
    create_settle_seconds: float = Field(default=120, ge=0)
    """How long after its last byte a create without a reply may still take effect."""
    listing_lag_seconds: float = Field(default=10, ge=0)
    """How late the provider's list may be."""
    checkpoint_days: float = Field(default=7, ge=0)
    """How long what an agent left is kept to be graded again; 0: nothing is kept."""
    recording_days: float = Field(default=180, ge=0)
    """How long session logs and traces are kept after a rollout's end; 0: for ever."""
    reap_every_minutes: float = Field(default=5, gt=0)
    """Between two sweeps of the reaper; taken up by `rolldock init` and `rolldock up`."""
    grace_seconds: float = Field(default=600, ge=0)
    """How young a sandbox the reaper spares."""
    reap_cap: int = Field(default=500, ge=1)
    """Sandboxes that one sweep deletes at most: what a mistake could cost."""
    metrics_address: str | None = None
    """Where a worker serves Prometheus metrics, such as 127.0.0.1:9464; None: nowhere."""
    heartbeat_seconds: float = Field(default=60, gt=0)
    """Heartbeat timeout of the stages; workers beat at a third of it or faster."""
    sticky_seconds: float = Field(default=10, gt=0)
    """How long a workflow's next step waits for the worker that has it in memory; a dead one costs
    its rollouts so long."""
    quota_hours: float = Field(default=3, gt=0)
    """How long a create waits for room under `max_live_sandboxes`."""
    cleanup_hours: float = Field(default=12, gt=0)
    """How long a delete is retried before the rollout is marked leaked."""

    @classmethod
    def load(cls) -> Self:
        """Read the environment over the stack file.

        Raises:
            UsageError: a variable has a value that cannot be used.
        """
        try:
            return cls(_env_file=home() / STACK_FILE)  # pyright: ignore[reportCallIssue]
        except ValidationError as error:
            first = error.errors()[0]
            name = "_".join(str(part) for part in first["loc"])
            variable = f"ROLLDOCK_{name.upper()}" if name in cls.model_fields else name
            raise UsageError(
                f"{variable} = {first['input']!r} cannot be used: {first['msg']}"
            ) from error

    def task_environment(self, host: Mapping[str, str]) -> dict[str, str]:
        """The host's variables that tasks may name in `task.toml`, and no others."""
        allowed = {name.strip() for name in self.task_variables.split(",")}
        return {name: value for name, value in host.items() if name in allowed}

    def read_secret(self) -> bytes:
        """The deployment's secret.

        Raises:
            UsageError: there is none yet, or an empty one, which would sign for everybody.
        """
        if self.secret and self.secret.strip():
            return self.secret.strip().encode()
        try:
            kept = self.secret_file.read_bytes().strip()
        except FileNotFoundError:
            raise UsageError(
                f"no secret at {self.secret_file}: run `rolldock init`, or set ROLLDOCK_SECRET"
            ) from None
        except OSError as error:
            raise UsageError(f"secret {self.secret_file}: {error.strerror}") from error
        if not kept:
            raise UsageError(
                f"the secret at {self.secret_file} is empty: remove the file and run "
                "`rolldock init`"
            )
        return kept
