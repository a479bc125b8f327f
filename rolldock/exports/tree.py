"""Files of an export by relative paths that stay inside its directory, whatever they are named.

Writes nothing; where the same names are given in the same order, the same paths come out.
"""

import hashlib
import re
from collections.abc import Container, Iterator
from pathlib import PurePosixPath
from typing import Final, TypeAlias

from rolldock.models.result import Artifact

Content: TypeAlias = bytes | Artifact
"""What a file holds; an artifact is read from the store when it is written."""

_PART_BYTES: Final = 200
_DIGEST_CHARACTERS: Final = 16
_REFUSED: Final = re.compile(r"[\x00-\x1f\x7f/\\:]")


def part(name: str) -> str:
    """A name as one part of a path: no separator, no control character, neither empty nor dots."""
    clean = _REFUSED.sub("_", name)
    clean = clean.encode(errors="replace").decode()
    if not clean.strip(". "):
        return "_" * max(1, len(clean))
    if len(clean.encode()) <= _PART_BYTES:
        return clean
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:_DIGEST_CHARACTERS]
    kept = clean.encode()[: _PART_BYTES - _DIGEST_CHARACTERS - 1].decode(errors="ignore")
    return f"{kept}~{digest}"


def inside(path: str) -> str:
    """A path of any origin as a relative one: no part of it leads up, none is absolute."""
    return "/".join(part(piece) for piece in path.split("/") if piece) or "_"


class Tree:
    """Files by path. Of two that would have one path, the second gets a number: `log~2.txt`."""

    def __init__(self) -> None:
        self._files: dict[str, Content] = {}
        self._directories: set[str] = set()

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def __iter__(self) -> Iterator[tuple[str, Content]]:
        """Paths and contents, by path."""
        return iter(sorted(self._files.items()))

    def add(self, path: str, content: Content) -> str:
        """Take a file up. Returns the path that it got."""
        *above, last = PurePosixPath(inside(path)).parts
        place = PurePosixPath()
        for piece in above:
            place = self._free(place / piece, self._files)
            self._directories.add(str(place))
        chosen = str(self._free(place / last, self._files, self._directories))
        self._files[chosen] = content
        return chosen

    def _free(self, wanted: PurePosixPath, *taken: Container[str]) -> PurePosixPath:
        """The path, or the first one with a number that is in none of these."""
        chosen, number = wanted, 1
        while any(str(chosen) in names for names in taken):
            number += 1
            chosen = wanted.with_name(f"{wanted.stem}~{number}{wanted.suffix}")
        return chosen
