"""The bash agent as a real process against a real server."""

import ast
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from rolldock.agents.bash import BASH, PROGRAM
from rolldock.scripted.script import Script
from rolldock.scripted.server import serve
from tests.agents.launches import launched

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "rolldock" / "agents" / PROGRAM


async def start(
    directory: Path, base_url: str, instruction: str, *more: str, api_key: str = "k"
) -> asyncio.subprocess.Process:
    """The agent in a work directory of its own."""
    work = directory / "app"
    work.mkdir()
    (directory / "instruction.md").write_text(instruction)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(SOURCE),
        f"--instruction={directory / 'instruction.md'}",
        f"--base-url={base_url}/v1",
        "--model=any",
        f"--log-dir={directory / 'logs'}",
        *more,
        cwd=work,
        env={"PATH": os.environ["PATH"], "ROLLDOCK_API_KEY": api_key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def finish(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Its exit code and output."""
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


def messages(directory: Path) -> list[dict[str, Any]]:
    """The conversation that it logged."""
    lines = (directory / "logs" / "messages.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


async def test_it_solves_a_task(tmp_path: Path, address: str) -> None:
    """The model's commands run in the work directory until it calls no more tools."""
    instruction = (ROOT / "examples/tasks/hello-world/instruction.md").read_text()
    code, output = await finish(await start(tmp_path, address, instruction))
    assert code == 0, output
    assert (tmp_path / "app" / "hello.txt").read_text() == "Hello, world!\n"
    roles = [message["role"] for message in messages(tmp_path)]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool", "assistant"]


async def test_what_goes_wrong_with_a_command_is_told_to_the_model(
    tmp_path: Path, address: str
) -> None:
    """Unknown tools, bad arguments, late commands, long output; and the key is kept from it."""
    more = ("--command-timeout=1", f"--system={tmp_path / 'system.txt'}")
    (tmp_path / "system.txt").write_text("You misbehave.")
    code, output = await finish(await start(tmp_path, address, "Please misbehave.", *more))
    assert code == 0, output
    logged = messages(tmp_path)
    results = [message["content"] for message in logged if message["role"] == "tool"]
    assert logged[0]["content"] == "You misbehave."
    assert "there is no tool 'write'" in results[0]
    assert "must be a JSON object" in results[1]
    assert results[2] == "started\n\n[killed after 1 s]"
    assert "bytes left out" in results[3]
    assert results[3].endswith("end\n\n[exit code 3]")
    assert len(results[3]) < 25_000
    assert results[4].startswith("0\n")


async def test_it_waits_for_a_server_that_is_away(
    tmp_path: Path, scripts: dict[str, Script], unused_tcp_port: int
) -> None:
    """A refused connection is tried again until the server is there."""
    base_url = f"http://127.0.0.1:{unused_tcp_port}"
    process = await start(tmp_path, base_url, "Create a file named `hello.txt`")
    assert process.stdout is not None
    first = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    assert "trying again" in first
    async with serve(scripts, port=unused_tcp_port):
        code, output = await finish(process)
    assert code == 0, output
    assert (tmp_path / "app" / "hello.txt").exists()


@pytest.mark.parametrize(
    ("instruction", "api_key", "said"),
    [("unheard of", "k", "HTTP 404: "), ("misbehave", "wrong", "HTTP 401: ")],
)
async def test_a_refusal_ends_it(
    tmp_path: Path, address: str, instruction: str, api_key: str, said: str
) -> None:
    """With an exit code that is not 0, and what the server said."""
    code, output = await finish(await start(tmp_path, address, instruction, api_key=api_key))
    assert code == 3
    assert said in output


def test_it_needs_only_an_old_python() -> None:
    """The file parses as Python 3.8 and imports nothing but the standard library."""
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


def test_its_launch_runs_the_uploaded_file() -> None:
    """With the limits of the context, and its version following the file's content."""
    launch = launched(BASH, {"system_prompt": "Be brief."}, hold_seconds=50)
    assert "/opt/rolldock/agents/bash/1/bash_agent.py" in launch.command
    assert "--request-timeout=170" in launch.command
    assert list(launch.files.values()) == ["Be brief."]
    assert BASH.bundled == {PROGRAM: SOURCE.read_text()}
