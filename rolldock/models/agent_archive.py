"""An installed agent in the store: a compressed tar in parts, for sandboxes that mount no cache."""

from pydantic import Field

from .base import Contract, Record, UtcTime
from .spec import Sha256


def machine_name(system: str, processor: str) -> str:
    """A kind of machine as archives are named after it, from the two words of `uname -sm`."""
    return f"{system}-{processor}".lower()


class AgentBuild(Contract):
    """What an install is of: the same name in the store means the same programs."""

    name: str
    version: str
    machine: str
    """What it was built for: `linux-x86_64`."""
    recipe: str
    """A digest of how it was installed: a release may mend the install of a version."""


class ArchivePart(Record):
    """A piece of an archive, a blob of its own: small enough to be held in memory."""

    digest: Sha256
    n_bytes: int = Field(ge=1)


class AgentArchive(Record):
    """One version of an agent, as it was installed on one kind of machine."""

    build: AgentBuild
    digest: Sha256
    """Of all parts together, a gzip of a tar: the same install gives the same."""
    n_bytes: int = Field(ge=1)
    """Of all parts together."""
    parts: tuple[ArchivePart, ...] = Field(min_length=1)
    """In their order."""
    pushed_at: UtcTime
