"""Scripts on disk, and the command that serves them."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from rolldock.errors import UsageError
from rolldock.scripted.script import find_script, load_scripts

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "examples" / "scripts"


async def start(*arguments: str) -> asyncio.subprocess.Process:
    """The program with its output piped."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "rolldock.scripted",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_program_says_where_it_listens_and_stops_when_told() -> None:
    """Its first line is the address; SIGTERM ends it with exit code 0."""
    process = await start("--scripts", str(SCRIPTS))
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        assert line.startswith("listening on http://127.0.0.1:")
        async with httpx.AsyncClient() as client:
            reply = await client.get(line.split()[-1] + "/healthz")
        assert "hello-world" in reply.json()["scripts"]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_wrong_usage_is_one_line() -> None:
    """Exit code 2 and no traceback."""
    process = await start("--scripts", "/nowhere")
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert errors.decode().splitlines() == [
        "no such directory: /nowhere: give --scripts a directory of *.json"
    ]


BROKEN: list[tuple[Any, str]] = [
    ({"match": "x", "turns": []}, "turns"),
    ({"match": "x", "turns": [{"sya": "x"}]}, r"turns\.0"),
    ({"match": "x", "turns": [{}]}, "needs one of"),
    ({"match": "x", "turns": [{"run": "a", "error": {"status": 500}}]}, "only one of"),
    ({"turns": [{"say": "x"}]}, "match"),
    ("{", "the file"),
]


@pytest.mark.parametrize(("script", "message"), BROKEN)
def test_a_broken_script_is_named(tmp_path: Path, script: Any, message: str) -> None:
    """With the place in it."""
    content = script if isinstance(script, str) else json.dumps(script)
    (tmp_path / "broken.json").write_text(content)
    with pytest.raises(UsageError, match=rf"broken\.json: .*{message}"):
        load_scripts(tmp_path)


def test_a_directory_without_scripts_is_refused(tmp_path: Path) -> None:
    """A server that could answer nothing does not start."""
    with pytest.raises(UsageError, match="at least one script"):
        load_scripts(tmp_path)


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.json")))
def test_each_example_has_its_own_script(name: str) -> None:
    """The conversation that an example's instruction begins is the one of its name."""
    scripts = load_scripts(SCRIPTS)
    instruction = (ROOT / "examples" / "tasks" / name / "instruction.md").read_text()
    assert find_script(scripts, "any", instruction) == scripts[name]
    assert sum(script.match in instruction for script in scripts.values()) == 1
