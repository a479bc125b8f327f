"""Which sandboxes nobody will delete any more, and deleting them.

A sandbox is deleted only if it carries this deployment's label, is older than the grace period, and
its rollout certainly has no open run. What cannot be told is left alone: an error in looking up a
rollout is never read as its end. It knows no Temporal: `look_up` says what has become of a run.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from rolldock.errors import RolldockError
from rolldock.models.reaping import SweptSandbox, Verdict
from rolldock.sandbox.client import Sandboxes, SandboxSummary
from rolldock.sandbox.deletion import delete_listed
from rolldock.sandbox.labels import Ownership
from rolldock.store.store import Store

_AT_ONCE: Final = 16
_DELETE_SECONDS: Final = 60.0
"""For one sandbox to be gone; the next sweep looks again."""


class RunState(NamedTuple):
    """What has become of a rollout's run."""

    is_open: bool
    why: str
    """In words, for the report."""


LookUp = Callable[[str, str | None], Awaitable[RunState]]
"""The state of a rollout and a run of it; raises RolldockError where that cannot be told."""


async def judge(
    sandboxes: Sandboxes, deployment: str, look_up: LookUp, grace_seconds: float
) -> list[SweptSandbox]:
    """Every living sandbox of a deployment with its verdict; deletes nothing.

    Raises:
        StageError: the provider's list could not be had; nothing is known then.
    """
    owned = await sandboxes.owned(Ownership(deployment=deployment))
    now, slots = datetime.now(UTC), asyncio.Semaphore(_AT_ONCE)

    async def one(sandbox: SandboxSummary) -> SweptSandbox:
        age = (now - sandbox.created_at).total_seconds()
        async with slots:
            verdict, why = await _verdict(sandbox.owner, age, look_up, grace_seconds)
        owner = sandbox.owner
        return SweptSandbox(
            sandbox_id=sandbox.id,
            rollout=owner.rollout,
            run=owner.run,
            attempt=owner.attempt,
            age_seconds=round(age, 1),
            verdict=verdict,
            why=why,
        )

    return list(await asyncio.gather(*(one(sandbox) for sandbox in owned)))


async def _verdict(
    owner: Ownership, age_seconds: float, look_up: LookUp, grace_seconds: float
) -> tuple[Verdict, str]:
    if owner.rollout is None or owner.attempt is None:
        return Verdict.UNKNOWN, "its labels name no rollout and attempt"
    try:
        state = await look_up(owner.rollout, owner.run)
    except RolldockError as error:
        return Verdict.UNKNOWN, str(error)
    if state.is_open:
        return Verdict.OPEN, state.why
    # After the look-up: a young sandbox of a rollout that is open is reported as what it is.
    if age_seconds < grace_seconds:
        return Verdict.YOUNG, f"{state.why}; spared until it is {grace_seconds:g} s old"
    return Verdict.ORPHAN, state.why


async def delete_orphans(
    sandboxes: Sandboxes,
    store: Store,
    deployment: str,
    look_up: LookUp,
    orphans: Sequence[SweptSandbox],
) -> list[SweptSandbox]:
    """Delete each, its attempt's tombstone first; each with what came of it.

    Its rollout is looked up once more right before: it may have been reset since it was judged.
    """
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(orphan: SweptSandbox) -> SweptSandbox:
        owner = Ownership(deployment=deployment, rollout=orphan.rollout, attempt=orphan.attempt)
        try:
            async with slots, asyncio.timeout(_DELETE_SECONDS):
                state = await look_up(str(orphan.rollout), orphan.run)
                if state.is_open:
                    return orphan.model_copy(update={"verdict": Verdict.OPEN, "why": state.why})
                await delete_listed(sandboxes, store, owner, orphan.sandbox_id)
        except RolldockError as error:
            return orphan.model_copy(update={"error": str(error)})
        except TimeoutError:
            late = f"still there {_DELETE_SECONDS:g} s after its deletion"
            return orphan.model_copy(update={"error": late})
        return orphan.model_copy(update={"deleted": True})

    return list(await asyncio.gather(*(one(orphan) for orphan in orphans)))


def count(judged: Sequence[SweptSandbox]) -> dict[Verdict, int]:
    """How many of each verdict; verdicts that none got are left out."""
    return dict(Counter(one.verdict for one in judged))


def count_words(counts: Mapping[Verdict, int]) -> str:
    """The counts for a reader; empty where there are none."""
    return ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))
