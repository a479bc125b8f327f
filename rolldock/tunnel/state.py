"""What a keeper leaves for its successor: the registration, frpc's configuration, its process.

Files of mode 0600 in one directory, each written whole or not at all. Decides nothing.
"""

import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from prime_tunnel import TunnelInfo
from pydantic import BaseModel, ValidationError

from rolldock.errors import UsageError
from rolldock.locks import lock
from rolldock.models.base import Record
from rolldock.sandboxd.processes import ProcessIdentity

ModelT = TypeVar("ModelT", bound=BaseModel)


class Registration(Record):
    """A tunnel with what frpc needs to serve it; the API says the secrets only once."""

    tunnel_id: str
    url: str
    server_host: str
    server_port: int
    frp_token: str
    binding_secret: str

    @classmethod
    def of(cls, info: TunnelInfo) -> Self:
        """What the API answered to a new registration."""
        return cls(
            tunnel_id=info.tunnel_id,
            url=info.url.rstrip("/"),
            server_host=info.server_host,
            server_port=info.server_port,
            frp_token=info.frp_token,
            binding_secret=info.binding_secret,
        )


class StateDir:
    """The directory of one tunnel.

    Raises:
        UsageError: from every method, when the directory cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "frpc.toml"
        self.log = root / "frpc.log"
        self._registration = root / "registration.json"
        self._process = root / "frpc.json"
        self._keeper = root / "keeper"
        self._lock = root / "lock"

    @contextmanager
    def held(self) -> Generator[None]:
        """Make the directory, and keep other keepers out of it.

        Raises:
            UsageError: another keeper has it.
        """
        with _usable(self.root):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = lock(self._lock)
        if descriptor is None:
            raise UsageError(
                f"a tunnel is kept in {self.root} already: end that `rolldock tunnel`, or set "
                "ROLLDOCK_HOME to another directory"
            )
        try:
            yield
        finally:
            os.close(descriptor)

    def keeper(self) -> str:
        """The UUID of this directory, drawn once."""
        with _usable(self.root):
            if not self._keeper.exists():
                self._write(self._keeper, str(uuid.uuid4()))
            return self._keeper.read_text().strip()

    def registration(self) -> Registration | None:
        """The registration that was kept here last; None: there is none."""
        return self._read(self._registration, Registration)

    def keep_registration(self, registration: Registration) -> None:
        """Write it before its frpc is started."""
        self._write(self._registration, registration.model_dump_json())

    def forget(self) -> None:
        """The registration is over, and its process has ended."""
        with _usable(self.root):
            for path in (self._registration, self._process, self.config):
                path.unlink(missing_ok=True)

    def process(self) -> ProcessIdentity | None:
        """The frpc that was started here last; it may have ended."""
        return self._read(self._process, ProcessIdentity)

    def keep_process(self, process: ProcessIdentity) -> None:
        """Write it as soon as it runs."""
        self._write(self._process, process.model_dump_json())

    def write_config(self, text: str) -> bool:
        """Write frpc's configuration. Returns whether it said something else before."""
        with _usable(self.root):
            changed = not self.config.exists() or self.config.read_text() != text
        if changed:
            self._write(self.config, text)
        return changed

    def _read(self, path: Path, model: type[ModelT]) -> ModelT | None:
        with _usable(self.root):
            try:
                return model.model_validate_json(path.read_bytes())
            except FileNotFoundError:
                return None
            except ValidationError:
                raise UsageError(
                    f"{path} is damaged: end what `prime tunnel list` shows of it, and remove the "
                    "file"
                ) from None

    def _write(self, path: Path, text: str) -> None:
        fresh = path.with_suffix(".new")
        with _usable(self.root):
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            fresh.replace(path)


@contextmanager
def _usable(root: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{error.filename or root}: {error.strerror}: set ROLLDOCK_HOME to a directory that "
            "you can write"
        ) from error
