"""What goes wrong around agents: leaking variables, silent agents, mangled instructions."""

import json
import os
from pathlib import Path

import pytest
from pydantic import JsonValue

from rolldock.cli.stack.stack import Stack
from rolldock.gateway.rebuild import Rebuilder
from rolldock.gateway.session_log import SessionLog
from rolldock.gateway.tokens import sign_session
from rolldock.models.failure import Cause
from rolldock.models.result import RolloutResult, Stage, Status, StopReason
from rolldock.trainer.client import Client
from tests.agent_cache import installed
from tests.e2e.runs import HELLO, LONG_WAIT, sha256
from tests.e2e.waiting import waiting_rollout

SOLVE = "printf 'Hello, world!\\n' > hello.txt"
CALL = """
import json, os, urllib.request as http
said = {"role": "user", "content": "Good morning"}
key = "Bearer " + os.environ["ROLLDOCK_API_KEY"]
request = http.Request(
    os.environ["ROLLDOCK_BASE_URL"] + "/chat/completions",
    json.dumps({"model": os.environ["ROLLDOCK_MODEL"], "messages": [said]}).encode(),
    {"content-type": "application/json", "authorization": key},
)
http.build_opener(http.ProxyHandler({})).open(request).read()
"""
CALL_MODEL = 'python3 "$ROLLDOCK_AGENT_HOME/call.py"'
KEY_FILE = "/tmp/key-of-the-agent"
SPY = f"""
(umask 077; printf '%s\\n' "$ROLLDOCK_API_KEY" > {KEY_FILE})
cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' > /tmp/command-lines
grep -q call.py /tmp/command-lines || exit 41
! grep -qF -f {KEY_FILE} /tmp/command-lines || exit 42
! compgen -G '/tmp/job_*.env' || exit 43
! compgen -G '/tmp/rolldock-upload-*' || exit 44
"""
"""An agent that looks for its own token: on command lines, and in what its launch may have left."""
DUMP = """#!/bin/bash
env > /logs/verifier/env.txt
cat /proc/[0-9]*/environ | tr '\\0' '\\n' > /logs/verifier/environments.txt
echo 1 > /logs/verifier/reward.txt
"""

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the bubblewrap backend needs root"),
]


def make_task(directory: Path, instruction: bytes, test: str) -> Path:
    """A task directory."""
    (directory / "tests").mkdir(parents=True)
    (directory / "instruction.md").write_bytes(instruction)
    (directory / "tests" / "test.sh").write_text(test)
    (directory / "tests" / "test.sh").chmod(0o755)
    config = '[environment]\nnetwork_mode = "no-network"\n'
    (directory / "task.toml").write_text(f'schema_version = "1.4"\n{config}')
    return directory


def program(run: str) -> dict[str, JsonValue]:
    """Options of a program that speaks chat completions and has a script for one call."""
    return {"run": run, "programs": {"call.py": CALL}}


async def run_command(
    client: Client, task: Path, options: dict[str, JsonValue], env: dict[str, str] | None = None
) -> RolloutResult:
    """One rollout of a program to its result."""
    spec = await client.spec(
        task, agent="command", agent_options=options, agent_env=env, endpoint="scripted"
    )
    return await (await client.start(spec)).result()


async def kept(client: Client, result: RolloutResult, name: str) -> bytes:
    """An artifact's content."""
    (artifact,) = [artifact for artifact in result.artifacts if artifact.name == name]
    return await client.store.get_blob(artifact.digest)


async def token_of(stack: Stack, client: Client, attempt: str) -> str:
    """The session token of an attempt, made again."""
    session = await SessionLog(client.store, attempt).session()
    assert session is not None
    return sign_session(stack.settings.read_secret(), attempt, session.expires_at)


async def test_nothing_of_the_agents_environment_reaches_the_verifier(
    stack: Stack, client: Client, tmp_path: Path
) -> None:
    """Neither its variables nor its token: not in the tests' variables, nor in any process's."""
    task = make_task(tmp_path / "dump", b"Say good morning.", DUMP)
    env = {name: f"canary-{name}" for name in ("HTTPS_PROXY", "https_proxy", "MY_API_KEY")}
    check = 'test "$MY_API_KEY$https_proxy" = canary-MY_API_KEYcanary-https_proxy && '
    result = await run_command(client, task, program(check + CALL_MODEL), env)
    assert (result.status, result.stop_reason) == (Status.COMPLETED, StopReason.AGENT_COMPLETED)
    assert result.trace is not None
    token = await token_of(stack, client, (await client.trace(result.rollout)).attempt)
    for name in ("verifier/env.txt", "verifier/environments.txt"):
        content = (await kept(client, result, name)).decode()
        assert "PATH=" in content
        assert "canary-" not in content
        assert "ROLLDOCK_BASE_URL" not in content
        assert "_API_KEY" not in content
        assert token not in content


@pytest.mark.parametrize("end", ["exit 0", "exit 7", "kill -SEGV $BASHPID"])
async def test_an_agent_that_ends_before_its_first_turn_has_no_reward(
    client: Client, end: str
) -> None:
    """However it ends, and although the task is solved: `no_model_call`, and no new attempt."""
    result = await run_command(client, HELLO, program(f"{SOLVE}; {end}"))
    assert (result.status, result.reward, result.reward_valid) == (Status.FAILED, None, False)
    assert result.failure is not None
    assert (result.failure.stage, result.failure.cause) == (Stage.STOP_AGENT, Cause.NO_MODEL_CALL)
    assert len(result.attempts) == 1
    assert "agent-stdout.log" in {artifact.name for artifact in result.artifacts}


@pytest.mark.parametrize(("work", "reward"), [(SOLVE, 1.0), ("true", 0.0)])
async def test_an_agent_that_crashes_after_a_turn_is_graded(
    client: Client, work: str, reward: float
) -> None:
    """`agent_error`, with whatever reward its work is worth."""
    result = await run_command(
        client, HELLO, program(f"{CALL_MODEL} && {work}; kill -SEGV $BASHPID")
    )
    assert (result.status, result.reward) == (Status.COMPLETED, reward), result.failure
    assert result.stop_reason is StopReason.AGENT_ERROR
    assert result.trace is not None
    assert result.trace.n_turns == 1


AWKWARD = (
    "Create a file named `hello.txt` in the current directory.\r\n"
    'It\'s "quoted" `and` $HOME ${base_url} $(false) \\n {env:HOME} {{x}} %s\t!\r\n\n'
    "Ελληνικά, русский, 日本語, العربية, 👩‍🔬, e\u0301.\u2028 --help\n\n  "
)
LONG = (AWKWARD + "Every line counts: \\ ' \" ` 汉字.\n" * 4500).rstrip() + "\n\n"


@pytest.mark.parametrize("text", [AWKWARD, LONG], ids=["awkward", "200 KB"])
@pytest.mark.parametrize("agent", ["bash", "command"])
async def test_an_instruction_arrives_byte_for_byte(
    client: Client, tmp_path: Path, agent: str, text: str
) -> None:
    """As a file for a program, as the first message of the model's conversation."""
    instruction = text.encode()
    task = make_task(tmp_path / "awkward", instruction, (HELLO / "tests" / "test.sh").read_text())
    copy = f'cp "$ROLLDOCK_INSTRUCTION_FILE" /logs/artifacts/copy; {CALL_MODEL}; {SOLVE}'
    options = {} if agent == "bash" else program(copy)
    spec = await client.spec(task, agent=agent, agent_options=options, endpoint="scripted")
    result = await (await client.start(spec)).result()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    if agent == "command":
        (artifact,) = [one for one in result.artifacts if one.name == "artifacts/copy"]
        assert artifact.digest == sha256(instruction)
        return
    trace = await client.trace(result.rollout)
    request = await Rebuilder(client.store, trace.attempt, trace.turns).request(0)
    assert json.loads(request)["messages"][1]["content"] == text


async def test_a_token_is_on_no_command_line_and_its_file_is_gone(client: Client) -> None:
    """The agent itself looks, while it runs."""
    sleeper = "bash -c 'exec sleep 100' call.py & "
    result = await run_command(client, HELLO, program(f"{sleeper}{SPY}{CALL_MODEL} && {SOLVE}"))
    logs = {artifact.name for artifact in result.artifacts}
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), (result.failure, logs)
    assert result.stop_reason is StopReason.AGENT_COMPLETED


@pytest.mark.parametrize(
    "agent",
    [
        "bash",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("opencode", "claude-code", "codex")
        ),
    ],
)
async def test_a_working_agents_token_is_on_no_command_line(
    stack: Stack, client: Client, agent: str
) -> None:
    """Looked at from outside while the model's command runs, which does not have it either."""
    spec = await client.spec(LONG_WAIT, agent=installed(agent), endpoint="scripted")
    async with waiting_rollout(stack, client, spec) as waiting:
        token = await token_of(stack, client, waiting.attempt)
        lines = await waiting.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        commands = 'for p in $(pgrep -f "sleep 0.1"); do cat /proc/$p/environ; done'
        inherited = await waiting.run(f"{commands} | tr '\\0' '\\n'")
    assert "/tmp/waiting" in lines
    assert token not in lines
    assert "PATH=" in inherited
    assert token not in inherited
