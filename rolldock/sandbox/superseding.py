"""What an earlier run of the same rollout left: its attempts are nobody's any more.

A reset begins a new run of a rollout beside what the old one made. Where the new run starts before
the create, it draws another attempt, and the old attempt's sandbox would live beside its own.
"""

from rolldock.sandbox.client import Sandboxes, SandboxSummary
from rolldock.sandbox.labels import Ownership


async def superseded(sandboxes: Sandboxes, owner: Ownership) -> list[SandboxSummary]:
    """The living sandboxes that other runs of a rollout made for other attempts.

    Args:
        owner: of the attempt that goes on; its run must be the rollout's newest.

    Raises:
        StageError: the provider's list could not be had.
    """
    of_rollout = Ownership(deployment=owner.deployment, rollout=owner.rollout)
    return [
        found
        for found in await sandboxes.owned(of_rollout)
        if found.owner.attempt not in (None, owner.attempt) and found.owner.run != owner.run
    ]
