"""Starting and stopping one sandbox: its root, its processes, its network, in this order.

What is recorded of it, and when it must end, is in `fleet.py`.
"""

import asyncio
import logging
from datetime import UTC, datetime

from rolldock.sandboxd.boot import BootRequest, boot, marker, mount_points
from rolldock.sandboxd.cgroups import Group, Groups, limits
from rolldock.sandboxd.checkpoints_files import check_mount_points, copy_upper
from rolldock.sandboxd.config import SandboxdConfig
from rolldock.sandboxd.entrance import Entrance
from rolldock.sandboxd.live import FirstProcess, LiveSandbox
from rolldock.sandboxd.network import HOST_NETWORK_WARNING, start_pasta
from rolldock.sandboxd.processes import kill_marked
from rolldock.sandboxd.records import Network, SandboxRecord, Status
from rolldock.sandboxd.rootfs import RootPlan, make_upper
from rolldock.sandboxd.state import StateDirectory
from rolldock.sandboxd.ways import Ways

_log = logging.getLogger(__name__)


class Launcher:
    """Starts and stops sandboxes."""

    def __init__(self, config: SandboxdConfig, state: StateDirectory, plan: RootPlan) -> None:
        self.ways = Ways(config.state_dir, config.gateway_host, config.gateway_port)
        self._plan = plan
        self._max_processes = config.max_processes
        self.groups = Groups(config.state_dir)
        self._state = state
        self._entrance = Entrance()
        self._entrance.start()

    async def close(self, *, is_last: bool) -> None:
        """End our own helpers; `is_last`: no sandbox needs the forwarder any more."""
        await self.ways.close(is_last=is_last)
        await asyncio.to_thread(self._entrance.stop)
        await asyncio.to_thread(self.groups.close)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Paths of the host of which a new sandbox sees nothing."""
        return self._plan.hidden

    @property
    def environment(self) -> dict[str, str]:
        """What every command finds, beside its sandbox's and its user's own."""
        return {"PATH": self._plan.path, "LANG": "C.UTF-8"}

    async def start(self, record: SandboxRecord) -> tuple[LiveSandbox, SandboxRecord]:
        """Make the sandbox of a pending record run; the record then says so.

        Raises:
            BootError, CopyError, NetworkError, EntryRefusedError, OSError: it did not; its
                processes are gone.
        """
        request = await asyncio.to_thread(self._prepare, record)
        process = await boot(request, self._plan)
        live = self.hold(record, process)
        try:
            record = await self._connect(live, process, record)
        except BaseException:
            await self.stop(live)
            raise
        changes = {"status": Status.RUNNING, "started_at": datetime.now(UTC)}
        return live, record.updated("running", process=process.identity, **changes)

    def _prepare(self, record: SandboxRecord) -> BootRequest:
        """Make its directories and its group. Blocks."""
        directory = self._state.directory(record.id)
        upper, work = directory / "upper", directory / "work"
        asked = record.request
        work.mkdir()
        if asked.checkpoint_id is None:
            make_upper(upper, self._plan, record.hostname)
        else:
            copy_upper(self._state.checkpoint_directory(asked.checkpoint_id) / "upper", upper)
            check_mount_points(upper, mount_points(self._plan))
        allowed = limits(asked.memory_gb, asked.cpu_cores, self._max_processes)
        group = self.groups.make(record.id, allowed)
        host_network = record.network == Network.HOST
        restored = asked.checkpoint_id is not None
        return BootRequest(record.id, record.hostname, upper, work, group, host_network, restored)

    def hold(self, record: SandboxRecord, process: FirstProcess) -> LiveSandbox:
        """A running sandbox, ready to be entered."""
        group = self.groups.find(record.id)
        return LiveSandbox(record.id, record.network, process, self._entrance, group)

    async def stop(self, live: LiveSandbox) -> None:
        """End a sandbox's processes and its way to the gateway."""
        live.kill()
        await live.ended.wait()
        await live.release()
        await self.ways.remove(live)
        await self._remove_group(live.group)

    async def clear(self, sandbox_id: str) -> None:
        """Remove whatever a start that was never finished left."""
        await asyncio.to_thread(kill_marked, marker(sandbox_id))
        await self._remove_group(self.groups.find(sandbox_id))
        await asyncio.to_thread(self._state.discard, sandbox_id)

    async def _remove_group(self, group: Group) -> None:
        try:
            await asyncio.to_thread(group.remove)
        except OSError as error:
            # The next sandboxd tries again.
            _log.warning("group %s is not removed: %s", error.filename, error.strerror)

    async def _connect(
        self, live: LiveSandbox, process: FirstProcess, record: SandboxRecord
    ) -> SandboxRecord:
        """Give a new sandbox its network."""
        await self.ways.add(live)
        if record.network == Network.HOST:
            _log.warning("sandbox %s: %s", record.id, HOST_NETWORK_WARNING)
            return record.updated(HOST_NETWORK_WARNING)
        if record.network == Network.PASTA:
            pasta = await start_pasta(process.identity.pid, self._state.directory(record.id))
            return record.updated("public network by pasta", pasta=pasta)
        return record
