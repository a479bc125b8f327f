"""PrimeIntellect's `verifiers` in an environment of its own: install, run, resume, read results.

Only its documented command line is used. The agent loop is its own `bash` harness, the sandbox its
own `subprocess` runtime; of ours are only the task folders, through `verifiers/rolldock_tasks.py`.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from rolldock.errors import UnavailableError

ROOT: Final = Path(__file__).parents[2]
PLUGIN: Final = Path(__file__).parent / "verifiers"
REQUIREMENTS: Final = PLUGIN / "requirements.txt"
CACHE: Final = ROOT / ".cache" / "peers"
ENVIRONMENT: Final = CACHE / "verifiers"
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
    """Make the peer's environment, unless one of exactly these requirements is there.

    Raises:
        UnavailableError: uv is missing, or the packages cannot be had.
    """
    stamp = ENVIRONMENT / ".installed"
    wanted = REQUIREMENTS.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    await _uv("venv", "--quiet", "--python", sys.executable, str(ENVIRONMENT))
    python = str(ENVIRONMENT / "bin" / "python")
    await _uv("pip", "sync", "--quiet", "--compile-bytecode", "--python", python, str(REQUIREMENTS))
    stamp.write_text(wanted)


async def _uv(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(uv(), *arguments)
    if await process.wait():
        raise UnavailableError(
            f"uv {arguments[0]} failed for {ENVIRONMENT}: see its own words above"
        )


def uv() -> Path:
    """The uv that `make` uses too; the peer calls it for its agents' environments.

    Raises:
        UnavailableError: there is none.
    """
    own = ROOT / ".cache" / "uv" / "bin" / "uv"
    found = shutil.which("uv")
    if found is None and not own.exists():
        raise UnavailableError("uv is missing: install it, or run `make sync` on a machine without")
    return Path(found or own)


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
