"""Harbor as it is installed for Terminus-2: a Python of its own, with its models and its viewer."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from rolldock.agents.registry import get_agent
from tests.agent_cache import AGENT_CACHE

_HOME: Final = AGENT_CACHE / "terminus-2" / get_agent("terminus-2").version
PYTHON: Final = _HOME / "python" / "bin" / "python3"

needs_harbor: Final = pytest.mark.skipif(
    not PYTHON.exists(), reason="no Harbor here: rolldock agents install terminus-2"
)
"""A mark for tests that hold an export against Harbor's own code."""

LOAD: Final = """
import json, sys
from pathlib import Path
from harbor.models.job.config import JobConfig
from harbor.models.job.result import JobResult, JobStats
from harbor.models.trajectories import Trajectory
from harbor.models.trial.config import TrialConfig
from harbor.models.trial.result import TrialResult
from harbor.viewer.scanner import JobScanner

def trajectory(path):
    return Trajectory.model_validate_json(path.read_text())

root = Path(sys.argv[1])
seen = {"trajectories": 0, "steps": 0, "trials": 0, "jobs": 0}
for path in sorted(root.glob("*.json")) + sorted(root.rglob("agent/trajectory.json")):
    seen["steps"] += len(trajectory(path).steps)
    seen["trajectories"] += 1
scanner = JobScanner(root)
for job in scanner.list_jobs():
    JobConfig.model_validate_json((root / job / "config.json").read_text())
    told = JobResult.model_validate_json((root / job / "result.json").read_text())
    trials = []
    for trial in scanner.list_trials(job):
        TrialConfig.model_validate_json((root / job / trial / "config.json").read_text())
        result = (root / job / trial / "result.json").read_text()
        trials.append(TrialResult.model_validate_json(result))
        assert trials[-1].trial_name == trial, trial
    counted = JobStats.from_trial_results(trials, n_total_trials=told.n_total_trials)
    for name in ("n_completed_trials", "n_errored_trials", "n_cancelled_trials"):
        assert getattr(told.stats, name) == getattr(counted, name), name
    for key, of_key in counted.evals.items():
        ours = told.stats.evals[key]
        assert (ours.n_trials, ours.n_errors) == (of_key.n_trials, of_key.n_errors), key
        assert ours.reward_stats == of_key.reward_stats, (ours.reward_stats, of_key.reward_stats)
        assert ours.exception_stats == of_key.exception_stats, key
    assert told.stats.n_input_tokens == counted.n_input_tokens
    seen["trials"] += len(trials)
    seen["jobs"] += 1
print(json.dumps(seen))
"""
"""Loads every document below a directory by Harbor's models, and counts again what a job counts."""


def environment() -> dict[str, str]:
    """The variables that Harbor's Python needs, and that keep it from calling home."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(_HOME / "packages"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HARBOR_TELEMETRY": "0",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def run(arguments: Sequence[str | Path]) -> str:
    """What a program of Harbor's Python prints; where it fails, its errors are shown."""
    done = subprocess.run(
        [PYTHON, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    sys.stderr.write(done.stderr)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
