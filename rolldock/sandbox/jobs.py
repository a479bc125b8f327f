"""The shell commands of detached jobs: launched once, found again, ended with their process group.

The layout is the SDK's (`/tmp/job_{8 hex}.*`), so that its batch status works, but the launcher is
ours: the id comes from the attempt, which makes a second launch a no-op, and the environment comes
from a file of mode 0600, since the SDK would put it on a command line that every process can read.
"""

import shlex
from typing import Final

_LAUNCH_TENTHS: Final = 50
"""How many tenths of a second a second launch waits for the first one's pid."""

_GROUP_LIVES: Final = (
    "lives() { local line; for stat in /proc/[0-9]*/stat; do "
    '{ read -r line < "$stat"; } 2>/dev/null || continue; set -- ${line##*) }; '
    '[ "$3" = "$p" ] && [ "$1" != Z ] && return 0; done; return 1; }'
)
"""Whether a process of group $p lives. Signal 0 would count the dead whom no pid 1 reaps."""

_SOURCE: Final = "set -a; . "
"""How the script of a job begins, and that of no command about jobs."""


def job_id(attempt: str, role: str = "") -> str:
    """8 hex digits of the attempt's UUID; another role of the same attempt gets others."""
    digits = attempt.replace("-", "")
    return digits[:8] if not role else digits[8:16]


def paths(job: str) -> tuple[str, str, str, str]:
    """Launch directory, stdout, stderr and exit file of a job."""
    root = f"/tmp/job_{job}"
    return f"{root}.launch", f"{root}.stdout.log", f"{root}.stderr.log", f"{root}.exit"


def launch_command(job: str, command: str, *, env_file: str, cwd: str) -> str:
    """A bash command that launches `command` detached unless this job was launched before.

    It prints the job's pid. The job is the leader of its own session and process group; it reads
    its environment from `env_file`, which it removes. The pid is written after that: a launch that
    comes second waits for it, and so finds the job started and its file read.
    """
    launch, stdout, stderr, exit_file = paths(job)
    # The job's own PATH need not lead to rm.
    source = f"{_SOURCE}{env_file} || exit 1; set +a; command -p rm -f {env_file}"
    script = (
        f"{source}; echo $$ > {launch}/pid || exit 1; echo started; exec > /dev/null 2>&1; "
        f"(cd {shlex.quote(cwd)} || exit 1; {command}\n) > {stdout} 2> {stderr} < /dev/null; "
        f'code=$?; command -p mkdir -p /tmp; echo "$code" > {exit_file}'
    )
    return (
        f"if mkdir {launch} 2>/dev/null; then "
        f"ack=$(setsid bash -c {shlex.quote(script)} < /dev/null 2>&1 &); "
        f'test "$ack" = started || '
        f'{{ rm -rf {launch}; echo "job did not start: $ack" >&2; exit 1; }}; '
        f"else for _ in $(seq {_LAUNCH_TENTHS}); do "
        f"test -s {launch}/pid && break; sleep 0.1; done; rm -f {env_file}; fi; cat {launch}/pid"
    )


def revive_command(job: str) -> str:
    """A bash command that writes down again the pid of a job that lives and whose files are gone.

    An agent or a test may empty /tmp, where the provider looks for them. Prints the pid; nothing
    where no such job lives.
    """
    launch = paths(job)[0]
    return (
        f"{_find(job)}; p=$(find_job); "
        f'test -z "$p" || {{ mkdir -p {launch} && echo "$p" > {launch}/pid && echo "$p"; }}'
    )


def _find(job: str) -> str:
    """A bash function that prints a job's pid: of the leader of a session that runs its script."""
    launch = paths(job)[0]
    return (
        "find_job() { local line d shell flag script; for d in /proc/[0-9]*; do "
        "{ IFS= read -r -d '' shell; IFS= read -r -d '' flag; IFS= read -r -d '' script; } "
        '< "$d/cmdline"; '
        f'[[ $flag = -c && $script = "{_SOURCE}"* && $script = *" {launch}/pid "* ]] || continue; '
        'read -r line < "$d/stat" || continue; set -- ${line##*) }; '
        '[ "$4" = "${d#/proc/}" ] && [ "$1" != Z ] && echo "$4" && return; '
        "done 2>/dev/null; }"
    )


def linger_command(job: str, hundredths: int) -> str:
    """A bash command that waits a moment for a job to end, so that a short one needs no poll."""
    exit_file = paths(job)[3]
    return (
        f"for ((i = 0; i < {hundredths}; i++)); do test -s {exit_file} && break; sleep 0.01; done"
    )


def kill_command(job: str, grace_seconds: int) -> str:
    """A bash command that ends a job's process group: TERM, then KILL; prints its exit code."""
    launch, _, _, exit_file = paths(job)
    return (
        f"{_GROUP_LIVES}; {_find(job)}; p=$(cat {launch}/pid 2>/dev/null || find_job); "
        f'if [ -n "$p" ] && kill -TERM -- -"$p" 2>/dev/null; then '
        f"for _ in $(seq {grace_seconds * 20}); do lives || break; sleep 0.05; done; "
        'kill -KILL -- -"$p" 2>/dev/null; fi; '
        f"cat {exit_file} 2>/dev/null; true"
    )


def ticket_command(job: str, ticket: int) -> str:
    """A bash command that fails where a holder of a higher ticket has been before."""
    latest = f"/tmp/job_{job}.ticket"
    return (
        f'if test "$(cat {latest} 2>/dev/null || echo 0)" -gt {ticket}; '
        f'then echo "a later try is at work" >&2; false; else echo {ticket} > {latest}; fi'
    )


def claim_command(job: str, run: str) -> str:
    """A bash command that says of the launch to come which workflow run it is for."""
    return f"echo {shlex.quote(run)} > /tmp/job_{job}.run"


def age_command(job: str, run: str) -> str:
    """A bash command that prints how many seconds ago a job was launched for a run, if it was."""
    pid = f"{paths(job)[0]}/pid"
    return (
        f'if test -s {pid} && test "$(cat /tmp/job_{job}.run 2>/dev/null)" = {shlex.quote(run)}; '
        f"then echo $(($(date +%s) - $(stat -c %Y {pid}))); fi"
    )


def clear_command(job: str) -> str:
    """A bash command that ends what is left of a job and forgets it, so that it may run again."""
    launch, stdout, stderr, exit_file = paths(job)
    return (
        f"{{ {kill_command(job, 1)}; }} > /dev/null; rm -rf {launch} {stdout} {stderr} {exit_file}"
    )
