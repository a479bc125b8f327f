"""PrimeIntellect's `verifiers` in an environment of its own: install, run, resume, read results.

Only its documented command line is used. The agent loop is its own `bash` harness, the sandbox its
own `subprocess` runtime; of ours are only the task folders, through `verifiers/rolldock_tasks.py`.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import environments
from environments import CACHE, ROOT, uv

PLUGIN: Final = Path(__file__).parent / "verifiers"
ENVIRONMENT: Final = environments.environment("verifiers")
HOME: Final = CACHE / "home"
"""The peer's HOME: it makes its work directories under `~/.cache/verifiers`."""
WORK_DIRECTORIES: Final = HOME / ".cache" / "verifiers" / "runtimes" / "subprocess"
RUN_NAME: Final = "killed"


class Episode(NamedTuple):
    """A result that the peer saved."""

    task: str
    reward: float
    n_turns: int


class VerifiersRun:
    """One run of the peer: so many rollouts of each task against a model server."""

    def __init__(
        self, directory: Path, *, model: str, environment: Mapping[str, str], at_once: int
    ) -> None:
        self._directory = directory
        self._model = model
        self._environment = environment
        self._at_once = at_once
        self._log = directory / "peer.log"
        self._before = _entries(WORK_DIRECTORIES)

    async def start(self, tasks: Sequence[str], n_rollouts: int) -> asyncio.subprocess.Process:
        """`vf-eval` on the task folders."""
        return await self._vf_eval(
            "rolldock_tasks",
            *("--env.taskset.root", str(ROOT / "examples" / "tasks")),
            *("--env.taskset.names", json.dumps(list(tasks))),
            *("--env.agent.runtime.type", "subprocess"),
            *("--client.base-url", f"{self._model}/v1"),
            *("--client.api-key-var", "ROLLDOCK_BENCHMARK_NO_KEY"),
            *("--model", "scripted", "--no-push", "--no-rich"),
            *("--num-rollouts", str(n_rollouts), "--max-concurrent", str(self._at_once)),
            *("--output-dir", str(self._directory), "--run.name", RUN_NAME),
        )

    async def resume(self) -> asyncio.subprocess.Process:
        """`vf-eval @ <saved config> --resume`, which runs what has no good result."""
        config = self._directory / RUN_NAME / "configs" / "resolved" / "eval.json"
        return await self._vf_eval("@", str(config), "--resume")

    def episodes(self) -> list[Episode]:
        """The good results saved so far; a line torn by the kill is none."""
        saved = self._directory / RUN_NAME / "traces.jsonl"
        lines = saved.read_bytes().splitlines(keepends=True) if saved.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [_episode(row) for row in rows if row["ok"]]

    def directories(self) -> set[Path]:
        """Work directories that this run made and that are still there."""
        return _entries(WORK_DIRECTORIES) - self._before

    def log_end(self) -> str:
        """The last lines that the peer printed."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-20:])

    async def _vf_eval(self, *arguments: str) -> asyncio.subprocess.Process:
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(ENVIRONMENT / "bin" / "vf-eval", *arguments),
                env={**_environment(), **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


async def install() -> None:
    """Make the peer's environment, unless it is there.

    Raises:
        UnavailableError: uv is missing, or the packages cannot be had.
    """
    await environments.install("verifiers")


def _environment() -> dict[str, str]:
    HOME.mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        "HOME": str(HOME),
        "PATH": f"{uv().parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PLUGIN),
        "UV_CACHE_DIR": str(CACHE / "uv"),
        "UV_PYTHON_DOWNLOADS": "never",
    }


def _entries(directory: Path) -> set[Path]:
    return set(directory.iterdir()) if directory.exists() else set()


def _episode(row: dict[str, Any]) -> Episode:
    (trace,) = row["traces"]
    return Episode(
        task=row["task"]["data"]["name"],
        reward=sum(found["score"] * found["weight"] for found in trace["rewards"].values()),
        n_turns=sum(bool(node.get("sampled")) for node in trace["nodes"]),
    )
