"""The files of one stack's home: every path, the lock, and what only its owner may read."""

import os
import secrets
from pathlib import Path
from typing import Final

from rolldock.errors import UsageError
from rolldock.locks import lock
from rolldock.settings import STACK_FILE

_SECRET_BYTES: Final = 32


class Home:
    """The directory that a stack keeps its state in."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.stack_file = self.root / STACK_FILE
        self.secret_file = self.root / "secret"
        self.api_key_file = self.root / "prime-api-key"
        self.ports_file = self.root / "ports.json"
        self.temporal_database = self.root / "temporal.db"
        self.sandboxes = self.root / "sandboxd"
        self.store = self.root / "store"
        self.logs = self.root / "logs"
        self._lock_file = self.root / "lock"

    def make(self) -> None:
        """Make the directory, for its owner alone.

        Raises:
            UsageError: it cannot be made or written.
        """
        try:
            # One by one: `parents=True` would make those above it for everybody to read.
            for directory in (*reversed(self.root.parents), self.root, self.logs):
                directory.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise UsageError(
                f"{self.root}: {error.strerror}: set ROLLDOCK_HOME to a directory that you can "
                "write"
            ) from error

    def lock(self) -> int:
        """Take the home for this process. Returns the descriptor that holds it.

        Raises:
            UsageError: another stack runs here.
        """
        descriptor = lock(self._lock_file)
        if descriptor is None:
            owner = self._lock_file.read_text().strip() or "unknown"
            raise UsageError(
                f"a stack runs in {self.root} already (process {owner}): end it with Ctrl-C "
                "there, or set ROLLDOCK_HOME to another directory"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor

    def write_stack_file(self, variables: dict[str, str]) -> None:
        """Tell commands typed beside the stack where it is: whole or not at all, mode 0600."""
        lines = "".join(f"{name}={_quoted(value)}\n" for name, value in variables.items())
        fresh = self.stack_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        _write_private(fresh, lines.encode())
        fresh.replace(self.stack_file)


def keep_secret(path: Path) -> tuple[str, bool]:
    """The random text of a file of mode 0600, drawn when it is not there; whether it was drawn.

    Raises:
        UsageError: the file cannot be read or made.
    """
    try:
        if path.exists():
            return path.read_text().strip(), False
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        drawn = secrets.token_urlsafe(_SECRET_BYTES)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        _write_private(fresh, drawn.encode() + b"\n")
        try:
            # A link never replaces: of two commands that draw at once, one wins for both.
            os.link(fresh, path)
        except FileExistsError:
            return path.read_text().strip(), False
        finally:
            fresh.unlink()
        return drawn, True
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: the secret cannot be kept there") from error


def local_store(store: str) -> tuple[Path, ...]:
    """The store's directory, to be hidden from sandboxes; none where it is a URL."""
    return () if "://" in store else (Path(store).absolute(),)


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
