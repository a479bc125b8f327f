"""What the local sandbox server is told when it starts."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from rolldock.models.base import Contract


class SandboxdConfig(Contract):
    """Settings of one `sandboxd`."""

    state_dir: Path
    """Its sandboxes: records and overlay directories; they outlive the process."""
    api_key: str
    """What clients must send as a bearer token."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: chosen by the system."""
    gateway_host: str = "127.0.0.1"
    gateway_port: int
    """Where the gateway listens on this machine: what the fixed address in a sandbox leads to."""
    hidden: tuple[Path, ...] = ()
    """Directories of the host that no sandbox may see, beside home directories and the like: the
    store, the secret, the checkout."""
    agent_cache: Path | None = None
    """Mounted read-only at /opt/rolldock/agents."""
    max_processes: Annotated[int, Field(ge=16)] = 4096
    """Processes and threads of one sandbox at once, where the kernel can limit them."""
    faults: bool = False
    """Whether whoever has the key may inject faults: for tests and chaos only."""
