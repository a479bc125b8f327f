"""The tunnel of an arena: the stand-in for Prime's service, and whoever keeps it at the moment."""

import subprocess

from rolldock.models.tunnel import PublishedTunnel
from tests.tunnel.keepers import Keepers
from tests.tunnel.service import TunnelService


class Tunnel:
    """A tunnel to one gateway."""

    def __init__(self, service: TunnelService, keepers: Keepers, gateway_port: int) -> None:
        self.service = service
        self.keepers = keepers
        self._port = gateway_port
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def keeper(self) -> "subprocess.Popen[bytes]":
        """The process that keeps it, or kept it last."""
        assert self._keeper is not None, "the tunnel was never up"
        return self._keeper

    async def up(self) -> PublishedTunnel:
        """Start a keeper unless one runs. Returns what is published once the tunnel works."""
        if self._keeper is None or self._keeper.poll() is not None:
            self._keeper = await self.keepers.up(self._port)
        return await self.keepers.working()
