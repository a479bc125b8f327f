"""What the gateway is told when it starts."""

from rolldock.models.base import Contract


class GatewayConfig(Contract):
    """Settings of one gateway replica."""

    store: str
    """The store's directory or URL."""
    secret: bytes
    """The deployment's secret: checks session tokens, decrypts endpoint keys."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: chosen by the system."""
    max_body_bytes: int = 64 * 1024 * 1024
    """Of one request: images are sent inline."""
    end_probe_seconds: float = 1.0
    """While a call is open, how often the next slot is looked at for END."""
    keep_alive_seconds: float = 3.0
    """Between the comments that keep a held stream open."""
    upstream_total_seconds: float = 3300.0
    """One call with all its retries: shorter than the agents' own limit."""
