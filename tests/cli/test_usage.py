"""Wrong usage through the real command: one line that names the thing, and exit code 2."""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rolldock.cli.stack.processes import processes_of

ROLLDOCK = Path(sys.executable).with_name("rolldock")
Rolldock = Callable[..., subprocess.CompletedProcess[str]]
HELLO = Path(__file__).parents[2] / "examples" / "tasks" / "hello-world"
NOWHERE = "127.0.0.1:1"


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The only thing that a refused command says."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("rolldock: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A copy of an example task, to be broken."""
    return Path(shutil.copytree(HELLO, tmp_path / "task"))


def test_no_such_task(rolldock: Rolldock) -> None:
    """A task directory that does not exist is named; no server is needed to say so."""
    assert "no-such-task" in one_line(rolldock("run", "no-such-task", "--agent", "oracle"))


def test_no_test_script(rolldock: Rolldock, task: Path) -> None:
    """A task without tests/test.sh is refused with the missing path."""
    (task / "tests" / "test.sh").unlink()
    assert "tests/test.sh" in one_line(rolldock("run", task, "--agent", "oracle"))


def test_broken_toml(rolldock: Rolldock, task: Path) -> None:
    """Broken TOML is named by file and line."""
    (task / "task.toml").write_text('version = "1.0"\n[agent\n')
    assert "task.toml, line 2" in one_line(rolldock("run", task, "--agent", "oracle"))


def test_unknown_agent(rolldock: Rolldock) -> None:
    """An unknown agent is refused with the nearest names, also by `agents install`."""
    assert "opencode" in one_line(rolldock("run", HELLO, "--agent", "opencod", "--model", "m"))
    assert "opencode" in one_line(rolldock("agents", "install", "opencod"))


def test_agent_without_model(rolldock: Rolldock) -> None:
    """An agent that calls a model needs one to be named."""
    assert "--model" in one_line(rolldock("run", HELLO, "--agent", "bash"))


def test_two_tasks_of_one_name(rolldock: Rolldock) -> None:
    """Tasks that would share rollout ids are refused, both directories named."""
    said = one_line(rolldock("run", HELLO, HELLO, "--agent", "oracle"))
    assert said.count(str(HELLO)) == 2
    assert "-n" in said


def test_empty_id(rolldock: Rolldock) -> None:
    """An empty --id, as from an unset variable, would never re-attach: it is refused."""
    assert "--id is empty" in one_line(rolldock("run", HELLO, "--agent", "oracle", "--id", ""))


def test_unset_key_variable(rolldock: Rolldock) -> None:
    """The variable with the key is read here, and named when it is not set."""
    arguments = ("run", HELLO, "--agent", "bash", "--model", "m", "--api-key-env", "NO_SUCH_KEY")
    assert "--model-url" in one_line(rolldock(*arguments))
    served = (*arguments, "--model-url", "http://127.0.0.1:1/v1")
    assert "NO_SUCH_KEY" in one_line(rolldock(*served))


def test_a_model_that_would_be_ignored(rolldock: Rolldock) -> None:
    """An endpoint has its model: another one beside it is refused, not passed over."""
    arguments = ("run", HELLO, "--agent", "bash", "--endpoint", "scripted", "--model", "other")
    said = one_line(rolldock(*arguments))
    assert "scripted" in said
    assert "leave out --model other" in said


def test_names_that_are_one_in_an_id(rolldock: Rolldock, tmp_path: Path) -> None:
    """Names that differ only in what no id can hold would share rollout ids."""
    tasks = [tmp_path / name for name in ("my task", "my-task")]
    for task in tasks:
        shutil.copytree(HELLO, task)
    said = one_line(rolldock("run", *tasks, "--agent", "oracle"))
    assert all(str(task) in said for task in tasks)


@pytest.mark.parametrize("option", ["colour", "colour=red"])
def test_bad_agent_option(rolldock: Rolldock, option: str) -> None:
    """An option that is no KEY=VALUE, or that the agent does not take, is named."""
    arguments = ("run", HELLO, "--agent", "oracle", "--option", option)
    assert "colour" in one_line(rolldock(*arguments))


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [(("--mode", "tokens"), "--tokenizer DIR"), (("--tokenizer", "."), "--mode tokens")],
)
def test_half_a_tokens_mode(rolldock: Rolldock, arguments: tuple[str, ...], mend: str) -> None:
    """Mode and tokenizer go together; neither the model server nor Temporal is asked about that."""
    asked = ("endpoint", "add", "e", "--url", "http://127.0.0.1:1/v1", "--model", "m", *arguments)
    assert mend in one_line(rolldock(*asked, TEMPORAL_ADDRESS=NOWHERE))


@pytest.mark.parametrize("arguments", [("run", HELLO, "--agent", "oracle"), ("ls",), ("init",)])
def test_temporal_not_running(rolldock: Rolldock, arguments: tuple[str, ...]) -> None:
    """Without Temporal every command says where it looked and how to start one."""
    done = rolldock(*arguments, TEMPORAL_ADDRESS=NOWHERE, ROLLDOCK_SECRET="s")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert NOWHERE in done.stderr
    assert "rolldock up" in done.stderr


def test_a_terminal_without_the_characters(rolldock: Rolldock) -> None:
    """What it cannot show is written out; the command does not end for it."""
    said = one_line(rolldock("run", "✓", "--agent", "oracle", PYTHONIOENCODING="latin-1"))
    assert "\\u2713" in said


def test_gateway_without_secret(rolldock: Rolldock, home: Path) -> None:
    """A gateway without a secret says where it belongs and what makes one."""
    said = one_line(rolldock("gateway", "--port", "0"))
    assert str(home / "secret") in said
    assert "rolldock init" in said


def test_setting_that_cannot_be_used(rolldock: Rolldock) -> None:
    """A variable with a bad value is named with it."""
    said = one_line(rolldock("ls", ROLLDOCK_HEARTBEAT_SECONDS="soon"))
    assert "HEARTBEAT_SECONDS" in said
    assert "'soon'" in said


def test_up_with_a_port_in_use(rolldock: Rolldock, home: Path) -> None:
    """A port in use is named with its purpose and flag; nothing half-started stays."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = rolldock("up", "--auto-ports", "--sandboxd-port", str(port))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"port {port} is in use" in done.stderr
    assert "--sandboxd-port" in done.stderr
    assert processes_of(home) == {}
    assert not (home / "stack.env").exists()


def as_nobody(
    environment: dict[str, str], *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    """Runs `rolldock` as another user than root, who owns the same files."""
    return subprocess.run(
        ["unshare", "--user", "--map-user=1000", "--", ROLLDOCK, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_up_needs_root(environment: dict[str, str], home: Path) -> None:
    """Not root: one line that says so, and no process is left."""
    done = as_nobody(environment, "up", "--auto-ports")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "need root" in done.stderr
    assert not home.exists()


def test_files_of_another_user(environment: dict[str, str], home: Path) -> None:
    """A home that this user may not read is named, with the variables that choose another."""
    home.mkdir(mode=0)
    said = one_line(as_nobody(environment, "ls"))
    assert str(home) in said
    assert "ROLLDOCK_HOME" in said


def test_unknown_flag(rolldock: Rolldock) -> None:
    """What the command line does not know has exit code 2 and the way to its help."""
    done = rolldock("run", HELLO, "--agnet", "oracle")
    assert done.returncode == 2
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_among_the_imports(environment: dict[str, str]) -> None:
    """Ctrl-C before the command has begun its work ends it without a traceback."""
    with subprocess.Popen(
        [ROLLDOCK, "ls"], env=environment | {"PYTHONPROFILEIMPORTTIME": "1"}, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = b""
        for line in process.stderr:
            if b"typer" in line:
                process.send_signal(signal.SIGINT)
                said = process.stderr.read()
                break
    assert process.returncode == -signal.SIGINT
    assert b"Traceback" not in said


def test_help_loads_no_server_library(rolldock: Rolldock) -> None:
    """`--help` imports neither Temporal nor the contracts, so that it answers at once."""
    done = rolldock("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert "temporalio" not in done.stderr
    assert "pydantic" not in done.stderr
