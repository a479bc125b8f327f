"""Where the cache of a store's index is. Loads nothing heavy: shell completion reads it too."""

import hashlib
from pathlib import Path

_DIGEST_CHARACTERS = 16


def cache_file(directory: Path, where: str) -> Path:
    """The SQLite file for the store at a directory or URL, one for each store."""
    digest = hashlib.sha256(where.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return directory / f"index-{digest}.sqlite"
