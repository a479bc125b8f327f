"""What the keeper of a tunnel is told when it starts."""

import shlex
from pathlib import Path
from typing import Final, Self

from pydantic import Field

from rolldock.errors import UsageError
from rolldock.models.base import Contract
from rolldock.settings import Settings

FRPC_VARIABLE: Final = "ROLLDOCK_TUNNEL_FRPC"


class TunnelConfig(Contract):
    """Settings of one tunnel."""

    state_dir: Path
    """The registration, its secrets, and which process is its frpc."""
    host: str = "127.0.0.1"
    port: int = Field(default=8700, ge=1, le=65535)
    """Where the gateway listens, as frpc reaches it."""
    api_key: str | None = Field(default=None, repr=False)
    """None: the one of the Prime command line's login."""
    base_url: str | None = None
    """Of Prime's API; None: Prime's own, or what the Prime command line's login says."""
    frpc: tuple[str, ...] | None = None
    """The command in place of frpc; None: Prime's, loaded once into ~/.prime/bin."""
    check_seconds: float = Field(default=20, gt=0)
    """Within so many seconds a lost registration is seen."""
    connect_seconds: float = Field(default=30, gt=0)
    """How long frpc may take to connect before it is started again."""

    @classmethod
    def of(cls, settings: Settings, state_dir: Path, host: str, port: int) -> Self:
        """The settings of an installation.

        Raises:
            UsageError: the frpc command has an open quote.
        """
        try:
            frpc = None if settings.tunnel_frpc is None else shlex.split(settings.tunnel_frpc)
        except ValueError as error:
            raise UsageError(f"{FRPC_VARIABLE} = {settings.tunnel_frpc!r}: {error}") from None
        return cls(
            state_dir=state_dir,
            host=host,
            port=port,
            api_key=settings.prime_api_key,
            base_url=settings.prime_api_base_url,
            frpc=tuple(frpc) if frpc else None,
            check_seconds=settings.tunnel_check_seconds,
            connect_seconds=settings.tunnel_connect_seconds,
        )
