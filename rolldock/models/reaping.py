"""What the reaper is asked and what it answers: the sweep over a deployment's sandboxes."""

from enum import StrEnum

from pydantic import Field

from .base import Contract


class SweepRequest(Contract):
    """One sweep."""

    dry_run: bool = False
    """Only say what would be done."""
    grace_seconds: float | None = Field(default=None, ge=0)
    """How young a sandbox is spared; None: the installation's setting."""
    cap: int | None = Field(default=None, ge=1)
    """At most so many sandboxes are deleted, so many results written, and the checkpoints and the
    recordings of so many attempts or rollouts deleted; None: the setting."""


class Verdict(StrEnum):
    """What a sweep makes of one sandbox of its own deployment."""

    OPEN = "open"
    """Its rollout has an open run: it is that run's business."""
    YOUNG = "young"
    """Younger than the grace period."""
    UNKNOWN = "unknown"
    """Its rollout could not be looked up, or its labels do not name one: left alone."""
    ORPHAN = "orphan"
    """Its rollout has ended or is forgotten, and it lives: it is deleted."""


class SweptSandbox(Contract):
    """One sandbox as a sweep judged it."""

    sandbox_id: str
    rollout: str | None
    run: str | None
    attempt: str | None
    age_seconds: float
    verdict: Verdict
    why: str
    """In words: how the rollout ended, or why nothing can be said."""
    deleted: bool = False
    error: str | None = None
    """Why it could not be deleted; the next sweep tries again."""


class SweepReport(Contract):
    """What a sweep saw and did.

    `swept` names what was deleted or could not be told, at most `REPORTED` of them, so that the
    report of a disaster still fits into a workflow's history; the counts are of all.
    """

    dry_run: bool
    counts: dict[Verdict, int]
    """Sandboxes of this deployment by verdict."""
    n_deleted: int = 0
    n_failed: int = 0
    """Orphans that could not be deleted: still alive, as far as is known."""
    n_deferred: int = 0
    """Orphans that the cap left for the next sweep."""
    swept: tuple[SweptSandbox, ...] = ()
    n_results: int = 0
    """Rollouts that had ended without a record and have one now, or would have."""
    results: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()
    """Those whose record could not be written, each with the reason."""
    n_checkpoints: int = 0
    """Attempts whose expired checkpoints were deleted, or would have been."""
    n_checkpoints_deferred: int = 0
    """Expired ones that the cap left for the next sweep."""
    undeleted: tuple[str, ...] = ()
    """Expired checkpoints that could not be deleted, each with the reason; the next sweep tries
    again."""
    n_undeleted: int = 0
    n_recordings: int = 0
    """Rollouts whose expired recordings were deleted; a dry run looks for none."""
    n_recordings_kept_back: int = 0
    """Rollouts whose expired recordings had to stay, since a replay plays them or that could not be
    told; the next sweep tries again."""


REPORTED = 50
"""Sandboxes and rollouts that a report names."""
