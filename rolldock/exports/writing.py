"""Writing an export: the whole of it appears at once, or nothing does.

A directory is taken over only where it is empty or holds an earlier export; a file is replaced.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from rolldock.errors import UsageError
from rolldock.exports.tree import Tree
from rolldock.store.store import Store

MARK: Final = ".rolldock-export"
"""The file by which a directory is known as an export, so that the next one may replace it."""


async def write_file(out: Path, pieces: AsyncIterator[bytes]) -> bool:
    """Write one file, piece by piece, and put it in its place once it is whole.

    Returns:
        Whether there was anything to write; if not, what is in its place stays as it is.

    Raises:
        UsageError: it cannot be written there.
    """
    made = await asyncio.to_thread(_beside, out)
    n_bytes = 0
    try:
        async with await anyio.open_file(made, "wb") as file:
            async for piece in pieces:
                n_bytes += await file.write(piece)
        if not n_bytes:
            return False
        os.chmod(made, 0o644)
        os.replace(made, out)
        return True
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        await asyncio.to_thread(made.unlink, missing_ok=True)


def _beside(out: Path) -> Path:
    if out.is_dir():
        raise UsageError(f"--out {out}: it is a directory, and this makes one file: name a file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    except OSError as error:
        raise _unwritable(out, error) from error
    os.close(descriptor)
    return Path(name)


class Directory:
    """A directory that is being written."""

    def __init__(self, made: Path, store: Store) -> None:
        self._made = made
        self._store = store
        self.missing: list[str] = []
        """Paths whose contents are no longer in the store: those files are left out."""

    async def add(self, tree: Tree) -> None:
        """Write the files of a tree; one at a time is in memory.

        Raises:
            UnavailableError: the store does not answer.
        """
        for path, content in tree:
            if isinstance(content, bytes):
                found = content
            else:
                try:
                    found = await self._store.get_blob(content.digest)
                except KeyError:
                    self.missing.append(path)
                    continue
            await asyncio.to_thread(_write, self._made / path, found)


@asynccontextmanager
async def directory(out: Path, store: Store) -> AsyncGenerator[Directory, None]:
    """A directory that takes its place when the block ends, and leaves nothing if it raises.

    Raises:
        UsageError: it cannot be written there, or holds what no export wrote.
    """
    made = await asyncio.to_thread(_made_beside, out)
    try:
        yield Directory(made, store)
        await asyncio.to_thread(_put_in_place, made, out)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)


def _made_beside(out: Path) -> Path:
    _check(out)
    target = out.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _unwritable(out, error) from error


def _check(out: Path) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir():
        raise UsageError(f"--out {out}: it is a file, and this format makes a directory")
    if any(out.iterdir()) and not (out / MARK).is_file():
        raise UsageError(
            f"--out {out}: it holds files that no export wrote: name a new or an empty directory"
        )


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _put_in_place(made: Path, out: Path) -> None:
    """Exchange the directories; between the two renames there is none, and never half a one."""
    _check(out)
    (made / MARK).write_bytes(b"1\n")
    made.chmod(0o755)
    # A link to an export stays a link: what it leads to is replaced.
    target = out.resolve()
    if not target.exists():
        made.rename(target)
        return
    old = made.with_name(f"{made.name}.old")
    target.rename(old)
    try:
        made.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _unwritable(out: Path, error: OSError) -> UsageError:
    return UsageError(f"--out {out}: {error.strerror or error}: name a place that you can write")
