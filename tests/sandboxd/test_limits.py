"""What a sandbox may use: memory, processor time, processes, and what is left of its groups."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from anyio import Path as AsyncPath
from prime_sandboxes import APIError, SandboxOOMError
from prime_sandboxes.exceptions import SandboxTimeoutError

from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.sandbox.faults import sandbox_faults
from rolldock.sandboxd.cgroups import Groups
from rolldock.sandboxd.cgroups_hierarchy import Controller
from tests.eventually import eventually
from tests.sandboxd.support import API_KEY, Connect, Server

_GB = 1 << 30
_EAT = "python3 -c 'x = bytearray(400 << 20); x[::4096] = b\"x\" * len(x[::4096])'"
"""Takes 400 MiB and touches every page of it."""


def _group_directories(sandbox_id: str) -> list[Path]:
    """Where the group of a sandbox is, in whatever hierarchy."""
    roots = ("*", "*/*", "*/*/*")
    return [it for root in roots for it in Path("/sys/fs/cgroup").glob(f"{root}/{sandbox_id}")]


def _read(sandbox_id: str, *names: str) -> str:
    """The first of some files that the groups of a sandbox have."""
    paths = [it / name for name in names for it in _group_directories(sandbox_id)]
    return next(path for path in paths if path.exists()).read_text().strip()


async def _create_short_lived(server: Server, seconds: float) -> str:
    """A sandbox with a lifetime in fractions of a minute, which the SDK's model does not allow."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    body = {"name": "short", "docker_image": "host", "timeout_minutes": seconds / 60}
    async with httpx.AsyncClient(base_url=f"{server.url}/api/v1", headers=headers) as client:
        answer = await client.post("/sandbox", json={**body, "network_allowlist": []}, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="session")
def enforced(tmp_path_factory: pytest.TempPathFactory) -> frozenset[Controller]:
    """The controllers of this machine that can be used."""
    groups = Groups(tmp_path_factory.mktemp("probe"))
    groups.open()
    try:
        return groups.controllers
    finally:
        groups.close()


def _require(enforced: frozenset[Controller], *names: Controller) -> None:
    lacking = sorted(set(names) - enforced)
    if lacking:
        pytest.skip(f"no cgroup controller can be used here for {', '.join(lacking)}")


@pytest.fixture
def memory(enforced: frozenset[Controller]) -> None:
    """Skips where memory cannot be limited."""
    _require(enforced, Controller.MEMORY)


@pytest.fixture
def every_limit(enforced: frozenset[Controller]) -> None:
    """Skips where one of the limits cannot be had."""
    _require(enforced, *Controller)


@pytest.fixture
def limited(own_server: Server) -> Server:
    """A sandboxd with room for few processes in each sandbox."""
    own_server.config = own_server.config.model_copy(update={"max_processes": 64})
    own_server.start()
    return own_server


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("command", [_EAT, f"{_EAT}; echo went on"], ids=["command", "child"])
async def test_out_of_memory(limited: Server, connect: Connect, command: str) -> None:
    """A command over the limit ends its sandbox as the SDK's OOM; its neighbour is untouched."""
    sdk = await connect(limited)
    small, neighbour = await asyncio.gather(sdk.create(memory_gb=0.2), sdk.create(memory_gb=1))
    with pytest.raises(SandboxOOMError):
        await sdk.client.execute_command(small.id, command)
    with pytest.raises(StageError) as caught:
        async with sandbox_faults(Cause.INTERNAL):
            await sdk.client.execute_command(small.id, "true")
    assert caught.value.cause == Cause.SANDBOX_OOM
    found = await sdk.client.get(small.id)
    assert (found.status, found.error_type) == ("ERROR", "OOM_KILLED")
    assert await sdk.run(neighbour.id, f"{_EAT} && echo fine") == "fine\n"


@pytest.mark.usefixtures("memory")
async def test_a_job_out_of_memory_has_no_exit_code(limited: Server, connect: Connect) -> None:
    """A detached job that is killed for memory is never seen as exit code 137."""
    sdk = await connect(limited)
    made = await sdk.create(memory_gb=0.2)
    job = await sdk.client.start_background_job(made.id, _EAT)

    async def is_refused() -> bool:
        try:
            [status] = await sdk.client.get_background_job_statuses([job])
        except APIError as error:
            return "is not running" in str(error)
        assert not status.completed
        return False

    await eventually(is_refused, "the sandbox has ended")
    with pytest.raises(SandboxOOMError):
        await sdk.client.execute_command(made.id, "true")


@pytest.mark.usefixtures("memory")
async def test_out_of_memory_that_nobody_asks_for(limited: Server, connect: Connect) -> None:
    """A sandbox whose process is killed for memory ends although no call looks at it."""
    sdk = await connect(limited)
    made = await sdk.create(memory_gb=0.2)
    await sdk.run(made.id, f"(sleep 0.3; {_EAT}) > /dev/null 2>&1 &")
    await eventually(lambda: limited.records() == [], "the sandbox has ended")
    assert (await sdk.client.get(made.id)).error_type == "OOM_KILLED"


@pytest.mark.usefixtures("memory")
async def test_out_of_memory_while_sandboxd_is_down(limited: Server, connect: Connect) -> None:
    """The next sandboxd reads from the group what the last one did not see."""
    sdk = await connect(limited)
    made = await sdk.create(memory_gb=0.2)
    await sdk.client.start_background_job(
        made.id, f"until test -e /go; do sleep 0.05; done; {_EAT}"
    )
    [record] = limited.records()
    limited.end(signal.SIGKILL)
    await AsyncPath(f"/proc/{record['process']['pid']}/root/go").touch()
    counters = ("memory.oom_control", "memory.events")
    await eventually(lambda: "oom_kill 1" in _read(made.id, *counters), "a process was killed")
    limited.start()
    sdk = await connect(limited)
    await eventually(lambda: limited.records() == [], "the sandbox has ended")
    assert (await sdk.client.get(made.id)).error_type == "OOM_KILLED"
    assert _group_directories(made.id) == []


@pytest.mark.usefixtures("every_limit")
async def test_a_fork_bomb_stays_in_its_sandbox(limited: Server, connect: Connect) -> None:
    """Forks fail at the limit; sandboxd, other sandboxes and new commands go on."""
    sdk = await connect(limited)
    bombed, neighbour = await asyncio.gather(sdk.create(cpu_cores=0.2), sdk.create())
    await sdk.run(bombed.id, "(bomb() { bomb | bomb & }; bomb) > /dev/null 2>&1 &")
    refusals = "pids.events"
    await eventually(lambda: not _read(bombed.id, refusals).endswith(" 0"), "a fork was refused")
    assert int(_read(bombed.id, "pids.current")) <= 64 + 1
    assert await sdk.run(neighbour.id, "echo fine | cat") == "fine\n"
    assert await sdk.run(bombed.id, "echo entered") == "entered\n"
    await sdk.client.delete(bombed.id)
    assert _group_directories(bombed.id) == []


@pytest.mark.usefixtures("every_limit")
async def test_limits_are_written(limited: Server, connect: Connect) -> None:
    """Memory without swap, the processor's quota and the process limit are as asked."""
    sdk = await connect(limited)
    made = await sdk.create(memory_gb=0.5, cpu_cores=1.5)
    assert _read(made.id, "memory.limit_in_bytes", "memory.max") == str(_GB // 2)
    assert _read(made.id, "cpu.cfs_quota_us", "cpu.max") in ("150000", "150000 100000")
    assert _read(made.id, "pids.max") == "64"
    swap = [it / "memory.memsw.limit_in_bytes" for it in _group_directories(made.id)]
    assert [it.read_text().strip() for it in swap if it.exists()] in ([], [str(_GB // 2)])


@pytest.mark.usefixtures("every_limit")
async def test_everything_is_in_the_group(limited: Server, connect: Connect) -> None:
    """The first process, a command, its children and a job are in every group of the sandbox."""
    sdk = await connect(limited)
    made = await sdk.create()
    job = await sdk.client.start_background_job(made.id, "cat /proc/self/cgroup; sleep 60")
    n_groups = len(_group_directories(made.id))
    shown = await sdk.run(made.id, "cat /proc/1/cgroup; bash -c 'cat /proc/self/cgroup; :'")
    assert shown.count(made.id) == 2 * n_groups, shown

    async def job_shows_it() -> bool:
        return (await sdk.run(made.id, f"cat {job.stdout_log_file}")).count(made.id) == n_groups

    await eventually(job_shows_it, "the job is in the groups")
    assert await sdk.run(made.id, "grep -c cgroup /proc/self/mounts || true") == "0\n"


@pytest.mark.usefixtures("every_limit")
async def test_groups_end_with_their_sandbox(limited: Server, connect: Connect) -> None:
    """Deleted or at the end of its lifetime, a sandbox leaves no group."""
    sdk = await connect(limited)
    deleted = await sdk.create()
    assert len(_group_directories(deleted.id)) >= 1
    await sdk.run(deleted.id, "setsid -f sleep 4719")
    await sdk.client.delete(deleted.id)
    assert _group_directories(deleted.id) == []
    short_lived = await _create_short_lived(limited, seconds=0.6)
    await eventually(lambda: _group_directories(short_lived) == [], "its lifetime is over")
    with pytest.raises(SandboxTimeoutError):
        await sdk.client.execute_command(short_lived, "true")


@pytest.mark.usefixtures("every_limit")
async def test_groups_outlive_sandboxd(limited: Server, connect: Connect) -> None:
    """After kill -9 the next one adopts the groups of the living and removes those of the dead."""
    sdk = await connect(limited)
    kept, dead = await asyncio.gather(sdk.create(), sdk.create())
    pids = {record["id"]: record["process"]["pid"] for record in limited.records()}
    limited.end(signal.SIGKILL)
    os.kill(pids[dead.id], signal.SIGKILL)
    parents = {it.parent for it in _group_directories(kept.id)}
    for parent in parents:
        (parent / "0123").mkdir()
    limited.start()
    sdk = await connect(limited)
    assert {it.name for parent in parents for it in parent.iterdir() if it.is_dir()} == {kept.id}
    assert kept.id in await sdk.run(kept.id, "cat /proc/self/cgroup")
    await sdk.client.delete(kept.id)
    assert _group_directories(kept.id) == []
    assert limited.end(signal.SIGTERM) == 0
    assert [it for it in parents if it.exists()] == []


async def test_a_limit_that_cannot_be_enforced(own_server: Server, connect: Connect) -> None:
    """Where no hierarchy is mounted, each limit has a line at start, and sandboxes run as ever."""
    hide = f"umount -R -l /sys/fs/cgroup && exec {sys.executable} -m rolldock.sandboxd"
    program = f"import os; os.execvp('unshare', ['unshare', '-m', 'sh', '-c', {hide!r}])"
    own_server.start("-c", program, stderr=subprocess.PIPE)
    assert own_server.process is not None
    assert own_server.process.stderr is not None
    with own_server.process.stderr as errors:
        lines = [errors.readline() for _ in range(4)]
    for line, limit in zip(
        lines, ("memory_gb", "cpu_cores", "the number of processes", "disk_size_gb"), strict=True
    ):
        assert line.startswith(f"sandboxd: {limit} is not enforced: "), line
    sdk = await connect(own_server)
    made = await sdk.create(memory_gb=0.2)
    assert await sdk.run(made.id, f"{_EAT}; echo went on") == "went on\n"
    assert _group_directories(made.id) == []
