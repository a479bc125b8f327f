"""What a sandbox cannot do or see. Each case here was a way out of some sandbox once."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from rolldock.sandboxd.capabilities import CAPABILITY_MASK
from rolldock.sandboxd.network import GATEWAY_HOST, GATEWAY_PORT
from tests.eventually import eventually
from tests.sandboxd.support import CHECKOUT, Sdk, Server

_WRITE_BACK = "write_back() { read -r value < $1; echo $value > $1; }; write_back"
_STATUS = "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):'"


async def test_one_capability_set(sdk: Sdk, sandbox: str) -> None:
    """The first process, an entered command and a file operation all have the one constant."""
    first = await sdk.run(sandbox, f"{_STATUS} /proc/1/status")
    entered = await sdk.run(sandbox, f"{_STATUS} /proc/self/status")
    operation = (await sdk.client.read_file(sandbox, "/proc/self/status")).content
    expected = {
        "CapInh": "0" * 16,
        "CapPrm": f"{CAPABILITY_MASK:016x}",
        "CapEff": f"{CAPABILITY_MASK:016x}",
        "CapBnd": f"{CAPABILITY_MASK:016x}",
        "CapAmb": "0" * 16,
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    for status in (first, entered, operation):
        fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
        assert {name: fields[name] for name in expected} == expected


@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs none /mnt",
        "mount --bind /app /mnt",
        "umount /proc",
        "mknod /tmp/null c 1 3",
        "mknod /tmp/disk b 254 0",
        "unshare --user --map-root-user true",
        "unshare --mount true",
        "chroot /proc/1/root nsenter --target 1 --all true",
        "hostname other",
        "ip link add dummy0 type dummy",
        "dmesg",
        f"{_WRITE_BACK} /proc/sys/kernel/core_pattern",
        f"{_WRITE_BACK} /proc/sys/vm/swappiness",
        "exec 3>/proc/sysrq-trigger",
        "exec 3>/proc/mtrr",
        "python3 -c 'import time; time.clock_settime(0, time.clock_gettime(0))'",
        "keyctl show || grep -q . /proc/keys",
        "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
        "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'",
    ],
)
async def test_refused(sdk: Sdk, sandbox: str, command: str) -> None:
    """Root of a sandbox cannot mount, make devices or namespaces, or change the machine.

    Should one succeed by mistake, it changes nothing: values are written back as they were read.
    """
    assert (await sdk.client.execute_command(sandbox, command)).exit_code != 0


async def test_devices(sdk: Sdk, sandbox: str) -> None:
    """Only harmless devices exist, none of a disk, and one that is unpacked cannot be opened."""
    names = (await sdk.run(sandbox, "find /dev -type b -o -type c | sort")).split()
    harmless = {"full", "null", "ptmx", "random", "tty", "urandom", "zero"}
    assert {Path(name).name for name in names} <= harmless
    tar = "import tarfile; t = tarfile.TarInfo('/tmp/d'); t.type = tarfile.BLKTYPE; "
    tar += "t.devmajor, t.devminor = 254, 0; tarfile.open('/tmp/x.tar', 'w').addfile(t)"
    await sdk.run(sandbox, f'python3 -c "{tar}"')
    assert (await sdk.client.execute_command(sandbox, "tar -xPf /tmp/x.tar")).exit_code != 0


async def test_hidden_from_the_host(sdk: Sdk, server: Server, sandbox: str) -> None:
    """No home directory, credential, checkout or state of sandboxd shows through."""
    empty = ("/root", "/home", "/mnt", "/media", "/srv", "/var/tmp", str(CHECKOUT))
    for path in (*empty, "/etc/ssh"):
        assert await sdk.run(sandbox, f"ls -A {path} 2>/dev/null || true") == "", path
    state = server.config.state_dir
    assert (await sdk.client.execute_command(sandbox, f"test -e {state}")).exit_code != 0
    shadow = await sdk.run(sandbox, "cut -d: -f2 /etc/shadow | sort -u")
    assert shadow == "*\n"
    # Taking the cover away does not bring back what it covers.
    await sdk.run(sandbox, "rm -rf /root /etc/shadow /etc/ssh; mkdir /root /etc/ssh")
    assert await sdk.run(sandbox, "ls -A /root /etc/ssh | grep -v :; true") == "\n"
    assert (await sdk.client.execute_command(sandbox, "cat /etc/shadow")).exit_code != 0
    await sdk.run(sandbox, "mv /home /elsewhere && ls -A /elsewhere")


async def test_no_host_path_in_the_first_process(sdk: Sdk, server: Server, sandbox: str) -> None:
    """The first process shows no command line, environment or descriptor of the host."""
    shown = await sdk.run(sandbox, "cat /proc/1/cmdline /proc/1/environ | tr '\\0' ' '")
    assert str(server.config.state_dir) not in shown
    assert str(CHECKOUT) not in shown
    links = await sdk.run(sandbox, "readlink /proc/1/fd/*")
    assert set(links.split()) == {"/dev/null"}


async def test_the_host_is_not_written(sdk: Sdk, sandbox: str) -> None:
    """What a sandbox writes or removes anywhere stays in it."""
    await sdk.run(sandbox, "echo mine > /usr/bin/of-the-sandbox; rm /etc/passwd")
    assert "of-the-sandbox" not in os.listdir("/usr/bin")
    assert "passwd" in os.listdir("/etc")


async def test_sandboxes_do_not_see_each_other(sdk: Sdk, sandbox: str) -> None:
    """No file, process, port or shared memory of one sandbox is another's."""
    other = await sdk.create()
    await sdk.run(sandbox, "echo secret > /app/secret; echo secret > /dev/shm/secret")
    serve = "python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1 & sleep 0.1"
    await sdk.run(sandbox, serve)
    assert await sdk.run(other.id, "ls -A /app /dev/shm | grep -v :; true") == "\n"
    ask = "exec 3<>/dev/tcp/127.0.0.1/8123"
    assert (await sdk.client.execute_command(other.id, ask)).exit_code != 0
    assert "http.server" not in await sdk.run(other.id, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    await sdk.client.delete(other.id)


async def test_no_port_of_the_host(sdk: Sdk, server: Server, sandbox: str) -> None:
    """Neither sandboxd nor another listener of this machine answers, on TCP or abstract sockets."""
    port = int(server.url.rpartition(":")[2])
    ask = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
    assert (await sdk.client.execute_command(sandbox, ask)).exit_code != 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0rolldock-test")
        listener.listen()
        connect = "import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + 'rolldock-test')"
        reply = await sdk.client.execute_command(sandbox, f'python3 -c "{connect}"')
    assert "ConnectionRefusedError" in reply.stderr
    interfaces = await sdk.run(sandbox, "tail -n +3 /proc/net/dev | cut -d: -f1")
    assert interfaces.split() == ["lo"]


async def test_the_gateway_is_reached(sdk: Sdk, sandbox: str) -> None:
    """The gateway answers at its fixed address, also after the client closed its half."""
    program = (
        f"import socket; s = socket.create_connection(('{GATEWAY_HOST}', {GATEWAY_PORT})); "
        "s.sendall(b'x' * 1000000); s.shutdown(socket.SHUT_WR); "
        "print(len(b''.join(iter(lambda: s.recv(65536), b''))))"
    )
    expected = len("gateway got ") + 1000000
    assert await sdk.run(sandbox, f'python3 -c "{program}"') == f"{expected}\n"


async def test_a_replaced_setpriv_gains_nothing(sdk: Sdk, sandbox: str) -> None:
    """Replacing programs and loaders that an entering process might run changes nothing."""
    script = "#!/bin/sh\\nexec cat /proc/self/status\\n"
    await sdk.run(sandbox, "cp /bin/bash /bin/real-bash; cp /bin/cat /bin/real-cat")
    for path in ("/usr/bin/setpriv", "/usr/bin/nsenter", "/usr/bin/python3.11", "/usr/bin/env"):
        await sdk.run(sandbox, f"rm -f {path}; printf '{script}' > {path}; chmod 755 {path}")
    await sdk.run(sandbox, "printf '#!/bin/real-bash\\nreal-cat /proc/self/status\\n' > /bin/b2")
    await sdk.run(sandbox, "chmod 755 /bin/b2; mv -f /bin/b2 /bin/bash")
    status = await sdk.run(sandbox, "ignored")
    fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert fields["CapEff"] == f"{CAPABILITY_MASK:016x}"
    assert fields["NoNewPrivs"] == "1"


async def test_replaced_libraries_gain_nothing(sdk: Sdk, sandbox: str) -> None:
    """Without the loader and libc of the sandbox, file operations work all the same."""
    await sdk.run(
        sandbox, "echo hosts: evil > /etc/nsswitch.conf; rm -f /lib/x86_64-linux-gnu/libc.so.6"
    )
    assert (await sdk.client.execute_command(sandbox, "true")).exit_code != 0
    await sdk.client.upload_bytes(sandbox, "/app/note", b"works", "note")
    assert (await sdk.client.read_file(sandbox, "/app/note")).content == "works"


async def test_links_lead_to_the_sandbox(sdk: Sdk, sandbox: str, tmp_path: Path) -> None:
    """Uploads, downloads and reads through links and /proc end in the sandbox, not on the host."""
    target = tmp_path / "of-the-host"
    target.write_text("host")
    await sdk.run(sandbox, f"ln -s {target} /app/link; ln -s / /app/root; mkdir -p {tmp_path}")
    await sdk.client.upload_bytes(sandbox, "/app/link", b"sandbox", "link")
    await sdk.client.upload_bytes(sandbox, f"/proc/1/root{target}", b"sandbox", "link")
    await sdk.client.upload_bytes(sandbox, f"/app/root/../../..{target}", b"sandbox", "link")
    assert target.read_text() == "host"
    assert (await sdk.client.read_file(sandbox, "/app/link")).content == "sandbox"
    shadow = (await sdk.client.read_file(sandbox, "/proc/self/root/etc/shadow")).content
    assert "$" not in shadow


async def test_the_entering_process_cannot_be_inspected(sdk: Sdk, sandbox: str) -> None:
    """While an upload waits inside, root of the sandbox can read neither its memory nor files."""
    auth = await sdk.client.client.request("POST", f"/sandbox/{sandbox}/auth")
    is_inspected = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhalf'
        await is_inspected.wait()
        yield b"full\r\n--x--\r\n"

    async def upload() -> int:
        url = f"{auth['gateway_url']}/local/{sandbox}/upload"
        headers = {
            "Authorization": f"Bearer {auth['token']}",
            "Content-Type": "multipart/form-data; boundary=x",
        }
        async with httpx.AsyncClient(params={"path": "/app/slow"}, headers=headers) as http:
            return (await http.post(url, content=body())).status_code

    uploading = asyncio.create_task(upload())
    find = "grep -al inside.server /proc/[0-9]*/cmdline | grep -v self | cut -d/ -f3"

    async def is_inside() -> bool:
        return (await sdk.run(sandbox, f"{find}; true")) != ""

    await eventually(is_inside, "the upload is inside")
    inside = (await sdk.run(sandbox, find)).strip()
    for look in ("cat {}/environ", "ls {}/fd/", "head -c 1 {}/maps", "head -c 1 {}/mem"):
        command = look.format(f"/proc/{inside}") + " | grep -q ."
        assert (await sdk.client.execute_command(sandbox, command)).exit_code != 0, look
    is_inspected.set()
    assert await uploading == 200
    assert await sdk.run(sandbox, "cat /app/slow") == "halffull"


async def test_records_are_for_root_alone(server: Server, sandbox: str) -> None:
    """Records on disk hold environments: nobody else may read them."""
    state = server.config.state_dir
    record = os.stat(state / "sandboxes" / sandbox / "record.json")
    assert (record.st_mode & 0o077, os.stat(state).st_mode & 0o077) == (0, 0)
