"""The shell commands of jobs, run by a real bash on this machine under ids of their own."""

import asyncio
import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.sandbox import jobs
from rolldock.sandbox.launch import assignments

DEADLINE_SECONDS = 10.0


class Job:
    """A job of this machine, and what it leaves in /tmp."""

    def __init__(self, workdir: Path) -> None:
        self.id = uuid.uuid4().hex[:8]
        self.workdir = workdir
        self.env_file = Path(f"/tmp/job_{self.id}.env")
        launch, stdout, stderr, exit_file = (Path(path) for path in jobs.paths(self.id))
        self.launch_directory, self.stdout, self.stderr = launch, stdout, stderr
        self.exit_file = exit_file

    def command(self, command: str) -> str:
        """The command that launches this one."""
        cwd = str(self.workdir)
        return jobs.launch_command(self.id, command, env_file=str(self.env_file), cwd=cwd)

    def launch(
        self, command: str, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Write the environment and launch."""
        self.env_file.write_text(assignments(env or {}))
        self.env_file.chmod(0o600)
        return bash(self.command(command))

    def pid(self) -> int:
        """Of the launched process."""
        return int((self.launch_directory / "pid").read_text())

    def exit_code(self) -> int:
        """The exit code, waited for."""
        until(lambda: self.exit_file.exists() and self.exit_file.read_text() != "")
        return int(self.exit_file.read_text())

    def output(self) -> str:
        """What it has printed so far."""
        return self.stdout.read_text() if self.stdout.exists() else ""

    def written(self, name: str) -> str:
        """What it has written to a file of its work directory, waited for."""
        file = self.workdir / name
        until(lambda: file.exists() and file.read_text() != "")
        return file.read_text()

    def forget(self) -> None:
        """End and remove whatever is left."""
        bash(jobs.clear_command(self.id))
        self.env_file.unlink(missing_ok=True)


def bash(command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as a sandbox does."""
    return subprocess.run(
        ["/bin/bash", "-c", command], capture_output=True, text=True, check=False, timeout=30
    )


def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    """A job that is gone afterwards."""
    job = Job(tmp_path)
    yield job
    job.forget()
    assert list(Path("/tmp").glob(f"job_{job.id}*")) == []


def test_ids_come_from_the_attempt() -> None:
    """Eight hex digits, as the SDK's batch status wants them; another role has others."""
    attempt = "01234567-89ab-4cde-8f01-23456789abcd"
    assert jobs.job_id(attempt) == "01234567"
    assert jobs.job_id(attempt, "grade") == "89ab4cde"


def test_a_job_runs_detached_in_its_directory(job: Job) -> None:
    """Output, errors and exit code are in files; its pid is printed while it may still run."""
    launched = job.launch("pwd; echo wrong >&2; exit 7")
    assert (launched.returncode, launched.stdout) == (0, f"{job.pid()}\n")
    assert job.exit_code() == 7
    assert job.stdout.read_text() == f"{job.workdir}\n"
    assert job.stderr.read_text() == "wrong\n"


def test_a_job_has_a_session_and_a_group_of_its_own(job: Job) -> None:
    """Its pid leads both, and it holds nothing of its launcher's."""
    job.launch("sleep 100")
    pid = job.pid()
    assert (os.getpgid(pid), os.getsid(pid)) == (pid, pid)
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}


def test_a_second_launch_is_none(job: Job) -> None:
    """It prints the first one's pid and starts nothing, not even after the job's end."""
    first = job.launch("echo once >> log; sleep 100")
    assert job.written("log") == "once\n"
    second = job.launch("echo twice >> log")
    assert second.stdout == first.stdout
    bash(jobs.kill_command(job.id, 1))
    assert job.launch("echo thrice >> log").stdout == first.stdout
    assert (job.workdir / "log").read_text() == "once\n"


async def test_of_launches_at_once_one_starts_and_all_know_it(job: Job) -> None:
    """A stalled try and its successor: one process, and the environment reached it."""
    job.env_file.write_text(assignments({"WORD": "here"}))
    command = job.command("echo $WORD >> log; sleep 100")
    done = await asyncio.gather(*(asyncio.to_thread(bash, command) for _ in range(8)))
    assert {(one.returncode, one.stdout) for one in done} == {(0, f"{job.pid()}\n")}
    assert job.written("log") == "here\n"


def test_the_environment_is_on_no_command_line_and_in_no_file(job: Job) -> None:
    """Once the job has started its secret is nowhere but in its own environment."""
    secret = uuid.uuid4().hex
    job.launch('test -n "$TOKEN" && exec sleep 100', {"TOKEN": secret})
    pid = job.pid()
    until(lambda: bash(f"pgrep -s {pid} sleep").returncode == 0)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(secret.encode() in line for line in lines)
    assert not job.env_file.exists()
    left = [path for path in Path("/tmp").glob(f"job_{job.id}*") if path.is_file()]
    assert not any(secret in path.read_text() for path in left)


def test_a_second_launch_leaves_no_environment_behind(job: Job) -> None:
    """Its file is removed although nobody reads it."""
    job.launch("sleep 100", {"TOKEN": "t"})
    job.launch("sleep 100", {"TOKEN": "t"})
    assert not job.env_file.exists()


def test_any_text_reaches_the_job(job: Job) -> None:
    """Quotes, newlines, dollars, other scripts: what goes in comes out, byte for byte."""
    characters = "'\"\\$`!#&;|<>(){}*?~ \t\n\r\x01\x7fü漢🜁aA0=%"
    draw = random.Random(7)
    values = ["", "'", "\n", "-n", "$(touch x)", "x" * 100_000]
    values += ["".join(draw.choices(characters, k=draw.randrange(40))) for _ in range(200)]
    names = [f"V{number}" for number in range(len(values))]
    job.launch(
        "".join(f'printf "%s\\0" "${{{name}}}"; ' for name in names),
        dict(zip(names, values, strict=True)),
    )
    assert job.exit_code() == 0
    assert job.stdout.read_bytes() == "".join(f"{value}\0" for value in values).encode()


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("echo 'it'\\''s'", "it's\n"),
        ('echo "a  b" $((1 + 1)) $(echo `echo c`)', "a  b 2 c\n"),
        ("cat <<'END'\n$HOME\nEND", "$HOME\n"),
        ("echo one # not two", "one\n"),
        ("echo ü 漢 ${#X}", "ü 漢 0\n"),
        ("echo a\\\\b", "a\\b\n"),
        ("(exit 3) || echo caught", "caught\n"),
    ],
)
def test_a_command_is_bash_to_the_letter(job: Job, command: str, printed: str) -> None:
    """Whatever an agent's or a task's command holds, none of it is lost on the way."""
    job.launch(command)
    assert job.exit_code() == 0
    assert job.stdout.read_text() == printed


def test_a_path_of_its_own_breaks_nothing(job: Job) -> None:
    """An environment without the usual programs is the job's own affair."""
    job.launch("echo $PATH; exit 4", {"PATH": "/nowhere", "IFS": "0123456789"})
    assert job.exit_code() == 4
    assert job.stdout.read_text() == "/nowhere\n"
    assert not job.env_file.exists()


def test_a_missing_work_directory_is_the_jobs_failure(job: Job) -> None:
    """It is launched, and ends at once with a reason."""
    job.workdir = job.workdir / "absent"
    assert job.launch("echo never").returncode == 0
    assert job.exit_code() == 1
    assert "absent" in job.stderr.read_text()


def test_without_its_environment_a_job_does_not_start(job: Job) -> None:
    """The launch says why, and may be tried again."""
    failed = bash(job.command("echo never"))
    assert failed.returncode == 1
    assert failed.stderr.startswith("job did not start: ")
    assert job.launch("echo now").returncode == 0
    assert job.exit_code() == 0


def test_a_job_is_stopped_with_its_group(job: Job) -> None:
    """TERM reaches the processes that it started, too."""
    job.launch("sleep 100 & echo $! > child; wait")
    child = int(job.written("child"))
    stopped = bash(jobs.kill_command(job.id, 5))
    assert (stopped.returncode, stopped.stdout) == (0, "")
    assert not lives(child)
    assert not lives(job.pid())


def test_a_job_that_ignores_term_is_killed(job: Job) -> None:
    """After the grace period there is no way out."""
    job.launch("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    until(lambda: job.output() == "ready\n")
    group = job.pid()
    bash(jobs.kill_command(job.id, 1))
    until(lambda: bash(f"pgrep -g {group}").returncode == 1)


def test_a_job_that_ends_itself_on_term_is_given_the_time(job: Job) -> None:
    """The kill does not come before the grace period is over."""
    job.launch("trap 'echo tidy; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    until(lambda: job.output() == "ready\n")
    bash(jobs.kill_command(job.id, 5))
    assert job.stdout.read_text() == "ready\ntidy\n"


def test_a_service_in_a_session_of_its_own_lives_on(job: Job) -> None:
    """As under Harbor: what an agent left running is there when the tests come."""
    job.launch("setsid sleep 100 & echo $! > child; wait")
    child = int(job.written("child"))
    until(lambda: os.getsid(child) == child)
    try:
        bash(jobs.kill_command(job.id, 1))
        assert lives(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_stopping_a_job_that_has_ended_prints_its_exit_code(job: Job) -> None:
    """It harms nothing, also not twice."""
    job.launch("exit 3")
    job.exit_code()
    for _ in range(2):
        assert bash(jobs.kill_command(job.id, 1)).stdout == "3\n"


def test_stopping_a_job_that_never_was_is_nothing() -> None:
    """No pid, no signal, no output."""
    stopped = bash(jobs.kill_command("00000000", 1))
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "", "")


def test_a_job_whose_files_were_removed_is_found_again(job: Job) -> None:
    """While it lives its pid is written down again, and its exit code is told at its end."""
    command = f"rm -rf {job.launch_directory} {job.stdout} {job.stderr}; echo gone > log; "
    job.launch(f"{command} until test -e go; do sleep 0.01; done; exit 3")
    job.written("log")
    found = bash(jobs.revive_command(job.id))
    assert found.stdout.strip() == str(job.pid()), found.stderr
    assert os.getsid(job.pid()) == job.pid()
    (job.workdir / "go").touch()
    assert job.exit_code() == 3
    until(lambda: bash(jobs.revive_command(job.id)).stdout == "")


def test_a_job_whose_files_were_removed_is_stopped_with_its_group(job: Job) -> None:
    """It is found by its script, not by its pid file; no other process is taken for it."""
    launched = job.launch(f"rm -rf {job.launch_directory}; echo gone > log; sleep 100")
    job.written("log")
    assert bash(jobs.revive_command("00000000")).stdout == ""
    bash(jobs.kill_command(job.id, 1))
    assert not lives(int(launched.stdout))


def test_a_cleared_job_may_run_again(job: Job) -> None:
    """Grading may be repeated: what an earlier try left running or wrote is gone."""
    job.launch("echo first; sleep 100")
    first = job.pid()
    assert bash(jobs.clear_command(job.id)).returncode == 0
    assert not lives(first)
    job.launch("echo second")
    assert job.exit_code() == 0
    assert job.stdout.read_text() == "second\n"


def test_a_job_tells_the_run_it_was_launched_for_how_old_it_is(job: Job) -> None:
    """Another run, or one that claimed it and never launched it, is told nothing."""
    claimed = Path(f"/tmp/job_{job.id}.run")
    assert bash(jobs.claim_command(job.id, "run-1")).returncode == 0
    assert bash(jobs.age_command(job.id, "run-1")).stdout == ""
    job.launch("true")
    job.exit_code()
    launched = job.launch_directory / "pid"
    os.utime(launched, (launched.stat().st_atime, launched.stat().st_mtime - 100))
    assert 100 <= int(bash(jobs.age_command(job.id, "run-1")).stdout) < 100 + DEADLINE_SECONDS
    assert bash(jobs.age_command(job.id, "run-2")).stdout == ""
    claimed.unlink()
    assert bash(jobs.age_command(job.id, "run-1")).stdout == ""


@pytest.mark.parametrize("name", ["", "A B", "A-B", "1A", "A=B", "A\n", "Ä", "A;touch x"])
def test_a_name_that_bash_cannot_hold_is_refused(name: str) -> None:
    """The task is to blame, and the name is in the message; no value ever is."""
    with pytest.raises(StageError) as raised:
        assignments({name: "secret"})
    assert raised.value.cause is Cause.TASK_INVALID
    assert repr(name) in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("value", ["secret\0", "secret\udce9"])
def test_a_value_that_is_no_text_is_refused(value: str) -> None:
    """NUL and broken bytes cannot be handed on; the value is not shown."""
    with pytest.raises(StageError, match="variable A: its value is not UTF-8 text") as raised:
        assignments({"A": value})
    assert "secret" not in str(raised.value)
