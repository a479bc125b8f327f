"""What every activity of a worker shares; made once, by `worker.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from activities.tasks import Tasks
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.watch import JobWatch
from rolldock.settings import Settings
from rolldock.store.store import Store


@dataclass(frozen=True, slots=True)
class Tools:
    """The clients and settings of one worker."""

    sandboxes: Sandboxes
    watch: JobWatch
    store: Store
    tasks: Tasks
    settings: Settings
    deployment: str
    """The UUID of the Temporal namespace: whose sandboxes are ours."""
    secret: bytes = field(repr=False)
    """Signs session tokens."""
    environment: Mapping[str, str] = field(repr=False)
    """The worker's variables that a task may name."""
