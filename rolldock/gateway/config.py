"""What the gateway is told when it starts."""

import os
from pathlib import Path
from typing import Final

from pydantic import Field

from rolldock.errors import UsageError
from rolldock.models.base import Contract

CONFIG_VARIABLE: Final = "ROLLDOCK_GATEWAY_CONFIG"
"""Holds a GatewayConfig as JSON for `python -m rolldock.gateway`."""

SECRET_VARIABLE: Final = "ROLLDOCK_SECRET"


class GatewayConfig(Contract):
    """Settings of one gateway replica."""

    store: str
    """The store's directory or URL."""
    secret_file: Path | None = None
    """Holds the deployment's secret, which checks session tokens and decrypts endpoint keys;
    None: `secret`, else the variable ROLLDOCK_SECRET."""
    secret: bytes | None = Field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """0: chosen by the system."""
    max_body_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """Of one request: images are sent inline."""
    body_seconds: float = Field(default=120.0, gt=0)
    """How long a request's body may take to arrive."""
    idle_seconds: float = Field(default=75.0, gt=0)
    """How long a connection may be open without a request, its headers not complete included."""
    end_probe_seconds: float = Field(default=1.0, gt=0)
    """While a call is open, how often the next slot is looked at for END, and a paused endpoint
    for its resumption."""
    keep_alive_seconds: float = Field(default=3.0, gt=0)
    """Between the comments that keep a held stream open."""
    upstream_total_seconds: float = Field(default=3300.0, gt=0)
    """One call with all its retries: shorter than the agents' own limit."""
    upstream_stall_seconds: float = Field(default=1200.0, gt=0)
    """Without a byte from the model server for so long, a try is given up: a reply that is not
    streamed sends none before its end."""
    drain_seconds: float = Field(default=10.0, ge=0)
    """After SIGTERM, how long open calls may go on."""
    faults: bool = False
    """Whether anyone who reaches it may inject faults: for tests and chaos only."""

    def read_secret(self) -> bytes:
        """The deployment's secret, from wherever this configuration says.

        Raises:
            UsageError: it is nowhere, or the file cannot be read.
        """
        if self.secret is not None:
            return self.secret
        if self.secret_file is not None:
            try:
                return self.secret_file.read_bytes().strip()
            except OSError as error:
                raise UsageError(
                    f"secret {self.secret_file}: {error.strerror}: run `rolldock init`"
                ) from error
        found = os.environ.get(SECRET_VARIABLE)
        if not found:
            raise UsageError(f"no secret: set {SECRET_VARIABLE}, or secret_file in the settings")
        return found.encode()
