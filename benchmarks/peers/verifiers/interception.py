# pyright: basic, reportMissingImports=false
"""The interception server of `verifiers`, alone: rollout sessions against one model server.

Runs in the peer's own environment and uses the classes that its rollouts use. A line with a number
on standard input ends all sessions and opens so many new ones; the answer is a line of JSON with
their keys. Agents, sandboxes and scoring have no part in it.

    python interception.py http://127.0.0.1:UPSTREAM/v1
"""

import asyncio
import json
import sys

from verifiers.v1.clients import EvalClientConfig, ModelContext
from verifiers.v1.configs.agent import AgentConfig
from verifiers.v1.interception.server import InterceptionServer
from verifiers.v1.session import RolloutSession
from verifiers.v1.task import TaskData
from verifiers.v1.trace import AgentInfo, Trace, TraceTask


def session(upstream: str) -> RolloutSession:
    """A rollout's session, as `verifiers.v1.rollout.Rollout` makes it for a task without hooks."""
    data = TaskData(idx=0, prompt="bench")
    trace = Trace(task=TraceTask(type="Bench", data=data), agent=AgentInfo(config=AgentConfig()))
    client = EvalClientConfig(base_url=upstream, api_key_var="ROLLDOCK_BENCHMARK_NO_KEY")
    return RolloutSession(ctx=ModelContext(model="bench", client=client), trace=trace)


async def main(upstream: str) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    open_sessions: list[tuple[str, str]] = []
    async with InterceptionServer() as server:
        print(f"listening on {server.base_url}", flush=True)  # noqa: T201  read by the benchmark
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            for secrets in open_sessions:
                server.unregister(*secrets)
            open_sessions = [server.register(session(upstream)) for _ in range(int(line))]
            keys = [model for model, _ in open_sessions]
            print(json.dumps(keys), flush=True)  # noqa: T201  read by the benchmark


asyncio.run(main(sys.argv[1]))
