"""The state directory: one server at a time, one record and one root per sandbox.

    lock                        held by the running sandboxd
    forwarder.sock              control socket of the forwarder
    sandboxes/{id}/record.json  mode 0600: it holds the sandbox's environment
    sandboxes/{id}/upper, work  the overlay; work directories belong to the kernel
    checkpoints/{id}/           as `checkpoints_files.py` draws it
    gone/{id}.json              what became of sandboxes, for a while
    trash/                      roots that are being removed

It starts and kills nothing.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from rolldock.errors import UsageError
from rolldock.locks import lock
from rolldock.models.base import Record
from rolldock.sandboxd.checkpoints_records import CheckpointRecord
from rolldock.sandboxd.records import SandboxRecord

R = TypeVar("R", bound=Record)

GONE_SECONDS: Final = 24 * 3600.0
"""How long the record of an ended sandbox is kept: callers ask what became of it."""


class StateDirectory:
    """Reads and writes the files of one sandboxd. Its methods block."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: int | None = None

    def open(self) -> None:
        """Make the directory and lock it.

        Raises:
            UsageError: another sandboxd has it, or it cannot be made.
        """
        try:
            for part in ("sandboxes", "checkpoints", "gone", "trash"):
                (self.root / part).mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
            self._lock = lock(self.root / "lock")
        except OSError as error:
            raise UsageError(
                f"state directory {self.root}: {error.strerror}: choose another"
            ) from error
        if self._lock is None:
            raise UsageError(
                f"state directory {self.root}: another sandboxd uses it: "
                "stop that one, or choose another directory"
            )

    def close(self) -> None:
        """Let another sandboxd have the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def directory(self, sandbox_id: str) -> Path:
        """Where a live sandbox's files are."""
        return self.root / "sandboxes" / sandbox_id

    def save(self, record: SandboxRecord) -> None:
        """Write the record of a live sandbox, atomically."""
        directory = self.directory(record.id)
        directory.mkdir(mode=0o700, exist_ok=True)
        _write(directory / "record.json", record)

    def live(self) -> list[SandboxRecord]:
        """Every record of a sandbox that has not been removed yet."""
        paths = (self.root / "sandboxes").iterdir()
        found = [_read(path / "record.json", SandboxRecord) for path in paths]
        return [record for record in found if record is not None]

    def unrecorded(self) -> list[str]:
        """Ids of directories without a readable record."""
        paths = (self.root / "sandboxes").iterdir()
        return [path.name for path in paths if _read(path / "record.json", SandboxRecord) is None]

    def gone(self) -> list[SandboxRecord]:
        """Records of ended sandboxes; those too old are removed."""
        records: list[SandboxRecord] = []
        for path in (self.root / "gone").glob("*.json"):
            if path.stat().st_mtime < time.time() - GONE_SECONDS:
                path.unlink()
            elif (record := _read(path, SandboxRecord)) is not None:
                records.append(record)
        return records

    def remove(self, record: SandboxRecord) -> None:
        """Keep the record, remove the root. Its processes must be gone."""
        path = self.root / "gone" / f"{record.id}.json"
        try:
            _write(path, record)
        except OSError:
            # The disk may be full of the very files that are to go.
            self.discard(record.id)
            _write(path, record)
        else:
            self.discard(record.id)

    def discard(self, sandbox_id: str) -> None:
        """Remove a root and its record."""
        self._remove(self.directory(sandbox_id), sandbox_id)

    def checkpoint_directory(self, checkpoint_id: str) -> Path:
        """Where a checkpoint's files are."""
        return self.root / "checkpoints" / checkpoint_id

    def save_checkpoint(self, record: CheckpointRecord) -> None:
        """Write the record of a checkpoint, atomically."""
        directory = self.checkpoint_directory(record.id)
        directory.mkdir(mode=0o700, exist_ok=True)
        _write(directory / "record.json", record)

    def checkpoints(self) -> list[CheckpointRecord]:
        """Every checkpoint's record; what has none that can be read is removed."""
        found: list[CheckpointRecord] = []
        for path in (self.root / "checkpoints").iterdir():
            record = _read(path / "record.json", CheckpointRecord)
            if record is None:
                self.discard_checkpoint(path.name)
            else:
                found.append(record)
        return found

    def empty_checkpoint(self, checkpoint_id: str) -> None:
        """Remove a checkpoint's files, and leave its record."""
        self._remove(self.checkpoint_directory(checkpoint_id) / "upper", checkpoint_id)

    def discard_checkpoint(self, checkpoint_id: str) -> None:
        """Remove a checkpoint's files and its record."""
        self._remove(self.checkpoint_directory(checkpoint_id), checkpoint_id)

    def empty_trash(self) -> None:
        """Finish removals that a crash cut short."""
        for path in (self.root / "trash").iterdir():
            _remove_tree(path)

    def _remove(self, directory: Path, name: str) -> None:
        trash = self.root / "trash" / name
        if directory.exists():
            directory.rename(trash)
        _remove_tree(trash)


def _write(path: Path, record: Record) -> None:
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        file.write(record.model_dump_json())
    temporary.rename(path)


def _read(path: Path, kind: type[R]) -> R | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def _remove_tree(path: Path) -> None:
    # rm does not recurse in its own stack: a sandbox can nest directories deeper than Python can.
    remove = shutil.which("rm") or "/bin/rm"
    subprocess.run([remove, "-rf", "--", str(path)], check=False, stdin=subprocess.DEVNULL)
