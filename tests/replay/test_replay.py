"""Recorded histories of the rollout workflow replay on today's code.

They are recorded by `tests/replay/record.py`. A change that makes one fail would break rollouts
that are running: patch it (docs/architecture.md, "Changing a workflow").
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from workflows.reaper import ReaperWorkflow
from workflows.rollout import RolloutWorkflow

HISTORIES = sorted((Path(__file__).parents[1] / "histories").glob("*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    """Today's workflow gives the commands that the recorded run gave."""
    replayer = Replayer(
        workflows=[RolloutWorkflow, ReaperWorkflow], data_converter=pydantic_data_converter
    )
    await replayer.replay_workflow(load(path))


def test_there_is_a_history_of_every_path() -> None:
    """Grades, also of what was kept, failures, a stop, cancels, a new attempt, resets, a leak and a
    sweep are recorded."""
    recorded = {path.stem for path in HISTORIES}
    assert {
        "cancelled-create",
        "cancelled-agent",
        "cancelled-cleanup",
        "completed",
        "failed-grade-1",
        "failed-image",
        "graded-again",
        "kept",
        "kept-after-failed-grade",
        "leaked",
        "nothing-to-grade",
        "reset-after-create",
        "reset-before-create",
        "sweep",
        "worker-killed",
        "failed-reward",
        "new-attempt",
        "stopped",
        "timed-out",
    } <= recorded


@workflow.defn(name="Rollout")
class Incompatible:
    """Ends at once."""

    @workflow.run
    async def run(self, request: Mapping[str, Any]) -> None:
        """Nothing that the history tells."""


async def test_an_incompatible_change_is_noticed() -> None:
    """A workflow that does something else with the same history fails to replay."""

    replayer = Replayer(workflows=[Incompatible], data_converter=pydantic_data_converter)
    completed = next(path for path in HISTORIES if path.stem == "completed")
    with pytest.raises(workflow.NondeterminismError):
        await replayer.replay_workflow(load(completed))


def load(path: Path) -> WorkflowHistory:
    """A recorded history."""
    return WorkflowHistory.from_json(path.stem, path.read_text())
