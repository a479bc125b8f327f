"""All checkpoints of one sandboxd: each a copy of a sandbox's files, which outlives the sandbox.

Processes and what they hold in memory are in none. A copy that a crash cut short has failed; a
removal that a crash cut short is finished at the next start. It knows no HTTP.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple

from rolldock.errors import RolldockError
from rolldock.sandboxd.admission import RequestRefusedError
from rolldock.sandboxd.checkpoints_files import CopyError, copy_upper, count_bytes
from rolldock.sandboxd.checkpoints_records import CheckpointRecord, CheckpointState
from rolldock.sandboxd.live import LiveSandbox
from rolldock.sandboxd.records import CreateRequest, SandboxRecord, hostname
from rolldock.sandboxd.state import StateDirectory

_COPIES_AT_ONCE: Final = 2
_NAMED: Final = 3
"""Hidden paths that a refusal names."""
_CUT_SHORT: Final = "sandboxd ended while it was being copied"
_SANDBOX_ENDED: Final = "its sandbox ended while it was being copied"


class UnknownCheckpointError(RolldockError):
    """Raised when there is no checkpoint with this id."""


class CheckpointConflictError(RolldockError):
    """Raised when a checkpoint's state does not allow what was asked."""


class Origin(NamedTuple):
    """What the files of a new sandbox bring along."""

    hostname: str
    hidden: tuple[str, ...]
    """Paths of the host that they hide."""


class Checkpoints:
    """Makes, finds and deletes checkpoints."""

    def __init__(
        self, state: StateDirectory, sandboxes: Callable[[], Iterable[SandboxRecord]]
    ) -> None:
        """`sandboxes`: all that are known, whose newest state must stay restorable."""
        self._sandboxes = sandboxes
        self._state = state
        self._records: dict[str, CheckpointRecord] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_COPIES_AT_ONCE)

    async def open(self) -> None:
        """Take over what an earlier sandboxd left in the state directory."""
        for record in await asyncio.to_thread(self._state.checkpoints):
            self._records[record.id] = record
            if record.state is CheckpointState.PENDING:
                await self._fail(record, _CUT_SHORT)
            elif record.state is CheckpointState.DELETING:
                await self._remove(record)

    async def close(self) -> None:
        """Finish what is being copied or removed."""
        while self._work:
            await asyncio.gather(*self._work)

    def get(self, checkpoint_id: str) -> CheckpointRecord:
        """One checkpoint.

        Raises:
            UnknownCheckpointError: there is none.
        """
        try:
            return self._records[checkpoint_id]
        except KeyError:
            raise UnknownCheckpointError(f"no checkpoint {checkpoint_id}") from None

    def of(self, sandbox_id: str) -> list[CheckpointRecord]:
        """A sandbox's checkpoints, oldest first; it may be long gone."""
        found = [one for one in self._records.values() if one.sandbox_id == sandbox_id]
        return sorted(found, key=lambda one: one.created_at)

    def origin_of(self, request: CreateRequest, hidden: tuple[str, ...]) -> Origin:
        """What the files of a new sandbox are: its checkpoint's, or the host's.

        Args:
            hidden: paths of the host that this server hides.

        Raises:
            UnknownCheckpointError: there is no such checkpoint.
            CheckpointConflictError: it is not durable.
            RequestRefusedError: it would show what this server hides.
        """
        checkpoint_id = request.checkpoint_id
        if checkpoint_id is None:
            return Origin(hostname(request.name), hidden)
        record = self.get(checkpoint_id)
        if record.state is not CheckpointState.DURABLE:
            raise CheckpointConflictError(
                f"checkpoint {checkpoint_id} is {record.state}: only a DURABLE one can be restored"
            )
        shown = sorted(set(hidden) - set(record.hidden))
        if shown:
            raise RequestRefusedError(
                f"checkpoint {checkpoint_id} was made when {', '.join(shown[:_NAMED])} of the host "
                "was not hidden from sandboxes; it is now: create from an image"
            )
        return Origin(record.hostname, record.hidden)

    async def begin(self, live: LiveSandbox, sandbox: SandboxRecord) -> CheckpointRecord:
        """Begin to copy the files of a running sandbox; the checkpoint is pending."""
        now = datetime.now(UTC)
        parent = self._records.get(self._tip(sandbox) or "")
        record = CheckpointRecord(
            id=uuid.uuid4().hex,
            sandbox_id=sandbox.id,
            parent_id=parent.id if parent else None,
            depth=parent.depth + 1 if parent else 0,
            team_id=sandbox.request.team_id,
            hostname=sandbox.hostname,
            hidden=sandbox.hidden,
            created_at=now,
            updated_at=now,
        )
        self._records[record.id] = record
        # Not the caller's to end: were it to go now, the checkpoint would be pending for ever.
        await asyncio.shield(self._start(self._begin(record, live)))
        return record

    async def delete(self, checkpoint_id: str) -> None:
        """Delete a checkpoint and its files.

        Raises:
            UnknownCheckpointError: there is none.
            CheckpointConflictError: it is being made or deleted, or in use.
        """
        record = self.get(checkpoint_id)
        if not record.can_be_deleted:
            raise CheckpointConflictError(f"checkpoint {checkpoint_id} is {record.state}")
        for sandbox in self._sandboxes():
            if sandbox.is_active and self._tip(sandbox) == checkpoint_id:
                raise CheckpointConflictError(
                    f"checkpoint {checkpoint_id} is in use: it is the newest of sandbox "
                    f"{sandbox.id}, which runs"
                )
        # In memory before the first await: nothing may be restored from it any more.
        record = self._change(record, state=CheckpointState.DELETING)
        await asyncio.shield(self._start(self._delete(record)))

    def _tip(self, sandbox: SandboxRecord) -> str | None:
        """What a sandbox's files were last seen as: its newest checkpoint, or what it began as."""
        own = [one for one in self.of(sandbox.id) if one.state is not CheckpointState.FAILED]
        return own[-1].id if own else sandbox.request.checkpoint_id

    async def _begin(self, record: CheckpointRecord, live: LiveSandbox) -> None:
        try:
            await asyncio.to_thread(self._state.save_checkpoint, record)
        except OSError:
            # No copy will be made of what could not be written down.
            del self._records[record.id]
            raise
        self._start(self._copy(record, live))

    async def _copy(self, record: CheckpointRecord, live: LiveSandbox) -> None:
        source = self._state.directory(record.sandbox_id) / "upper"
        target = self._state.checkpoint_directory(record.id) / "upper"
        try:
            async with self._slots:
                await asyncio.to_thread(copy_upper, source, target)
                n_bytes = await asyncio.to_thread(count_bytes, target)
        except (CopyError, OSError) as error:
            await self._fail(record, _SANDBOX_ENDED if live.ending.done() else str(error))
            return
        if live.ending.done():
            # Files that its removal took away look like files that vanished by themselves.
            await self._fail(record, _SANDBOX_ENDED)
            return
        record = self._change(record, state=CheckpointState.DURABLE, n_bytes=n_bytes)
        await asyncio.to_thread(self._state.save_checkpoint, record)

    async def _fail(self, record: CheckpointRecord, error: str) -> None:
        record = self._change(record, state=CheckpointState.FAILED, error=error)
        # In this order: a copy that has filled the disk leaves no room for its record.
        await asyncio.to_thread(self._state.empty_checkpoint, record.id)
        await asyncio.to_thread(self._state.save_checkpoint, record)

    async def _delete(self, record: CheckpointRecord) -> None:
        with suppress(OSError):
            # Only for the case of a crash; on a full disk the removal itself makes room.
            await asyncio.to_thread(self._state.save_checkpoint, record)
        await self._remove(record)

    async def _remove(self, record: CheckpointRecord) -> None:
        await asyncio.to_thread(self._state.discard_checkpoint, record.id)
        del self._records[record.id]

    def _change(self, record: CheckpointRecord, **changes: object) -> CheckpointRecord:
        update = {**changes, "updated_at": datetime.now(UTC)}
        changed = self._records[record.id] = record.model_copy(update=update)
        return changed

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task
