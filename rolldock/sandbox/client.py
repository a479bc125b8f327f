"""What Rolldock needs of a sandbox, over the Prime SDK's client.

Nothing here retries, and nothing here knows why a sandbox is wanted: failures come out as stage
errors (`faults.py`), and whether to try again is the caller's policy.
"""

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from prime_sandboxes import (
    APIError,
    AsyncSandboxClient,
    CommandResponse,
    CreateSandboxRequest,
    Sandbox,
)

from rolldock.errors import StageError
from rolldock.models.base import Contract
from rolldock.models.failure import Cause
from rolldock.sandbox.faults import is_absent_file, sandbox_faults, status_of
from rolldock.sandbox.labels import Ownership, read_labels, write_labels

_PAGE_SIZE: Final = 100
_NOT_FOUND: Final = 404
_RUNNING: Final = "RUNNING"
_ENDED: Final = frozenset({"TERMINATED", "ERROR", "TIMEOUT"})
"""Statuses of a sandbox that no longer runs: it is a record, not a machine."""

_CREATION_POLLS: Final = 180
"""The SDK's unit of patience: 355 s until it runs, as much again until it answers."""


class SandboxSummary(Contract):
    """A sandbox of the provider's list."""

    id: str
    name: str
    status: str
    owner: Ownership
    created_at: datetime


class SandboxRequest(Contract):
    """What a new sandbox is to be."""

    attempt: str
    owner: Ownership
    image: str
    cpu_cores: float
    memory_gb: float
    disk_gb: float
    lifetime_minutes: int
    allowed_hosts: tuple[str, ...] | None
    """Where it may connect to; empty: nowhere; None: anywhere."""
    checkpoint_id: str | None = None
    """What its files are to be, in place of an image's and on a disk of that size; None: new."""
    tunnel_url: str | None = None
    """Through which it reaches the gateway: that host is allowed beside the others. None: by no
    tunnel, or it may connect anywhere."""
    env: dict[str, str]


class Sandboxes:
    """The provider's sandboxes.

    Raises:
        StageError: from every method, when the provider or the sandbox fails.
    """

    def __init__(self, client: AsyncSandboxClient) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def open(cls, base_url: str | None, api_key: str | None) -> AsyncGenerator[Self, None]:
        """A client of the API at `base_url`; None: Prime's own, or what PRIME_* say."""
        async with AsyncSandboxClient(api_key=api_key) as client:
            if base_url is not None:
                client.client.base_url = base_url.rstrip("/").removesuffix("/api/v1")
            yield cls(client)

    @property
    def sdk(self) -> AsyncSandboxClient:
        """The SDK's client, for what has a file of its own: jobs."""
        return self._client

    async def create(self, request: SandboxRequest) -> tuple[str, bool]:
        """Create the attempt's sandbox, or find the one that this key already made.

        Returns:
            Its id, and whether the provider says that it runs.

        Raises:
            StageError: among others `replay_unavailable`, the checkpoint is not there (any more).
        """
        is_new = request.checkpoint_id is None
        gone = None if is_new else Cause.REPLAY_UNAVAILABLE
        async with sandbox_faults(Cause.SANDBOX_UNAVAILABLE, not_found=gone):
            sandbox = await self._client.create(
                CreateSandboxRequest(
                    name=request.attempt,
                    docker_image=request.image if is_new else None,
                    checkpoint_id=request.checkpoint_id,
                    cpu_cores=request.cpu_cores,
                    memory_gb=request.memory_gb,
                    disk_size_gb=request.disk_gb if is_new else None,
                    timeout_minutes=request.lifetime_minutes,
                    environment_vars=request.env or None,
                    labels=write_labels(request.owner),
                    network_allowlist=_allowlist(request),
                    idempotency_key=request.attempt,
                )
            )
        return sandbox.id, sandbox.status == _RUNNING

    async def wait_until_running(self, sandbox_id: str, *, said_to_run: bool) -> None:
        """Return once the sandbox runs commands.

        Where it is said to run one command shows it; a status can lead the way in by a moment.
        """
        if said_to_run and await self._runs_commands(sandbox_id):
            return
        async with sandbox_faults(Cause.SANDBOX_UNAVAILABLE):
            await self._client.wait_for_creation(sandbox_id, max_attempts=_CREATION_POLLS)

    async def owned(self, owner: Ownership) -> list[SandboxSummary]:
        """The living sandboxes that carry all of an owner's labels, over all pages.

        The provider's filter is not trusted: each sandbox's own labels are read again.
        """
        wanted = set(write_labels(owner))
        return [
            _summary(sandbox)
            async for sandbox in self._listed(sorted(wanted))
            if wanted <= set(sandbox.labels)
        ]

    async def alive(self) -> list[SandboxSummary]:
        """Every living sandbox that our key can see, whosever it is."""
        return [_summary(sandbox) async for sandbox in self._listed(None)]

    async def count(self, owner: Ownership) -> int:
        """How many living sandboxes carry an owner's labels, by the provider's own count."""
        async with sandbox_faults(Cause.SANDBOX_UNAVAILABLE):
            page = await self._client.list(
                labels=write_labels(owner), per_page=1, exclude_terminated=True
            )
        return page.total

    async def delete(self, sandbox_id: str) -> None:
        """Ask for a sandbox's deletion; one that is not there is success."""
        async with sandbox_faults(Cause.SANDBOX_UNAVAILABLE):
            try:
                await self._client.delete(sandbox_id)
            except APIError as error:
                if status_of(error) != _NOT_FOUND:
                    raise

    async def status(self, sandbox_id: str) -> str | None:
        """The sandbox's status while it lives; None: it has ended or is not there."""
        async with sandbox_faults(Cause.SANDBOX_UNAVAILABLE):
            try:
                sandbox = await self._client.get(sandbox_id)
            except APIError as error:
                if status_of(error) != _NOT_FOUND:
                    raise
                return None
        return None if sandbox.status in _ENDED else sandbox.status

    async def run(
        self,
        sandbox_id: str,
        command: str,
        *,
        timeout_seconds: int,
        otherwise: Cause,
        env: dict[str, str] | None = None,
        cwd: str | None = "/",
        user: str | None = None,
    ) -> CommandResponse:
        """Run a bash command to its end; its exit code is the caller's to judge.

        Args:
            otherwise: the cause of a failure that the SDK gives no name to.
            cwd: None: the sandbox's own work directory. A command is refused where it is gone, and
                an agent may have removed it.
        """
        async with sandbox_faults(otherwise):
            return await self._client.execute_command(
                sandbox_id, command, working_dir=cwd, env=env, timeout=timeout_seconds, user=user
            )

    async def upload(self, sandbox_id: str, path: str, content: bytes, otherwise: Cause) -> None:
        """Write a file into the sandbox."""
        async with sandbox_faults(otherwise):
            await self._client.upload_bytes(sandbox_id, path, content, Path(path).name)

    async def download(self, sandbox_id: str, path: str, otherwise: Cause) -> bytes | None:
        """A file of the sandbox; None: it is not there."""
        async with sandbox_faults(otherwise):
            with tempfile.TemporaryDirectory(prefix="rolldock-") as directory:
                local = Path(directory) / "file"
                try:
                    await self._client.download_file(sandbox_id, path, str(local))
                except APIError as error:
                    if not is_absent_file(error):
                        raise
                    return None
                return local.read_bytes()

    async def _runs_commands(self, sandbox_id: str) -> bool:
        try:
            await self.run(
                sandbox_id, "true", timeout_seconds=10, otherwise=Cause.SANDBOX_UNAVAILABLE
            )
        except StageError:
            return False
        return True

    async def _listed(self, labels: list[str] | None) -> AsyncIterator[Sandbox]:
        page = 1
        while True:
            async with sandbox_faults(Cause.SANDBOX_UNAVAILABLE):
                found = await self._client.list(
                    labels=labels, page=page, per_page=_PAGE_SIZE, exclude_terminated=True
                )
            for sandbox in found.sandboxes:
                if sandbox.status not in _ENDED:
                    yield sandbox
            if not found.has_next:
                return
            page += 1


def _summary(sandbox: Sandbox) -> SandboxSummary:
    return SandboxSummary(
        id=sandbox.id,
        name=sandbox.name,
        status=sandbox.status,
        owner=read_labels(sandbox.labels),
        created_at=sandbox.created_at,
    )


def _allowlist(request: SandboxRequest) -> list[str] | None:
    """Hosts alone: Prime reads the names of hosts where URLs have their default ports."""
    if request.allowed_hosts is None:
        return None
    tunnel = None if request.tunnel_url is None else urlsplit(request.tunnel_url).hostname
    return [*request.allowed_hosts, *([tunnel] if tunnel else [])]
