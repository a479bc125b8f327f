"""The way from each live sandbox to the gateway: which listeners the forwarder must have.

It notices the forwarder's death and gives every sandbox its way again. How connections are carried
is in `forwarder.py`.
"""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rolldock.sandboxd.entrance import EntryRefusedError
from rolldock.sandboxd.forwarding import ForwarderLostError, Forwarding
from rolldock.sandboxd.live import LiveSandbox, SandboxGoneError
from rolldock.sandboxd.network import NetworkError

_log = logging.getLogger(__name__)

_HOST_LISTENER: Final = "host"
"""The name of the one listener that all sandboxes on the host's network share."""
_RETRY_SECONDS: Final = 0.5


class Ways:
    """The listeners of the live sandboxes."""

    def __init__(self, state_dir: Path, gateway_host: str, gateway_port: int) -> None:
        self._forwarding = Forwarding(state_dir, gateway_host, gateway_port)
        self._sandboxes: dict[str, LiveSandbox] = {}
        self._turn = asyncio.Lock()
        self._guard: asyncio.Task[None] | None = None

    async def open(self, live: Iterable[LiveSandbox]) -> None:
        """Make the forwarder listen for exactly these sandboxes, and keep it alive from now on."""
        self._sandboxes = {sandbox.id: sandbox for sandbox in live}
        async with self._turn:
            await self._reconcile()
        self._guard = asyncio.create_task(self._keep_alive())

    async def close(self, *, is_last: bool) -> None:
        """Leave the forwarder to the sandboxes that live on; `is_last`: there are none, end it."""
        if self._guard is None:
            return
        self._guard.cancel()
        await asyncio.gather(self._guard, return_exceptions=True)
        try:
            if is_last:
                await self._forwarding.stop()
        except ForwarderLostError:
            _log.info("the forwarder was gone already")
        self._forwarding.close()

    async def add(self, sandbox: LiveSandbox) -> None:
        """Open the way of a new sandbox.

        Raises:
            NetworkError: the forwarder does not answer.
            EntryRefusedError: the gateway's address is taken.
        """
        async with self._turn:
            if not (sandbox.host_network and self._on_host_network()):
                try:
                    await self._forwarding.add(_name(sandbox), await sandbox.listen())
                except ForwarderLostError as error:
                    raise NetworkError(str(error)) from error
            self._sandboxes[sandbox.id] = sandbox

    async def remove(self, sandbox: LiveSandbox) -> None:
        """Close the way of a sandbox that ends; nothing happens if it has none."""
        async with self._turn:
            self._sandboxes.pop(sandbox.id, None)
            if sandbox.host_network and self._on_host_network():
                return
            try:
                await self._forwarding.remove(_name(sandbox))
            except ForwarderLostError as error:
                _log.warning("sandbox %s: %s", sandbox.id, error)

    def _on_host_network(self) -> bool:
        return any(sandbox.host_network for sandbox in self._sandboxes.values())

    async def _reconcile(self) -> None:
        known = set(await self._forwarding.open())
        wanted = {_name(sandbox): sandbox for sandbox in self._sandboxes.values()}
        for name in known - set(wanted):
            await self._forwarding.remove(name)
        for name in set(wanted) - known:
            try:
                await self._forwarding.add(name, await wanted[name].listen())
            except (SandboxGoneError, EntryRefusedError) as error:
                _log.warning("sandbox %s has no way to the gateway: %s", name, error)

    async def _keep_alive(self) -> None:
        while True:
            await self._forwarding.lost.wait()
            _log.warning("the forwarder died: starting another")
            try:
                async with self._turn:
                    await self._reconcile()
            except ForwarderLostError as error:
                _log.warning("%s", error)
                await asyncio.sleep(_RETRY_SECONDS)


def _name(sandbox: LiveSandbox) -> str:
    return _HOST_LISTENER if sandbox.host_network else sandbox.id
