"""Stage 5: an agent is ended for good, and what it left is kept."""

from typing import Final

from rolldock.agents.agent import AGENT_LOGS
from rolldock.models.failure import Cause
from rolldock.models.result import Artifact
from rolldock.sandbox import jobs
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.evidence import collect, keep
from rolldock.store.store import Store

_GRACE_SECONDS: Final = 5
"""Between TERM and KILL."""
_STOP_SECONDS: Final = 30


async def end_agent(sandboxes: Sandboxes, sandbox_id: str, job: str) -> int | None:
    """End the agent's process group; its exit code, None where it left none."""
    ended = await sandboxes.run(
        sandbox_id,
        jobs.kill_command(job, _GRACE_SECONDS),
        timeout_seconds=_STOP_SECONDS,
        otherwise=Cause.SANDBOX_LOST,
    )
    code = ended.stdout.strip()
    return int(code) if code.lstrip("-").isdigit() else None


async def keep_agent_logs(
    sandboxes: Sandboxes, store: Store, sandbox_id: str, job: str
) -> tuple[Artifact, ...]:
    """Store the agent's output and its own logs."""
    files = await collect(sandboxes, sandbox_id, agent_logs(job), Cause.SANDBOX_LOST)
    return await keep(store, files)


def agent_logs(job: str) -> dict[str, str]:
    """What an agent leaves of itself: name among the artifacts -> path in the sandbox."""
    _, stdout, stderr, _ = jobs.paths(job)
    return {"agent": AGENT_LOGS, "agent-stdout.log": stdout, "agent-stderr.log": stderr}
