"""`rolldock agents push`, `ls` and `dockerfile`, through the real command."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Rolldock

CONFIG = """
run = "true"
install = '''
set -eu
mkdir -p "$AGENT_HOME/bin"
printf '%s' "it's installed" > "$AGENT_HOME/bin/agent"
'''
check = "bin/agent"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An agent that installs itself from nowhere."""
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG)
    return path


def test_an_agent_is_pushed_once_and_listed(
    rolldock: "Rolldock", config: Path, home: Path, tmp_path: Path
) -> None:
    """Installed first where it is not; the second push changes nothing."""
    first = rolldock("agents", "push", "command", "--agent-config", config)
    assert first.returncode == 0, first.stderr
    assert "installing command" in first.stderr
    (record,) = (home / "store" / "agents" / "command").glob("*/*/*")
    written = record.read_bytes()
    again = rolldock("agents", "push", "command", "--agent-config", config)
    assert again.returncode == 0, again.stderr
    assert "already" in again.stderr
    assert record.read_bytes() == written
    pushed = json.loads(written)["build"]
    assert (tmp_path / "agents" / "command" / pushed["version"] / "bin" / "agent").exists()
    listed = rolldock("agents", "ls").stdout
    assert re.search(rf"^command +{pushed['version']} .*{pushed['machine']}", listed, re.MULTILINE)


def test_looking_makes_no_store(rolldock: "Rolldock", home: Path) -> None:
    """`agents ls` works before there is anything."""
    listed = rolldock("agents", "ls")
    assert listed.returncode == 0, listed.stderr
    assert "opencode" in listed.stdout
    assert not (home / "store").exists()


def test_an_agent_without_install_has_nothing_to_push(rolldock: "Rolldock", home: Path) -> None:
    """It is said, and is no error: a list of agents may hold it."""
    done = rolldock("agents", "push", "bash")
    assert done.returncode == 0, done.stderr
    assert "nothing to push" in done.stderr
    assert not (home / "store" / "agents").exists()


def test_a_described_agent_needs_its_file(rolldock: "Rolldock") -> None:
    """By each of the commands."""
    for verb in ("install", "push", "dockerfile"):
        done = rolldock("agents", verb, "command")
        assert done.returncode == 2
        assert "give --agent-config FILE" in done.stderr


def test_a_dockerfile_has_each_agent_where_sandboxes_look(rolldock: "Rolldock") -> None:
    """A stage for each, copied into the image that was asked for; pinned or asked versions."""
    asked = ("opencode", "codex@0.1.2", "bash")
    done = rolldock("agents", "dockerfile", *asked, "--from", "debian:12")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("FROM")] == [
        "FROM node:22-bookworm AS agent-0",
        "FROM node:22-bookworm AS agent-1",
        "FROM debian:12",
    ]
    place = "/opt/rolldock/agents/codex/0.1.2"
    assert lines[-1] == f"COPY --from=agent-1 {place} {place}"


def test_no_dockerfile_for_nothing(rolldock: "Rolldock") -> None:
    """An agent that is uploaded to each sandbox needs no image."""
    done = rolldock("agents", "dockerfile", "bash")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "bash: nothing to install" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts an empty /opt for itself")
def test_a_dockerfiles_command_installs_the_agent(rolldock: "Rolldock", config: Path) -> None:
    """What its RUN line holds, run with its ENV in its WORKDIR on an empty /opt."""
    printed = rolldock("agents", "dockerfile", "command", "--agent-config", config).stdout
    said = dict(line.split(" ", 1) for line in printed.splitlines() if " " in line)
    command: list[str] = json.loads(said["RUN"])
    home = said["WORKDIR"]
    install = (
        f"mount -t tmpfs none /opt && mkdir -p {home} && cd {home} && {shlex.join(command)} "
        f"&& cat {home}/bin/agent"
    )
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", f"export {said['ENV']}; {install}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "it's installed"), done.stderr
