"""Copies the Python that runs it, and programs given to it, with every library that they load.

    python -I python_copy.py --patchelf PATCHELF --to DIRECTORY [--program FILE [--terminfo]]

Part of the install scripts of agents that bring their own Python; it imports nothing of ours. What
it leaves runs wherever the directory is moved to, and finds its libraries beside it without a
variable, which the commands of an agent would inherit. Of the machine that it runs on then it
needs the C library, of the version here or a later one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

LEFT_OUT = (
    "__pycache__",
    "config-*",
    "dist-packages",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "tkinter",
    "turtledemo",
    "_ctypes_test.*",
    "_test*.so",
    "_tkinter.*",
    "_xxtestfuzz.*",
    "xxlimited*",
    "xxsubtype.*",
)
"""What no agent imports; `config-*` is for embedding Python in other programs."""

C_LIBRARY = re.compile(
    r"(ld-|ld64|ld-linux|linux-|libc\.|libc-|libm\.|libmvec|libdl\.|libpthread\.|librt\.|"
    r"libutil\.|libresolv\.|libnsl\.|libanl\.|libnss_|libcrypt\.|libBrokenLocale)"
)
"""The loader and what must be of one piece with it."""

TERMINFO = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo")
TERMINALS = ("s/screen", "s/screen-256color", "t/tmux", "t/tmux-256color", "x/xterm-256color")


class Copier:
    """Copies files that the loader reads, and what they need, below one directory."""

    def __init__(self, patchelf: str, directory: Path) -> None:
        self._patchelf = patchelf
        self._libraries = directory / "lib"
        self._libraries.mkdir(parents=True, exist_ok=True)

    def add(self, source: Path, target: Path) -> None:
        """Copy a program or a library to `target`, and its libraries to `lib`."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=True)
        target.chmod(0o755)
        needed = libraries_of(source)
        # Before the search path is set: stripping may undo what patchelf moves.
        self._strip(target)
        self._search(target)
        for name, path in needed.items():
            copied = self._libraries / name
            if not copied.exists():
                shutil.copy2(os.path.realpath(path), copied)
                copied.chmod(0o755)
                self._strip(copied)
                self._search(copied)

    def _search(self, file: Path) -> None:
        """Make a file look for its libraries in `lib`, wherever both are."""
        beside = os.path.relpath(self._libraries, file.parent)
        run(self._patchelf, "--force-rpath", "--set-rpath", f"$ORIGIN/{beside}", str(file))

    def _strip(self, file: Path) -> None:
        """Leave out what only a debugger reads: most of some Pythons."""
        if shutil.which("strip"):
            run("strip", "--strip-unneeded", str(file))


def run(*command: str) -> str:
    """A command's output; its errors go where ours go."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def libraries_of(file: Path) -> dict[str, str]:
    """Name -> path of the libraries that a file loads, beside the C library.

    A program that is linked statically has none.
    """
    listed = subprocess.run(["ldd", str(file)], stdout=subprocess.PIPE, text=True, check=False)
    found: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if not arrow or C_LIBRARY.match(name):
            continue
        path = rest.split(" (")[0].strip()
        if not path.startswith("/"):
            raise SystemExit(f"{file} needs {name}, which is not here: {rest}")
        found[name] = path
    return found


def copy_python(copier: Copier, directory: Path) -> None:
    """Copy this interpreter and its standard library."""
    version = "python" + sysconfig.get_python_version()
    base = getattr(sys, "_base_executable", sys.executable)
    copier.add(Path(os.path.realpath(base)), directory / "bin" / version)
    (directory / "bin" / "python3").symlink_to(version)
    standard = directory / "lib" / version
    source = sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix})
    left_out = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(source, standard, ignore=left_out, symlinks=False, dirs_exist_ok=True)
    compiled = Path(sysconfig.get_config_var("DESTSHARED") or f"{source}/lib-dynload")
    shutil.rmtree(standard / "lib-dynload", ignore_errors=True)
    wanted = set(os.listdir(compiled)) - left_out(str(compiled), os.listdir(compiled))
    for name in sorted(wanted):
        copier.add(compiled / name, standard / "lib-dynload" / name)


def copy_terminals(directory: Path) -> None:
    """Copy the descriptions of terminals, for images that have none."""
    for terminal in TERMINALS:
        for place in TERMINFO:
            source = Path(place) / terminal
            if source.exists():
                target = directory / "terminfo" / terminal
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


def main() -> None:
    """Copy what the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--patchelf", required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--terminfo", action="store_true")
    options = parser.parse_args()
    directory: Path = options.to
    copier = Copier(options.patchelf, directory)
    if options.program is None:
        copy_python(copier, directory)
    else:
        copier.add(options.program, directory / "bin" / options.program.name)
    if options.terminfo:
        copy_terminals(directory)


if __name__ == "__main__":
    main()
