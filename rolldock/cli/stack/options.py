"""What a stack is told when it starts. Reads no environment: the command that starts it does."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from rolldock.models.base import Contract


class Port(StrEnum):
    """What a port is for; the flag of `rolldock up` is `--{value}-port`."""

    TEMPORAL = "temporal"
    TEMPORAL_UI = "temporal-ui"
    GATEWAY = "gateway"
    SANDBOXD = "sandboxd"
    SCRIPTED = "scripted"


class StackOptions(Contract):
    """Settings of one stack."""

    home: Path
    """Its state: database, store, secret, sandboxes, logs. One stack per home."""
    ports: dict[Port, int] = Field(default_factory=dict[Port, int])
    """Ports that were asked for; the others are the defaults, or free ones with `auto_ports`."""
    auto_ports: bool = False
    """Free ports instead of the defaults, the same as last time in this home where possible."""
    agent_cache: Path
    """Installed agents, which sandboxes see read-only."""
    store: str | None = None
    """A directory or URL; None: `store` in the home."""
    scripts: Path | None = None
    """A directory of conversations: the scripted model server plays them. None: not started."""
    worker: bool = True
    """Whether to run a worker; a test that brings its own turns this off."""
    faults: bool = False
    """Whether gateway, sandboxd and scripted model server take faults: for tests and chaos."""
    environment: dict[str, str] = Field(default_factory=dict[str, str])
    """More variables for every process of the stack, such as shorter timeouts in tests."""
