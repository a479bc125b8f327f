"""A task: its configuration, its instruction and what its directory holds, checked.

Reading a task says all that is wrong with it in one line; whether its image can be had is decided
where a sandbox is made.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rolldock.errors import StageError, UsageError
from rolldock.models.failure import Cause

from .config import TaskConfig
from .support import unsupported
from .tar import write_tar
from .templates import MissingVariable, resolve
from .tree import TreeEntry, read_tree

CONFIG_FILE: Final = "task.toml"
INSTRUCTION_FILE: Final = "instruction.md"
TEST_SCRIPT: Final = "tests/test.sh"
SOLUTION_SCRIPT: Final = "solution/solve.sh"
DOCKERFILE: Final = "environment/Dockerfile"

_CANARY: Final = re.compile(r"(<!--.*canary.*-->|#.*canary.*)", re.IGNORECASE)
_PLACE: Final = re.compile(r"\s*\(at line (\d+), column (\d+)\)|\s*\(at end of document\)")


class Task(BaseModel):
    """A task that passed every check."""

    model_config = ConfigDict(frozen=True)

    name: str
    """`[task].name`, else the directory's."""
    config: TaskConfig
    instruction: str
    """As the agent sees it: leading canary lines removed."""
    paths: frozenset[str]
    """Of its files, relative to its directory."""
    bundle: bytes = Field(repr=False)
    """Its directory as a canonical tar: `bundle.py`."""

    @property
    def docker_image(self) -> str | None:
        """The prebuilt image, where the task names one."""
        return self.config.environment.docker_image

    @property
    def needs_image_build(self) -> bool:
        """Whether its image exists only as a Dockerfile."""
        return DOCKERFILE in self.paths and self.docker_image is None

    @property
    def has_solution(self) -> bool:
        """Whether the oracle can run it."""
        return SOLUTION_SCRIPT in self.paths

    @property
    def uploads_environment(self) -> bool:
        """Whether the files of `environment/` go into the work directory at set-up.

        With a Dockerfile they are its build context instead.
        """
        in_environment = any(path.startswith("environment/") for path in self.paths)
        return in_environment and DOCKERFILE not in self.paths

    @property
    def agent_user(self) -> str | None:
        """Whom the agent runs as; None: the image's user."""
        user = self.config.agent.user
        return None if user is None else str(user)

    def environment_env(self, host: Mapping[str, str]) -> dict[str, str]:
        """The sandbox's variables, with the host variables that this task may name."""
        return _resolved("environment.env", self.config.environment.env, host)

    def verifier_env(self, host: Mapping[str, str]) -> dict[str, str]:
        """The test script's variables, likewise."""
        return _resolved("verifier.env", self.config.verifier.env, host)

    def solution_env(self, host: Mapping[str, str]) -> dict[str, str]:
        """The oracle's variables, likewise."""
        return _resolved("solution.env", self.config.solution.env, host)


def read_task(directory: Path) -> Task:
    """Read and check a task directory.

    Raises:
        UsageError: it is no task, or uses what Rolldock does not support.
    """
    entries = read_tree(directory)
    bundle = write_tar(entries)
    return parse_task(entries, bundle, name=directory.resolve().name, source=str(directory))


def parse_task(entries: Iterable[TreeEntry], bundle: bytes, *, name: str, source: str) -> Task:
    """Check the entries of a task's directory, of which `bundle` is the tar.

    Raises:
        UsageError: as `read_task`; the message begins with the file's path below `source`.
    """
    files = {entry.path: entry.content for entry in entries if entry.content is not None}
    config = _parse_config(files, source)
    feature = unsupported(config, files.keys())
    if feature is not None:
        raise UsageError(f"{source}: this task uses {feature}, which Rolldock does not support")
    instruction = _parse_instruction(files, source)
    if TEST_SCRIPT not in files:
        raise UsageError(
            f"{source}/{TEST_SCRIPT}: no such file: a task needs a test script that writes "
            "/logs/verifier/reward.txt"
        )
    return Task(
        name=config.task.name if config.task else name,
        config=config,
        instruction=instruction,
        paths=frozenset(files),
        bundle=bundle,
    )


def _parse_config(files: Mapping[str, bytes], source: str) -> TaskConfig:
    path = f"{source}/{CONFIG_FILE}"
    if CONFIG_FILE not in files:
        raise UsageError(f"{path}: no such file: a task directory needs one")
    table = _parse_toml(_decode(files[CONFIG_FILE], path), path)
    try:
        return TaskConfig.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        value: object = first["input"]
        shown = "" if isinstance(value, dict) or first["type"] == "missing" else f" = {value!r}"
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path}: {field}{shown}: {message}") from error


def _parse_toml(text: str, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _PLACE.search(str(error))
        line = int(found[1]) if found and found[1] else len(text.splitlines())
        message = _PLACE.sub("", str(error))
        raise UsageError(f"{path}, line {line}: not valid TOML: {message}") from error


def _parse_instruction(files: Mapping[str, bytes], source: str) -> str:
    path = f"{source}/{INSTRUCTION_FILE}"
    if INSTRUCTION_FILE not in files:
        raise UsageError(f"{path}: no such file: a task needs an instruction for the agent")
    instruction = _without_canaries(_decode(files[INSTRUCTION_FILE], path))
    if not instruction.strip():
        raise UsageError(f"{path}: empty: write what the agent is to do")
    return instruction


def _without_canaries(text: str) -> str:
    """Drop leading canary lines and, where there were any, the blank lines after them."""
    lines = text.splitlines(keepends=True)
    n_canaries = 0
    while n_canaries < len(lines) and _CANARY.fullmatch(lines[n_canaries].rstrip("\r\n")):
        n_canaries += 1
    if n_canaries == 0:
        return text
    rest = lines[n_canaries:]
    while rest and not rest[0].strip():
        rest = rest[1:]
    return "".join(rest)


def _decode(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}, line {line}: not UTF-8: save the file as UTF-8") from error


def _resolved(table: str, env: Mapping[str, str], host: Mapping[str, str]) -> dict[str, str]:
    try:
        return resolve(env, host)
    except MissingVariable as error:
        raise StageError(Cause.TASK_INVALID, f"{CONFIG_FILE}: {table}: {error}") from error
