"""Peers in environments of their own, each of exactly the packages that its requirements name.

What is in such an environment is run by other files.
"""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Final

from rolldock.errors import UnavailableError

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".cache" / "peers"


def environment(peer: str) -> Path:
    """Where a peer is installed."""
    return CACHE / peer


async def install(peer: str) -> Path:
    """Make a peer's environment, unless one of exactly its requirements is there. Returns it.

    Raises:
        UnavailableError: uv is missing, or the packages cannot be had.
    """
    place = environment(peer)
    requirements = Path(__file__).parent / peer / "requirements.txt"
    stamp = place / ".installed"
    wanted = requirements.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return place
    shutil.rmtree(place, ignore_errors=True)
    await _uv(place, "venv", "--quiet", "--python", sys.executable, str(place))
    python = ("--python", str(place / "bin" / "python"))
    await _uv(place, "pip", "sync", "--quiet", "--compile-bytecode", *python, str(requirements))
    stamp.write_text(wanted)
    return place


def uv() -> Path:
    """The uv that `make` uses too; the peer calls it for its agents' environments.

    Raises:
        UnavailableError: there is none.
    """
    own = ROOT / ".cache" / "uv" / "bin" / "uv"
    found = shutil.which("uv")
    if found is None and not own.exists():
        raise UnavailableError("uv is missing: install it, or run `make sync` on a machine without")
    return Path(found or own)


async def _uv(place: Path, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(uv(), *arguments)
    if await process.wait():
        raise UnavailableError(f"uv {arguments[0]} failed for {place}: see its own words above")
