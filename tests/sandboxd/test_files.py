"""Files through the SDK. They are moved inside the sandbox, whatever its links point at."""

from pathlib import Path

import pytest
from prime_sandboxes import APIError
from prime_sandboxes.exceptions import (
    SandboxFileNotFoundError,
    SandboxFileTooLargeError,
    SandboxNotRunningError,
)

from rolldock.sandboxd.files import READ_LIMIT_BYTES
from tests.sandboxd.support import Sdk


async def test_upload_and_download(sdk: Sdk, sandbox: str, tmp_path: Path) -> None:
    """Bytes go in and out unchanged; parent directories are made; an upload replaces."""
    content = bytes(range(256)) * 20000
    for data in (content + b"longer", content):
        reply = await sdk.client.upload_bytes(sandbox, "/new/deep/file", data, "file")
        assert (reply.success, reply.size) == (True, len(data))
    await sdk.client.download_file(sandbox, "/new/deep/file", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == content
    await sdk.client.upload_file(sandbox, "/app/again", str(tmp_path / "copy"))
    assert await sdk.run(sandbox, "cmp /app/again /new/deep/file && stat -c %a /app/again") == (
        "644\n"
    )


async def test_empty_file(sdk: Sdk, sandbox: str, tmp_path: Path) -> None:
    """A file without content is a file."""
    await sdk.client.upload_bytes(sandbox, "/app/empty", b"", "empty")
    await sdk.client.download_file(sandbox, "/app/empty", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b""
    assert (await sdk.client.read_file(sandbox, "/app/empty")).content == ""


@pytest.mark.parametrize(
    ("offset", "length", "content", "start", "truncated"),
    [
        (None, None, "0123456789", 0, False),
        (0, 4, "0123", 0, True),
        (4, None, "456789", 4, True),
        (-3, None, "789", 7, True),
        (-3, 2, "78", 7, True),
        (-50, 50, "0123456789", 0, False),
        (20, 5, "", 20, True),
    ],
)
async def test_windows(
    sdk: Sdk,
    sandbox: str,
    offset: int | None,
    length: int | None,
    content: str,
    start: int,
    truncated: bool,
) -> None:
    """read-file returns the window that was asked for; a negative offset is the tail."""
    await sdk.client.upload_bytes(sandbox, "/app/ten", b"0123456789", "ten")
    reply = await sdk.client.read_file(sandbox, "/app/ten", offset=offset, length=length)
    assert (reply.content, reply.offset, reply.truncated) == (content, start, truncated)
    assert (reply.size, reply.total_size) == (len(content), 10)


async def test_missing_large_and_odd_files(sdk: Sdk, sandbox: str) -> None:
    """Missing is 404, larger than the limit 413, a pipe or a directory refused without waiting."""
    with pytest.raises(SandboxFileNotFoundError):
        await sdk.client.read_file(sandbox, "/no/such/file")
    await sdk.run(sandbox, f"truncate -s {READ_LIMIT_BYTES + 1} /app/large; mkfifo /app/pipe")
    with pytest.raises(SandboxFileTooLargeError):
        await sdk.client.read_file(sandbox, "/app/large")
    tail = await sdk.client.read_file(sandbox, "/app/large", offset=-10, length=10)
    assert tail.size == 10
    for path in ("/app/pipe", "/app"):
        with pytest.raises(APIError, match="not a regular file"):
            await sdk.client.read_file(sandbox, path)
    with pytest.raises(APIError, match="HTTP 400"):
        await sdk.client.upload_bytes(sandbox, "/app", b"x", "x")


async def test_files_of_proc_are_read(sdk: Sdk, sandbox: str) -> None:
    """A file that says it has no size is read to its end, of the sandbox's own /proc."""
    reply = await sdk.client.read_file(sandbox, "/proc/1/comm")
    assert reply.content == "sleep\n"


async def test_gone_sandbox(sdk: Sdk) -> None:
    """File calls on a deleted sandbox say that it does not run."""
    made = await sdk.create()
    await sdk.client.delete(made.id)
    with pytest.raises(SandboxNotRunningError):
        await sdk.client.read_file(made.id, "/etc/hosts")
    with pytest.raises(SandboxNotRunningError):
        await sdk.client.upload_bytes(made.id, "/app/x", b"x", "x")
