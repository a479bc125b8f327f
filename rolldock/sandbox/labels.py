"""The labels by which a sandbox proves whose it is, written at create and read back later."""

from collections.abc import Iterable

from rolldock.models import names
from rolldock.models.base import Contract


class Ownership(Contract):
    """Whose a sandbox is; an absent part is None."""

    deployment: str | None = None
    rollout: str | None = None
    run: str | None = None
    attempt: str | None = None


_PREFIXES = {
    "deployment": names.LABEL_DEPLOYMENT,
    "rollout": names.LABEL_ROLLOUT,
    "run": names.LABEL_RUN,
    "attempt": names.LABEL_ATTEMPT,
}


def write_labels(owner: Ownership) -> list[str]:
    """The labels of a sandbox of this owner."""
    values: dict[str, str | None] = owner.model_dump()
    return [prefix + value for part, prefix in _PREFIXES.items() if (value := values[part])]


def read_labels(labels: Iterable[str]) -> Ownership:
    """The owner that a sandbox's labels name; others' labels are ignored."""
    found: dict[str, str] = {}
    for label in labels:
        for part, prefix in _PREFIXES.items():
            if label.startswith(prefix):
                found[part] = label.removeprefix(prefix)
    return Ownership(**found)
