"""Settings: the environment over the stack file, bad values named as the user typed them.

They are loaded in a process of their own, whose environment is exactly what a test gives it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rolldock.errors import UsageError
from rolldock.settings import Settings

ROOT = Path(__file__).parents[1]
PROGRAM = """
import json, os, sys
from rolldock.errors import UsageError
from rolldock.settings import Settings
for line in sys.stdin:
    os.environ.clear()
    os.environ.update(json.loads(line))
    try:
        answer = Settings.load().model_dump(mode="json")
    except UsageError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
"""

Load = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def loader() -> Iterator["subprocess.Popen[str]"]:
    """A process that loads settings from one environment after another."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.communicate()


@pytest.fixture
def load(loader: "subprocess.Popen[str]", tmp_path: Path) -> Load:
    """Load settings in a home with this stack file and these variables."""

    def run(stack_file: str = "", **variables: str) -> dict[str, Any]:
        (tmp_path / "stack.env").write_text(stack_file)
        assert loader.stdin is not None
        assert loader.stdout is not None
        loader.stdin.write(json.dumps({"ROLLDOCK_HOME": str(tmp_path), **variables}) + "\n")
        loader.stdin.flush()
        return json.loads(loader.stdout.readline())

    return run


def test_without_anything_there_are_defaults(load: Load, tmp_path: Path) -> None:
    """A laptop's stack needs no variable."""
    found = load()
    assert found["temporal_address"] == "127.0.0.1:7233"
    assert found["store"] == str(tmp_path / "store")
    assert found["prime_api_key"] is None


def test_the_stack_file_is_read(load: Load) -> None:
    """A command typed beside a running stack finds it."""
    found = load("ROLLDOCK_TEMPORAL_ADDRESS='127.0.0.1:9'\nOTHER=1\n")
    assert found["temporal_address"] == "127.0.0.1:9"


@pytest.mark.parametrize("name", ["ROLLDOCK_TEMPORAL_ADDRESS", "TEMPORAL_ADDRESS"])
@pytest.mark.parametrize("in_file", ["ROLLDOCK_TEMPORAL_ADDRESS", "TEMPORAL_ADDRESS"])
def test_a_variable_wins_over_the_stack_file(load: Load, name: str, in_file: str) -> None:
    """Whichever of its two names a setting has on either side."""
    found = load(f"{in_file}=file:1\n", **{name: "variable:2"})
    assert found["temporal_address"] == "variable:2"


def test_the_providers_own_variables_win_too(load: Load) -> None:
    """PRIME_* keep their names."""
    found = load("PRIME_API_KEY=file\n", PRIME_API_KEY="variable")
    assert found["prime_api_key"] == "variable"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROLLDOCK_MAX_LIVE_SANDBOXES", "many"),
        ("ROLLDOCK_MAX_LIVE_SANDBOXES", "0"),
        ("ROLLDOCK_CREATES_PER_SECOND", "-1"),
        ("ROLLDOCK_HEARTBEAT_SECONDS", ""),
    ],
)
def test_a_bad_value_is_one_line(load: Load, name: str, value: str) -> None:
    """The variable, the value and what is wrong with it; no traceback."""
    error = load(**{name: value})["error"]
    assert error.startswith(f"{name} = {value!r} cannot be used: ")
    assert "\n" not in error


def test_a_bad_value_in_the_stack_file_is_named_too(load: Load) -> None:
    """It is the same setting, wherever it is said."""
    error = load("ROLLDOCK_CLEANUP_HOURS=soon\n")["error"]
    assert error.startswith("ROLLDOCK_CLEANUP_HOURS = 'soon' cannot be used: ")


def test_a_task_may_name_only_what_is_allowed() -> None:
    """The worker's other variables, its own keys first of all, stay its own."""
    settings = Settings(task_variables="HF_TOKEN, PROXY,")
    host = {"HF_TOKEN": "t", "PRIME_API_KEY": "k", "PROXY": "p"}
    assert settings.task_environment(host) == {"HF_TOKEN": "t", "PROXY": "p"}


def test_the_secret_comes_from_the_variable_or_the_file(tmp_path: Path) -> None:
    """The variable wins; blanks around either do not count."""
    file = tmp_path / "secret"
    file.write_text("from the file\n")
    assert Settings(secret=" given ", secret_file=file).read_secret() == b"given"
    assert Settings(secret=None, secret_file=file).read_secret() == b"from the file"
    assert Settings(secret="", secret_file=file).read_secret() == b"from the file"


def test_no_secret_is_an_error(tmp_path: Path) -> None:
    """Nothing is ever signed with an empty secret."""
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(UsageError, match="run `rolldock init`"):
        Settings(secret="", secret_file=absent).read_secret()
    with pytest.raises(UsageError, match="is empty"):
        Settings(secret=None, secret_file=empty).read_secret()
    with pytest.raises(UsageError, match="Is a directory"):
        Settings(secret=None, secret_file=tmp_path).read_secret()
