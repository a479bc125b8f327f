"""All sandboxes of one sandboxd: how each begins, is found again, and ends.

Every live sandbox has one task that waits for the first reason to end it and then takes it down,
so a delete, a lifetime and a death never race. It knows no HTTP.
"""

import asyncio
import logging
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from rolldock.errors import RolldockError
from rolldock.sandboxd.admission import check_request
from rolldock.sandboxd.checkpoints import Checkpoints
from rolldock.sandboxd.checkpoints_records import CheckpointRecord
from rolldock.sandboxd.config import SandboxdConfig
from rolldock.sandboxd.entrance import EntryRefusedError
from rolldock.sandboxd.launch import Launcher
from rolldock.sandboxd.live import OUT_OF_MEMORY, FirstProcess, LiveSandbox, SandboxGoneError
from rolldock.sandboxd.network import network_for, stop_pasta
from rolldock.sandboxd.records import CreateRequest, Ending, SandboxRecord, Status
from rolldock.sandboxd.rootfs import plan_root
from rolldock.sandboxd.state import GONE_SECONDS, StateDirectory

_log = logging.getLogger(__name__)

_BOOTS_AT_ONCE: Final = 8

DELETED: Final = Ending(Status.TERMINATED, None, "deleted")
_EXPIRED: Final = Ending(Status.TIMEOUT, "TIMEOUT", "it reached the lifetime it was created with")
_DIED_UNSEEN: Final = Ending(
    Status.ERROR, "SANDBOX_DIED", "its processes ended while sandboxd was not running"
)


class UnknownSandboxError(RolldockError):
    """Raised when no sandbox has, or lately had, this id."""


class KeyConflictError(RolldockError):
    """Raised when an idempotency key comes again with another request."""


class CreateError(RolldockError):
    """Raised when a sandbox could not be made; nothing of it is left."""


class Fleet:
    """Creates, finds and ends sandboxes."""

    def __init__(self, config: SandboxdConfig) -> None:
        self._state = StateDirectory(config.state_dir)
        self.checkpoints = Checkpoints(self._state, self.records)
        self._config = config
        self._launcher: Launcher | None = None
        self._records: dict[str, SandboxRecord] = {}
        self._keys: dict[str, str] = {}
        self._live: dict[str, LiveSandbox] = {}
        self._boots: dict[str, asyncio.Task[None]] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._boot_slots = asyncio.Semaphore(_BOOTS_AT_ONCE)

    async def open(self) -> None:
        """Take the state directory and every sandbox that is still alive in it.

        Raises:
            UsageError: the directory cannot be used.
        """
        self._state.open()
        plan = await asyncio.to_thread(plan_root, self._config)
        self._launcher = Launcher(self._config, self._state, plan)
        await asyncio.to_thread(self._launcher.groups.open)
        await asyncio.to_thread(self._state.empty_trash)
        await self.checkpoints.open()
        for sandbox_id in await asyncio.to_thread(self._state.unrecorded):
            await self._launcher.clear(sandbox_id)
        for record in await asyncio.to_thread(self._state.gone):
            self._remember(record)
        for record in await asyncio.to_thread(self._state.live):
            await self._adopt(record)
        await asyncio.to_thread(self._launcher.groups.sweep, list(self._live))
        await self._launcher.ways.open(self._live.values())

    async def close(self) -> None:
        """Leave the sandboxes alive; what is being created or ended is finished first."""
        await asyncio.gather(*self._boots.values(), return_exceptions=True)
        await self.checkpoints.close()
        for live in self._live.values():
            if not live.ending.done():
                self._watches[live.id].cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)
        for live in self._live.values():
            live.forget()
        if self._launcher is not None:
            await self._launcher.close(is_last=not self._live)
        self._state.close()

    @property
    def _started(self) -> Launcher:
        if self._launcher is None:
            raise RuntimeError("the fleet is not open")
        return self._launcher

    @property
    def not_enforced(self) -> tuple[str, ...]:
        """One line for each limit that sandboxes have in name only on this machine."""
        return self._started.groups.not_enforced

    @property
    def n_live(self) -> int:
        """How many sandboxes exist."""
        return len(self._live)

    def record(self, sandbox_id: str) -> SandboxRecord:
        """What is known of a sandbox, also for a while after its end.

        Raises:
            UnknownSandboxError: nothing is.
        """
        try:
            return self._records[sandbox_id]
        except KeyError:
            raise UnknownSandboxError(f"no sandbox {sandbox_id}") from None

    def records(self) -> Iterable[SandboxRecord]:
        """Everything known, newest first."""
        return sorted(self._records.values(), key=lambda it: it.created_at, reverse=True)

    def environment(self, sandbox_id: str) -> dict[str, str]:
        """What every command of a sandbox finds in its environment, beside its user's own."""
        request = self.record(sandbox_id).request
        return {**self._started.environment, **request.environment_vars, **request.secrets}

    def live(self, sandbox_id: str) -> LiveSandbox:
        """A running sandbox.

        Raises:
            SandboxGoneError: it does not run.
        """
        live = self._live.get(sandbox_id)
        if live is None or live.ending.done():
            raise SandboxGoneError(sandbox_id)
        return live

    async def create(self, request: CreateRequest) -> SandboxRecord:
        """A running sandbox for the request: a new one, or the one its idempotency key has.

        A caller that goes away does not stop the boot: the key leads to it.

        Raises:
            RequestRefusedError: it asks for what this server does not have.
            UnknownCheckpointError, CheckpointConflictError: its checkpoint cannot be restored.
            KeyConflictError, CreateError: the key is another request's; the boot failed.
        """
        check_request(request)
        key = request.idempotency_key
        sandbox_id = self._keys.get(key) if key is not None else None
        if sandbox_id is None:
            sandbox_id = self._begin_boot(request)
        elif self._records[sandbox_id].request != request:
            raise KeyConflictError(
                f"idempotency key {key!r} was used for another request: use a new key"
            )
        if (boot_task := self._boots.get(sandbox_id)) is not None:
            await asyncio.shield(boot_task)
        return self._records[sandbox_id]

    async def delete(self, sandbox_id: str) -> SandboxRecord:
        """End a sandbox and wait until nothing of it is left; one that has ended stays as it is.

        Raises:
            UnknownSandboxError: there was none.
        """
        self.record(sandbox_id)
        if (boot_task := self._boots.get(sandbox_id)) is not None:
            await asyncio.wait({boot_task})
        if (live := self._live.get(sandbox_id)) is not None:
            live.end(DELETED)
            await asyncio.shield(self._watches[sandbox_id])
        return self.record(sandbox_id)

    async def checkpoint(self, sandbox_id: str) -> CheckpointRecord:
        """Begin a checkpoint of a sandbox; raises as `record` and `live` do."""
        record = self.record(sandbox_id)
        return await self.checkpoints.begin(self.live(sandbox_id), record)

    def _remember(self, record: SandboxRecord) -> None:
        self._records[record.id] = record
        if record.request.idempotency_key is not None:
            self._keys[record.request.idempotency_key] = record.id

    def _forget(self, record: SandboxRecord) -> None:
        self._records.pop(record.id, None)
        if record.request.idempotency_key is not None:
            self._keys.pop(record.request.idempotency_key, None)

    async def _save(self, record: SandboxRecord) -> None:
        self._remember(record)
        await asyncio.to_thread(self._state.save, record)

    def _begin_boot(self, request: CreateRequest) -> str:
        now = datetime.now(UTC)
        origin = self.checkpoints.origin_of(request, self._started.hidden)
        record = SandboxRecord(
            id=uuid.uuid4().hex,
            request=request,
            hostname=origin.hostname,
            hidden=origin.hidden,
            network=network_for(request),
            status=Status.PENDING,
            created_at=now,
            updated_at=now,
        )
        # Before the first await: a duplicate that comes now must find it.
        self._remember(record)
        task = asyncio.create_task(self._boot(record))
        self._boots[record.id] = task
        task.add_done_callback(lambda _: self._boots.pop(record.id))
        return record.id

    async def _boot(self, record: SandboxRecord) -> None:
        async with self._boot_slots:
            try:
                await self._save(record)
                live, record = await self._started.start(record)
            except (RolldockError, EntryRefusedError, OSError) as error:
                self._forget(record)
                await self._started.clear(record.id)
                raise CreateError(f"the sandbox did not start: {error}") from error
            self._watch(live)
            await self._save(record)

    async def _adopt(self, record: SandboxRecord) -> None:
        """Take over a sandbox of an earlier sandboxd with this state directory."""
        if record.status == Status.PENDING:
            # Nobody was told that it exists; a retry of its create makes another.
            await self._started.clear(record.id)
            return
        self._remember(record)
        pidfd = record.process.open() if record.process is not None else None
        if pidfd is None or record.process is None:
            killed = self._started.groups.find(record.id).ran_out_of_memory()
            ending = OUT_OF_MEMORY if killed else _DIED_UNSEEN if record.is_active else DELETED
            await self._settle(record, ending)
            return
        process = FirstProcess(record.process, pidfd, launcher=None)
        live = self._started.hold(record, process)
        if not record.is_active:
            live.end(DELETED)
        self._watch(live)

    def _watch(self, live: LiveSandbox) -> None:
        self._live[live.id] = live
        task = asyncio.create_task(self._see_to_the_end(live))
        self._watches[live.id] = task
        task.add_done_callback(lambda _: self._watches.pop(live.id))

    async def _see_to_the_end(self, live: LiveSandbox) -> None:
        try:
            async with asyncio.timeout(self._records[live.id].expires_in_seconds):
                await asyncio.shield(live.ending)
        except TimeoutError:
            live.end(_EXPIRED)
        ending = live.ending.result()
        record = self._records[live.id].ended(ending)
        try:
            # On disk before the kill, so that a crash here still ends it.
            await self._save(record)
        except OSError as error:
            # Such as a disk that is full of what it wrote.
            _log.warning("sandbox %s is ended without a record of that: %s", live.id, error)
        await self._started.stop(live)
        del self._live[live.id]
        await self._settle(record, ending)

    async def _settle(self, record: SandboxRecord, ending: Ending) -> None:
        """Remove the files of a sandbox without processes, and keep what became of it."""
        record = record.ended(ending)
        self._remember(record)
        if record.pasta is not None:
            await asyncio.to_thread(stop_pasta, record.pasta)
        await asyncio.to_thread(self._state.remove, record)
        oldest = datetime.now(UTC) - timedelta(seconds=GONE_SECONDS)
        for old in [it for it in self._records.values() if it.terminated_at]:
            if old.terminated_at is not None and old.terminated_at < oldest:
                self._forget(old)
