"""Bringing an agent into a sandbox that lacks it: from the store, else by its install script.

Either way it is made beside its place and moved there, so that it appears whole or not at all,
also where two workers bring it at once. What is there already is nobody's business here.
"""

import asyncio
import hashlib
import json
import logging
import shlex
import uuid
from typing import Final

from rolldock.agents.agent import Agent
from rolldock.errors import StageError
from rolldock.models.agent_archive import AgentArchive, AgentBuild, ArchivePart
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.transfer import last
from rolldock.store.agent_archives import find
from rolldock.store.store import Store

_PARTS_AT_ONCE: Final = 4
"""Of all sandboxes together: what a worker holds of archives in memory is so many parts."""

_RECIPE_CHARACTERS: Final = 12

_log = logging.getLogger(__name__)


def build_of(agent: Agent, machine: str) -> AgentBuild:
    """What an install of an agent is, for a kind of machine."""
    recipe = json.dumps([agent.install, agent.check]).encode()
    return AgentBuild(
        name=agent.name,
        version=agent.version,
        machine=machine,
        recipe=hashlib.sha256(recipe).hexdigest()[:_RECIPE_CHARACTERS],
    )


class AgentArchives:
    """The store's agents, as one worker brings them into its sandboxes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._slots = asyncio.Semaphore(_PARTS_AT_ONCE)

    async def bring(
        self,
        sandboxes: Sandboxes,
        sandbox_id: str,
        agent: Agent,
        home: str,
        *,
        machine: str,
        seconds: float,
    ) -> None:
        """Put an agent into a sandbox that lacks it.

        Args:
            home: where it belongs.
            machine: what the sandbox is: `linux-x86_64`.
            seconds: how long unpacking or installing may take.

        Raises:
            StageError: `setup_failed`, with the last output of what failed.
            UnavailableError: the store fails.
        """
        archive = await find(self._store, build_of(agent, machine))
        if archive is None:
            _log.warning(
                "%s %s is installed over the network, in sandbox %s: `%s` would spare every "
                "rollout that",
                *(agent.name, agent.version, sandbox_id, mend("push", agent)),
            )
            fill, done = _install_script(agent), "installed"
        else:
            fill, done = await self._upload(sandboxes, sandbox_id, archive), "unpacked"
        made = await sandboxes.run(
            sandbox_id,
            made_whole(home, agent.check or ".", fill),
            timeout_seconds=int(seconds),
            otherwise=Cause.SETUP_FAILED,
        )
        if made.exit_code != 0:
            raise _not_made(agent, done, last(made.stderr or made.stdout))

    async def _upload(self, sandboxes: Sandboxes, sandbox_id: str, archive: AgentArchive) -> str:
        """Upload an archive, and return the bash command that unpacks it where it runs."""
        # A name of its own: a stalled try of the same stage may be at the same step.
        prefix = f"/tmp/rolldock-agent-{uuid.uuid4().hex}"

        async def upload(number: int, part: ArchivePart) -> None:
            async with self._slots:
                content = await self._content(archive, part)
                path = f"{prefix}.{number:05}"
                await sandboxes.upload(sandbox_id, path, content, Cause.SETUP_FAILED)

        try:
            async with asyncio.TaskGroup() as uploads:
                for number, part in enumerate(archive.parts):
                    uploads.create_task(upload(number, part))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        parts = f'for part in {prefix}.*; do cat "$part" && rm -f "$part" || exit 1; done'
        return f"set -o pipefail; ({parts}) | tar -xz --no-same-owner"

    async def _content(self, archive: AgentArchive, part: ArchivePart) -> bytes:
        try:
            return await self._store.get_blob(part.digest)
        except KeyError as error:
            raise StageError(
                Cause.SETUP_FAILED,
                f"the archive of {archive.build.name} {archive.build.version} has lost a part: "
                f"{error.args[0]}",
            ) from error


def _install_script(agent: Agent) -> str:
    return f"export AGENT_VERSION={shlex.quote(agent.version)}\n{agent.install}"


def _not_made(agent: Agent, done: str, said: str) -> StageError:
    return StageError(
        Cause.SETUP_FAILED,
        f"{agent.name} {agent.version} is not in the sandbox and could not be {done} there "
        f"(on one machine: `{mend('install', agent)}`): {said}",
    )


def made_whole(home: str, check: str, fill: str) -> str:
    """A bash command that fills a directory beside `home` and moves it to there.

    Of two that do so at once one is the first, and both succeed; what is left there that is not
    whole goes.

    Args:
        check: a path below it that exists once it is whole.
        fill: a bash script that fills the directory that it runs in, which is $AGENT_HOME.
    """
    parent, _, name = home.rpartition("/")
    here, checked = shlex.quote(home), shlex.quote(check)
    whole = f"test -e {here}/{checked}"
    move = f'mv -T "$AGENT_HOME" {here}'
    # No `||` after the subshell: bash would ignore `set -e` in it.
    return f"""\
umask 022
mkdir -p {shlex.quote(parent)} || exit 1
AGENT_HOME=$(mktemp -d {shlex.quote(f"{parent}/.{name}-XXXXXX")}) || exit 1
export AGENT_HOME
trap 'rm -rf "$AGENT_HOME"' EXIT
# Readable by whatever user an agent runs as.
chmod 755 "$AGENT_HOME" || exit 1
(cd "$AGENT_HOME" || exit 1
{fill}
)
code=$?
test "$code" = 0 || exit "$code"
test -e "$AGENT_HOME"/{checked} || {{ echo no {checked} was left >&2; exit 1; }}
{move} 2> /dev/null || {whole} || {{ rm -rf {here}; {move}; }} || {whole}"""


def mend(verb: str, agent: Agent) -> str:
    """The command with which a person installs or pushes this very agent."""
    if agent.refine is not None:
        return f"rolldock agents {verb} {agent.name} --agent-config FILE"
    return f"rolldock agents {verb} {agent.name}@{agent.version}"
