"""Commands through the SDK: output, exit codes, users, deadlines, cancellation, live processes."""

import asyncio
import os
import time

import pytest
from prime_sandboxes import APIError, CommandTimeoutError
from prime_sandboxes.exceptions import SandboxNotRunningError

from tests.eventually import eventually
from tests.sandboxd.support import Sdk, Server, has_ended, processes_with, read_proc


async def test_output_and_exit_code(sdk: Sdk, sandbox: str) -> None:
    """Standard output, standard error and the exit code come back apart."""
    result = await sdk.client.execute_command(sandbox, "echo out; echo err >&2; exit 7")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 7)


async def test_death_by_signal_is_128_and_its_number(sdk: Sdk, sandbox: str) -> None:
    """A command that a signal ends has the shell's exit code for it."""
    result = await sdk.client.execute_command(sandbox, "kill -TERM $$")
    assert result.exit_code == 128 + 15


async def test_much_output_arrives_whole(sdk: Sdk, sandbox: str) -> None:
    """Output far larger than any buffer is neither cut nor reordered."""
    text = await sdk.run(sandbox, "seq 1 300000")
    assert text == "".join(f"{number}\n" for number in range(1, 300001))


async def test_environment_directory_and_home(sdk: Sdk) -> None:
    """A command has the sandbox's variables, its own over them, its directory, and a clean rest."""
    made = await sdk.create(environment_vars={"A": "sandbox", "B": "sandbox"}, secrets={"C": "s"})
    text = await sdk.run(made.id, "echo $A $B $C $HOME $PWD", env={"B": "command"})
    assert text == "sandbox command s /root /app\n"
    assert await sdk.run(made.id, "pwd", working_dir="/usr/lib") == "/usr/lib\n"
    names = {line.partition("=")[0] for line in (await sdk.run(made.id, "env")).splitlines()}
    own = {"A", "B", "C", "HOME", "LANG", "LOGNAME", "PATH", "ROLLDOCK_COMMAND", "USER"}
    assert names == own | {"PWD", "SHLVL", "_"}
    assert (await sdk.client.get(made.id)).secrets is None
    await sdk.client.delete(made.id)


async def test_users_by_name_and_number(sdk: Sdk, sandbox: str) -> None:
    """A command runs as a user of the sandbox, also one that the sandbox made itself."""
    await sdk.run(sandbox, "useradd -u 4321 -m -d /home/ada ada && usermod -aG audio ada")
    assert await sdk.run(sandbox, "id -un; echo $HOME", user="ada") == "ada\n/home/ada\n"
    assert "audio" in await sdk.run(sandbox, "id -Gn", user="ada")
    status = await sdk.run(sandbox, "grep -E 'Cap(Prm|Eff)' /proc/self/status", user="4321")
    assert {line.split()[1] for line in status.splitlines()} == {"0" * 16}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"user": "nobody-here"}, "no user"), ({"working_dir": "/no/such"}, "working directory")],
)
async def test_what_cannot_start_says_why(
    sdk: Sdk, sandbox: str, options: dict[str, str], message: str
) -> None:
    """An unknown user and a missing directory are errors of the call, not exit codes."""
    with pytest.raises(APIError, match=message):
        await sdk.client.execute_command(sandbox, "true", **options)  # pyright: ignore[reportArgumentType] both are str


async def test_a_detached_child_does_not_hold_the_command(sdk: Sdk, sandbox: str) -> None:
    """A command ends when its process ends, though a child keeps the pipe open; the child lives."""
    began = time.monotonic()
    text = await sdk.run(sandbox, "sleep 300 & echo $!")
    assert time.monotonic() - began < 3
    assert await sdk.run(sandbox, f"cat /proc/{text.strip()}/comm") == "sleep\n"


async def test_timeout_ends_everything_the_command_started(sdk: Sdk, sandbox: str) -> None:
    """At its deadline a command is killed with children that left its group and its tree."""
    earlier = (await sdk.run(sandbox, "setsid sleep 301 >/dev/null 2>&1 & echo $!")).strip()
    command = "setsid -f sleep 302; (sleep 303 &); sleep 304"
    with pytest.raises(CommandTimeoutError):
        await sdk.client.execute_command(sandbox, command, timeout=1)

    async def only_the_earlier() -> bool:
        return (await sdk.run(sandbox, "pgrep -x sleep | grep -vx 1")).split() == [earlier]

    await eventually(only_the_earlier, "only what an earlier command left is alive")


async def test_cancelling_the_call_ends_the_command(sdk: Sdk, sandbox: str) -> None:
    """A client that goes away takes its command with it."""
    call = asyncio.create_task(sdk.client.execute_command(sandbox, "touch /tmp/on; sleep 4711"))

    async def is_on() -> bool:
        return (await sdk.client.execute_command(sandbox, "test -e /tmp/on")).exit_code == 0

    await eventually(is_on, "the command runs")
    call.cancel()
    # The SDK turns a cancellation into an APIError.
    await asyncio.gather(call, return_exceptions=True)
    await eventually(lambda: not processes_with(b"sleep\0004711"), "the command is gone")


async def test_deleting_under_a_command_is_not_running(sdk: Sdk) -> None:
    """A command whose sandbox is deleted fails as such, not with exit code 137."""
    made = await sdk.create()
    call = asyncio.create_task(sdk.client.execute_command(made.id, "sleep 4712"))
    await eventually(lambda: bool(processes_with(b"sleep\0004712")), "the command runs")
    await sdk.client.delete(made.id)
    with pytest.raises(SandboxNotRunningError):
        await call
    with pytest.raises(SandboxNotRunningError):
        await sdk.client.execute_command(made.id, "true")


async def test_live_process_reads_input_and_signals(sdk: Sdk, sandbox: str) -> None:
    """A live process answers its input, and SIGTERM reaches a trap."""
    command = "trap 'echo bye; exit 5' TERM; echo up; while read line; do echo got $line; done"
    process = await sdk.client.open_process(sandbox, command)
    assert await anext(process.stdout) == b"up\n"
    await process.write_stdin(b"one\n")
    assert await anext(process.stdout) == b"got one\n"
    await process.terminate()
    assert await process.wait() == 5
    await process.aclose()


async def test_killing_a_live_process_takes_its_children(sdk: Sdk, sandbox: str) -> None:
    """SIGKILL to a session also ends children that made sessions of their own."""
    process = await sdk.client.open_process(sandbox, "setsid -f sleep 4713; echo up; sleep 4714")
    assert await anext(process.stdout) == b"up\n"
    await process.kill()
    assert await process.wait() == 128 + 9
    await process.aclose()
    await eventually(lambda: not processes_with(b"sleep\000471"), "no child is left")


async def test_fifty_commands_at_once(sdk: Sdk, sandbox: str) -> None:
    """Commands do not wait for each other."""
    results = await asyncio.gather(*(sdk.run(sandbox, f"echo {n}") for n in range(50)))
    assert [int(text) for text in results] == list(range(50))


async def test_the_entrance_comes_back(sdk: Sdk, server: Server, sandbox: str) -> None:
    """A killed fork server is replaced with the next command; what it started goes on."""
    process = await sdk.client.open_process(sandbox, "read line; exit 6")
    assert server.process is not None
    parent = b"\nPPid:\t%d\n" % server.process.pid
    servers = processes_with(b"rolldock.sandboxd.inside.server")
    [own] = [pid for pid in servers if parent in read_proc(pid, "status")]
    os.kill(own, 9)
    await eventually(lambda: has_ended(own), "the fork server has let go of its socket")
    assert await sdk.run(sandbox, "echo still here") == "still here\n"
    await process.write_stdin(b"\n")
    assert await process.wait() == 6
    await process.aclose()
