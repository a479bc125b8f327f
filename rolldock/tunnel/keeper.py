"""The keeper of one tunnel: registers, runs frpc, watches both, publishes the URL.

It acts in small looks, so that a death between any two leaves something that the next keeper can
go on with. A tunnel whose registration is gone is published as lost before a new one is asked for;
one that is only interrupted keeps its URL, and both ends of the interruption are published.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from prime_tunnel.frpc import FrpcEvent

from rolldock.errors import Backoff, RolldockError, UnavailableError
from rolldock.models.tunnel import PublishedTunnel
from rolldock.store.store import Store
from rolldock.tunnel.config import TunnelConfig
from rolldock.tunnel.frpc import Frpc, config_text
from rolldock.tunnel.published import newest, publish
from rolldock.tunnel.registrations import Registrations
from rolldock.tunnel.state import Registration, StateDir

_LOOK_SECONDS: Final = 0.1
_CHECK_SHARE: Final = 0.75
"""Of the time within which a loss must be seen; the rest is for making certain."""
_CERTAIN_SHARE: Final = 0.1
"""The API has been seen to answer once that it knows no tunnel, of one that was there."""
_STRIKES: Final = 2
"""Looks in a row that must say the same bad thing."""
_BACKOFF: Final = Backoff(1, 30)
_HEALTHY_SECONDS: Final = 10.0
"""An frpc that lived so long is started again at once when it dies."""
_GIVEN_UP: Final = frozenset({FrpcEvent.GONE, FrpcEvent.REJECTED})
"""What frpc says of a registration that no restart brings back."""
_DISCONNECTED: Final = "disconnected"


class Keeper:
    """One tunnel, from its registration to its end."""

    def __init__(
        self,
        config: TunnelConfig,
        state: StateDir,
        registrations: Registrations,
        frpc: Frpc,
        store: Store,
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._state = state
        self._registrations = registrations
        self._frpc = frpc
        self._store = store
        self._say = say
        self._keeper = state.keeper()
        self._registration: Registration | None = None
        self._published: PublishedTunnel | None = None
        """The newest version of ours."""
        self._rival: str | None = None
        self._connected = self._interrupted = self._ended_it = False
        self._unread = False
        """Whether frpc's log may tell of a time before this keeper's."""
        self._n_starts = 0
        """Of frpc, in a row, none of which lived long."""
        self._n_gone = self._n_disconnected = 0
        self._check_at = self._start_at = 0.0

    async def begin(self) -> str:
        """Take over the tunnel that was kept here, or make one; its URL, once it is published.

        Raises:
            UsageError: the account, the settings or frpc have to be mended.
            UnavailableError: the API or the store does not answer, or frpc does not connect.
        """
        resumed = await self._resume()
        try:
            async with asyncio.timeout(self._config.connect_seconds):
                while (url := self._served()) is None:
                    await self.look()
                    if self._n_starts and not self._ended_it and not self._frpc.alive():
                        raise UnavailableError(f"frpc has ended: {self._frpc_words()}")
                    await asyncio.sleep(_LOOK_SECONDS)
                return url
        except TimeoutError:
            await self._give_up(resumed)
            raise UnavailableError(
                f"there is no tunnel after {self._config.connect_seconds:g} s: {self._frpc_words()}"
            ) from None
        except (RolldockError, asyncio.CancelledError):
            await self._give_up(resumed)
            raise

    async def keep(self) -> None:
        """Keep it until cancelled; what fails meanwhile is said once and tried again."""
        n_failed, said = 0, ""
        while True:
            try:
                await self.look()
            except RolldockError as error:
                n_failed += 1
                if said != str(error):
                    said = str(error)
                    self._say(said)
                # frpc is watched on, whatever else does not work.
                idle = self._registration is None
                await asyncio.sleep(_BACKOFF.seconds(n_failed if idle else 1))
            else:
                if n_failed and self._served():
                    n_failed, said = 0, ""
                    self._say("all is well again")
                await asyncio.sleep(_LOOK_SECONDS)

    async def end(self) -> None:
        """Publish that there is no tunnel, end frpc, deregister; the rest also if one fails.

        Raises:
            RolldockError: of the last one that failed; the next keeper finds what is left.
        """
        try:
            await self._publish(None)
        finally:
            await self._frpc.end()
            if self._registration is not None:
                await self._registrations.deregister(self._registration.tunnel_id)
                self._state.forget()
                self._registration = None
            await self._sweep()

    async def look(self) -> None:
        """One look at everything, and the one thing that follows from it."""
        if self._registration is None:
            self._registration = await self._register()
        if not self._frpc.alive():
            self._start_frpc()
        event = self._frpc.news()
        if event in _GIVEN_UP:
            await self._lose(self._registration, self._frpc.last_words())
        elif event is FrpcEvent.PROXY_REFUSED or self._is_overdue():
            await self._restart_frpc(self._frpc_words())
        else:
            await self._publish_state(self._registration, event)
            if time.monotonic() >= self._check_at:
                await self._check(self._registration)

    async def _resume(self) -> bool:
        """Take up what an earlier keeper left. Returns whether there was anything."""
        self._registration = self._state.registration()
        if self._registration is None:
            return False
        await self._read_published()
        changed = self._write_config(self._registration)
        if self._frpc.adopt():
            self._n_starts, self._connected, self._unread = 1, True, True
            self._say(f"frpc {self._frpc.pid} of {self._registration.url} was found and is kept on")
            if changed:
                await self._restart_frpc("the gateway is at another address than before")
        return True

    async def _give_up(self, resumed: bool) -> None:
        """Leave what agents may still use to the next keeper, and nothing else."""
        if resumed:
            self._frpc.leave()
            return
        try:
            await self.end()
        except RolldockError as error:
            if self._registration is not None:
                self._say(f"{error}; the next `rolldock tunnel` here takes up what is left")

    async def _register(self) -> Registration:
        await self._sweep()
        info = await self._registrations.register(self._config.port)
        registration = Registration.of(info)
        self._state.keep_registration(registration)
        self._write_config(registration)
        self._check_at = time.monotonic() + self._config.check_seconds * _CHECK_SHARE
        self._start_at = 0.0
        self._n_starts = self._n_gone = self._n_disconnected = 0
        return registration

    async def _sweep(self) -> None:
        """Deregister what carries our label and is kept no more: what was lost, a lost reply's."""
        for stray in await self._registrations.own():
            await self._registrations.deregister(stray)

    def _start_frpc(self) -> None:
        now = time.monotonic()
        if now < self._start_at:
            return
        if self._n_starts and not self._ended_it:
            self._say(f"frpc has ended and is started again: {self._frpc.last_words()}")
        if now - self._frpc.started_at > _HEALTHY_SECONDS:
            self._n_starts = 0
        self._n_starts += 1
        self._start_at = now + _BACKOFF.seconds(self._n_starts)
        self._connected = self._ended_it = self._unread = False
        self._frpc.start()

    async def _restart_frpc(self, why: str) -> None:
        """End it; a later look starts it, with the same registration."""
        self._say(f"frpc is started again: {why}")
        self._connected, self._ended_it = False, True
        await self._frpc.end()

    async def _check(self, registration: Registration) -> None:
        """Look at the registration: a deregistered one does not tell its frpc."""
        self._check_at = time.monotonic() + self._config.check_seconds * _CHECK_SHARE
        await self._read_published()
        status = await self._registrations.status(registration.tunnel_id)
        self._n_gone = self._n_gone + 1 if status is None else 0
        self._n_disconnected = self._n_disconnected + 1 if status == _DISCONNECTED else 0
        if self._n_gone >= _STRIKES:
            await self._lose(registration, "the API knows it no longer")
        elif self._n_gone:
            self._check_at = time.monotonic() + self._config.check_seconds * _CERTAIN_SHARE
        elif self._n_disconnected >= _STRIKES:
            self._n_disconnected = 0
            await self._restart_frpc("the tunnel service sees none, although it runs")

    async def _lose(self, lost: Registration, why: str) -> None:
        """Publish the loss, and clear away what is left; the next look registers anew."""
        await self._publish(None)
        self._say(f"tunnel {lost.url} is lost: {why}")
        self._connected, self._ended_it = False, True
        await self._frpc.end()
        self._state.forget()
        self._registration = None

    async def _publish_state(self, registration: Registration, event: FrpcEvent | None) -> None:
        """Publish the URL once frpc serves it, and from then on each interruption and its end."""
        connects = event is FrpcEvent.CONNECTED
        # An frpc that connects twice was cut off between. Of one that was found, it is old news.
        again = connects and self._connected and not self._unread
        self._connected, self._unread = self._connected or connects, False
        # Kept until it is published: the store may be away meanwhile.
        self._interrupted = self._interrupted or again or not self._is_up()
        is_out = self._published is not None and self._published.url == registration.url
        if self._interrupted and is_out:
            await self._publish(registration, connected=False)
        if self._is_up():
            self._interrupted = False
            await self._publish(registration)

    async def _publish(self, registration: Registration | None, *, connected: bool = True) -> None:
        """Publish a URL, or that there is none; what another keeper has published since stays."""
        if registration is None:
            await self._read_published()
        if self._published is None and registration is None:
            return  # nothing of ours is out
        url = None if registration is None else registration.url
        out = None if self._published is None else (self._published.url, self._published.connected)
        if self._rival is None and out != (url, connected):
            self._published = await publish(
                self._store,
                url,
                tunnel_id=None if registration is None else registration.tunnel_id,
                keeper=self._keeper,
                check_seconds=self._config.check_seconds,
                connected=connected,
            )

    async def _read_published(self) -> None:
        """Look for what was published after ours: a keeper that was started later has the word."""
        seen = await newest(self._store, self._published)
        mine = seen is not None and seen.keeper == self._keeper
        if seen is None or mine or seen.url is None:
            self._rival, self._published = None, seen if mine else None
        elif self._published is not None and self._rival != seen.url:
            self._rival = seen.url
            self._say(f"another `rolldock tunnel` has published {seen.url} since: end one of both")

    def _write_config(self, registration: Registration) -> bool:
        text = config_text(registration, self._config.host, self._config.port)
        return self._state.write_config(text)

    def _served(self) -> str | None:
        """The URL that is published and works, as far as we know."""
        if self._registration is None or self._published is None or not self._is_up():
            return None
        url = self._published.url if self._published.connected else None
        return url if url == self._registration.url and not self._n_gone else None

    def _is_up(self) -> bool:
        return self._connected and self._frpc.alive()

    def _is_overdue(self) -> bool:
        waited = time.monotonic() - self._frpc.started_at
        return not self._connected and self._frpc.alive() and waited > self._config.connect_seconds

    def _frpc_words(self) -> str:
        return f"{self._frpc.last_words()}: its log is {self._state.log}"
