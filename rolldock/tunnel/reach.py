"""Where a worker's agents reach the gateway: the address in the settings, or the published tunnel.

An attempt keeps the URL that it began with: once another one is published, what its agent does
can no longer be believed. An interruption under the same URL costs only the agents that fail of it.
Publishes nothing.
"""

import asyncio
import math
from datetime import datetime
from typing import Final

from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.models.tunnel import PublishedTunnel
from rolldock.settings import Settings
from rolldock.store.store import Store
from rolldock.tunnel.published import PublishedTunnels

TUNNEL: Final = "tunnel"
"""The setting ROLLDOCK_GATEWAY_URL that stands for the published URL."""

_LOOK_SECONDS: Final = 1.0
_PUBLISH_SECONDS: Final = 5.0
"""Between a loss that the keeper has seen and the record that says so."""


class Reach:
    """The gateway's address for agents, and whether it still is.

    Raises:
        UnavailableError: from every method, when the store does not answer.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._gateway_url = settings.gateway_url
        self._wait_seconds = settings.tunnel_connect_seconds
        self._published = PublishedTunnels(store)

    @property
    def uses_tunnel(self) -> bool:
        """Whether agents reach the gateway through the published tunnel."""
        return self._gateway_url == TUNNEL

    def base_url(self, tunnel_url: str | None) -> str:
        """What an agent is told, ending in /v1."""
        return f"{tunnel_url or self._gateway_url.rstrip('/')}/v1"

    async def tunnel_url(self, within_seconds: float = math.inf) -> str | None:
        """The published URL, waited for while there is none; None: agents use no tunnel.

        Args:
            within_seconds: the longest wait, where the settings allow a longer one.

        Raises:
            StageError: `tunnel_lost`, no tunnel was up in time.
        """
        if not self.uses_tunnel:
            return None
        patience = min(self._wait_seconds, within_seconds)
        try:
            async with asyncio.timeout(patience):
                # Only what would be returned is looked at anew: thousands may wait for a tunnel.
                while _up(await self._published.newest()) is None or not (
                    url := _up(await self._published.newest(fresh=True))
                ):
                    await asyncio.sleep(_LOOK_SECONDS)
                return url
        except TimeoutError:
            raise StageError(
                Cause.TUNNEL_LOST,
                f"no tunnel to the gateway was up within {patience:g} s: run "
                "`rolldock tunnel` with this store, or set ROLLDOCK_GATEWAY_URL to a public URL",
            ) from None

    async def check(self, tunnel_url: str | None) -> None:
        """See that an attempt's URL is the published one; None, without a tunnel, always is.

        Raises:
            StageError: `tunnel_lost`.
        """
        if tunnel_url is None:
            return
        # What this worker knows may be older than the URL that another one has bound this to.
        if _url(await self._published.newest()) != tunnel_url:
            newest = _url(await self._published.newest(fresh=True))
            if newest != tunnel_url:
                raise StageError(Cause.TUNNEL_LOST, _lost(tunnel_url, newest))

    async def settle(self, tunnel_url: str | None, since: datetime) -> None:
        """Wait until a loss or an interruption would be known: an agent may have failed of one.

        Args:
            since: when its last call was answered; after that nothing shows that the tunnel worked.

        Raises:
            StageError: `tunnel_lost`.
        """
        newest = None if tunnel_url is None else await self._published.newest()
        if newest is None:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + newest.check_seconds + _PUBLISH_SECONDS
        while loop.time() < until:
            await self._check_unbroken(tunnel_url, since)
            await asyncio.sleep(_LOOK_SECONDS)
        await self._check_unbroken(tunnel_url, since)

    async def _check_unbroken(self, tunnel_url: str | None, since: datetime) -> None:
        newest = await self._published.newest(fresh=True)
        await self.check(tunnel_url)
        if newest is not None and (not newest.connected or newest.published_at > since):
            raise StageError(
                Cause.TUNNEL_LOST,
                f"the agent's way to the gateway, {tunnel_url}, was interrupted, and it failed "
                "before a call was answered again",
            )


def _url(newest: PublishedTunnel | None) -> str | None:
    return None if newest is None else newest.url


def _up(newest: PublishedTunnel | None) -> str | None:
    """The URL of a tunnel that works."""
    return None if newest is None or not newest.connected else newest.url


def _lost(tunnel_url: str, newest: str | None) -> str:
    now = newest or "none"
    return f"the agent's way to the gateway, {tunnel_url}, was lost; the tunnel is now: {now}"
