# pyright: basic, reportMissingImports=false
"""Our task folders as a taskset of `verifiers`; it runs in that package's own environment.

Each task runs under verifiers' own `bash` harness and is graded by its folder's `tests/test.sh`.
Its Harbor taskset is not used: it takes packages from Harbor's hub, and grades in `/tests`, which
the rollouts of the subprocess runtime would share. Not a way to run all of our tasks:
`start-service` wants a port of its own, which that runtime cannot give.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import verifiers.v1 as vf
from pydantic import Field

__all__ = ["FolderTaskset"]

VERIFIER = ".verifier"
"""Where tests and reward stand, in the work directory: the runtime has no `/tests` of its own."""


class FolderConfig(vf.TasksetConfig):
    """Which task folders: the parent directory and the names in it."""

    root: Path = Path("examples/tasks")
    names: list[str] = Field(default_factory=list)


class FolderData(vf.TaskData):
    """A task with the folder that it was read from."""

    folder: str


class FolderTask(vf.Task[FolderData, vf.State, vf.TaskConfig]):
    """Fills the work directory before the agent, and grades it after."""

    async def setup(self, trace: vf.Trace, runtime: vf.Runtime) -> None:
        """Write the files of `environment/` into the work directory."""
        for name, content in files(Path(self.data.folder, "environment")).items():
            await runtime.write(name, content)

    @vf.reward(weight=1.0)
    async def graded(self, runtime: vf.Runtime) -> float:
        """The reward that `tests/test.sh` writes, absolute paths moved to the work directory."""
        await runtime.run(["mkdir", "-p", f"{VERIFIER}/logs"], {})
        for name, content in files(Path(self.data.folder, "tests")).items():
            text = content.decode().replace("/logs/verifier/", f"{VERIFIER}/logs/")
            text = text.replace(" /tests/", f" {VERIFIER}/tests/")
            await runtime.write(f"{VERIFIER}/tests/{name}", text.encode())
        await runtime.run(["bash", f"{VERIFIER}/tests/test.sh"], {})
        command = f"cat {VERIFIER}/logs/reward.json 2>/dev/null || cat {VERIFIER}/logs/reward.txt"
        written = await runtime.run(["sh", "-c", command], {})
        if written.exit_code:
            raise RuntimeError(f"{self.data.name}: test.sh wrote no reward")
        value = json.loads(written.stdout)
        return float(value["reward"] if isinstance(value, dict) else value)


class FolderTaskset(vf.Taskset[FolderTask, FolderConfig]):
    """One task per folder, in the order of the names."""

    def load(self) -> Iterator[FolderTask]:
        """Read each folder's instruction."""
        for name in self.config.names:
            folder = (self.config.root / name).resolve()
            prompt = (folder / "instruction.md").read_text().strip()
            yield FolderTask(FolderData(name=name, prompt=prompt, folder=str(folder)))


def files(root: Path) -> dict[str, bytes]:
    """The files below a directory, by their path in it; none if there is no such directory."""
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}
