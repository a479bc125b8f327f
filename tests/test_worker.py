"""What a worker takes on."""

from rolldock.settings import Settings
from worker import LEAST_SLOTS, slots


def test_one_worker_can_hold_every_sandbox_that_may_live() -> None:
    """Each of them may be sealed and deleted at the same time; few sandboxes cost no slot."""
    assert slots(Settings(max_live_sandboxes=256)) == LEAST_SLOTS
    assert slots(Settings(max_live_sandboxes=5000)) == 10000
