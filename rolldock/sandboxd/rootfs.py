"""What a sandbox sees of the host's root: the upper directory of its overlay, made before boot.

Hidden directories are opaque directories of the upper layer: empty, writable and without a mount,
and nothing done inside can bring the host's content back. Hidden files are whiteouts. What the
host mounts below its root is not in the overlay at all.
"""

import os
import shutil
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rolldock.sandboxd.config import SandboxdConfig

STANDARD_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WORK_DIRECTORY: Final = "/app"
AGENTS_DIRECTORY: Final = "/opt/rolldock/agents"
_TOOLS_DIRECTORY: Final = "/opt/rolldock/bin"

_OWN_DIRECTORIES: Final[dict[str, int]] = {
    "/app": 0o755,
    "/home": 0o755,
    "/logs": 0o755,
    "/media": 0o755,
    "/mnt": 0o755,
    "/root": 0o700,
    "/run": 0o755,
    "/srv": 0o755,
    "/tmp": 0o1777,
    "/var/tmp": 0o1777,
}
"""Empty at the start, and made even where the host has none."""

_SUBDIRECTORIES: Final = (
    "/logs/agent",
    "/logs/artifacts",
    "/logs/verifier",
    "/opt/rolldock",
    "/run/lock",
)

_CREDENTIALS: Final = (
    "/boot",
    "/etc/apt/auth.conf",
    "/etc/apt/auth.conf.d",
    "/etc/cloud",
    "/etc/docker",
    "/etc/krb5.keytab",
    "/etc/kubernetes",
    "/etc/letsencrypt",
    "/etc/NetworkManager/system-connections",
    "/etc/rancher",
    "/etc/security/opasswd",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/wireguard",
    "/var/backups",
    "/var/lib/cloud",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/NetworkManager",
    "/var/lib/postgresql",
    "/var/lib/mysql",
    "/var/mail",
    "/var/spool/cron",
)
"""Hidden where the host has them: a directory becomes empty, a file is absent."""

_TOOLS: Final = ("python3", "node")
"""What tasks and agents expect; lent from a hidden directory if the host has them only there."""


class Mount(NamedTuple):
    """A path of the host that sandboxes see read-only."""

    source: Path
    target: str


class Directory(NamedTuple):
    """A directory of the upper layer."""

    path: str
    mode: int
    uid: int
    gid: int
    is_opaque: bool
    """Nothing of the host's directory shows through."""


class RootPlan(NamedTuple):
    """What every sandbox of this server gets; worked out once."""

    directories: tuple[Directory, ...]
    """Parents before what they hold."""
    whiteouts: tuple[str, ...]
    """Files of the host that are absent."""
    mounts: tuple[Mount, ...]
    path: str
    """The PATH of commands."""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Paths of the host of which sandboxes see nothing."""
        opaque = (directory.path for directory in self.directories if directory.is_opaque)
        return tuple(sorted([*opaque, *self.whiteouts]))


def plan_root(config: SandboxdConfig) -> RootPlan:
    """Look at the host and decide what is hidden and what is lent."""
    usual = (*_CREDENTIALS, *_home_directories(), *_OWN_DIRECTORIES)
    # What was asked for is hidden also where it does not exist yet: the host's root is live.
    asked = [*config.hidden, config.state_dir, *(path for path in usual if os.path.exists(path))]
    real = {Path(os.path.realpath(path)) for path in asked} - {Path("/")}
    hidden = sorted(path for path in real if real.isdisjoint(path.parents))
    whiteouts = [path for path in hidden if path.exists() and not path.is_dir()]
    mounts, tool_directories = _borrowed_tools(hidden)
    if config.agent_cache is not None:
        mounts = [*mounts, Mount(config.agent_cache.absolute(), AGENTS_DIRECTORY)]
    return RootPlan(
        directories=_directories([path for path in hidden if path not in whiteouts], whiteouts),
        whiteouts=tuple(map(str, whiteouts)),
        mounts=tuple(mounts),
        path=":".join([STANDARD_PATH, *tool_directories]),
    )


def _directories(opaque: Iterable[Path], whiteouts: Iterable[Path]) -> tuple[Directory, ...]:
    found: dict[Path, Directory] = {}

    def mirror_parents(path: Path) -> None:
        for parent in reversed(path.parents[:-1]):
            found.setdefault(parent, _mirrored(parent))

    for path in opaque:
        mirror_parents(path)
        found[path] = _mirrored(path)._replace(is_opaque=True)
    for text, mode in _OWN_DIRECTORIES.items():
        path = Path(os.path.realpath(text))
        mirror_parents(path)
        found[path] = Directory(str(path), mode, 0, 0, is_opaque=True)
    for text in _SUBDIRECTORIES:
        mirror_parents(Path(text))
        # Agents may run as another user than root.
        mode = 0o777 if text.startswith("/logs/") else 0o755
        found[Path(text)] = Directory(text, mode, 0, 0, is_opaque=False)
    for path in (*whiteouts, Path("/etc/any")):
        mirror_parents(path)
    return tuple(found.values())


def _mirrored(path: Path) -> Directory:
    """As the host has it; plain where the host has none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return Directory(str(path), 0o755, 0, 0, is_opaque=False)
    mode = stat.S_IMODE(status.st_mode)
    return Directory(str(path), mode, status.st_uid, status.st_gid, is_opaque=False)


def _home_directories() -> list[str]:
    """Home directories of people, wherever they are: those of users that may log in."""
    with open("/etc/passwd") as text:
        rows = [line.rstrip("\n").split(":") for line in text]
    homes = [row[5] for row in rows if len(row) == 7 and not row[6].endswith(("nologin", "false"))]
    # Service accounts live in directories that the system needs, such as /bin or /var.
    needed = ("/usr/", "/bin/", "/lib/", "/etc/")
    deep = [home for home in homes if home.count("/") >= 2 and not home.startswith(needed)]
    return ["/root", *deep]


def _borrowed_tools(hidden: Sequence[Path]) -> tuple[list[Mount], list[str]]:
    """Mounts and PATH entries for tools that the host has only in hidden directories."""
    mounts: list[Mount] = []
    directories: list[str] = []
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=STANDARD_PATH) is None]
    if "python3" in missing and _is_below(Path(sys.base_prefix), hidden):
        # A Python finds its library by where it stands: the whole prefix, at its own path.
        mounts.append(Mount(Path(sys.base_prefix), sys.base_prefix))
        directories.append(f"{sys.base_prefix}/bin")
    node = shutil.which("node")
    if "node" in missing and node is not None:
        # One file, never its prefix: that may be ~/.local with everything in it.
        mounts.append(Mount(Path(node).resolve(), f"{_TOOLS_DIRECTORY}/node"))
        directories.append(_TOOLS_DIRECTORY)
    return mounts, directories


def _is_below(path: Path, parents: Iterable[Path]) -> bool:
    real = path.resolve()
    return any(real.is_relative_to(parent) for parent in parents)


def make_upper(upper: Path, plan: RootPlan, name: str) -> None:
    """Fill the upper directory of a sandbox called `name`. Blocking: some milliseconds."""
    upper.mkdir()
    upper.chmod(0o755)
    for directory in plan.directories:
        path = f"{upper}{directory.path}"
        os.mkdir(path)
        os.chmod(path, directory.mode)
        if directory.uid or directory.gid:
            os.chown(path, directory.uid, directory.gid)
        if directory.is_opaque:
            # bwrap mounts with `userxattr`: the mark is among the attributes of users.
            os.setxattr(path, "user.overlay.opaque", b"y")
    for path in plan.whiteouts:
        os.mknod(f"{upper}{path}", stat.S_IFCHR, os.makedev(0, 0))
    _write_etc(upper, name)


def _write_etc(upper: Path, name: str) -> None:
    users, groups = _names("/etc/passwd"), _names("/etc/group")
    locked = "".join(f"{user}:*:19000:0:99999:7:::\n" for user in users)
    files = {
        "hostname": (f"{name}\n", 0o644),
        "hosts": (f"127.0.0.1 localhost {name}\n::1 localhost\n", 0o644),
        "resolv.conf": (_read("/etc/resolv.conf"), 0o644),
        "environment": ("", 0o644),
        "shadow": (locked, 0o640),
        "gshadow": ("".join(f"{group}:*::\n" for group in groups), 0o640),
        "shadow-": ("", 0o600),
        "gshadow-": ("", 0o600),
    }
    for file, (content, mode) in files.items():
        path = upper / "etc" / file
        path.write_text(content)
        path.chmod(mode)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _names(path: str) -> list[str]:
    return [line.split(":")[0] for line in _read(path).splitlines() if line]
