"""Composition root: settings -> clients -> workers, by role. Nothing else."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import NoReturn

from temporalio.client import Client as Temporal
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Interceptor, Worker

from activities.agent import AgentActivities
from activities.grading import GradingActivities
from activities.reaping import ReapingActivities
from activities.sandbox import SandboxActivities
from activities.tasks import Tasks
from activities.tools import Tools
from activities.trace import TraceActivities
from activities.workspace import WorkspaceActivities
from rolldock.errors import RolldockError, UsageError
from rolldock.models import names
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.watch import JobWatch
from rolldock.settings import Settings
from rolldock.store.deployments import mark_deployment
from rolldock.store.store import Store
from rolldock.trainer.connection import connect_temporal, deployment_of, missing_attributes
from workflows.reaper import ReaperWorkflow
from workflows.rollout import RolloutWorkflow

LEAST_SLOTS = 2000
"""Activities at once: nearly all of them wait."""
GRACE = timedelta(seconds=30)
"""For stages in mid-flight when a worker is told to stop; watchers leave at once."""


def slots(settings: Settings) -> int:
    """Activities that one worker runs at once.

    Enough for every sandbox that may live, also where there is no other worker: what waits for an
    agent spends the agent's time in the queue, too. Two each, since seal and delete run side by
    side.
    """
    return max(LEAST_SLOTS, 2 * settings.max_live_sandboxes)


def workers(
    role: str,
    temporal: Temporal,
    sandboxes: Sandboxes,
    settings: Settings,
    deployment: str,
    interceptors: Sequence[Interceptor] = (),
) -> list[Worker]:
    """The workers of a role: `rollouts`, `sandboxes` or `all`."""
    store = Store.open(settings.store)
    tools = Tools(
        sandboxes=sandboxes,
        watch=JobWatch(sandboxes),
        store=store,
        tasks=Tasks(store),
        settings=settings,
        deployment=deployment,
        secret=settings.read_secret(),
        environment=settings.task_environment(os.environ),
    )
    sandbox, agent = SandboxActivities(tools, temporal), AgentActivities(tools)
    grading, trace = GradingActivities(tools), TraceActivities(tools)
    reaping, workspace = ReapingActivities(tools, temporal), WorkspaceActivities(tools)
    rollouts = Worker(
        temporal,
        task_queue=names.ROLLOUT_QUEUE,
        workflows=[RolloutWorkflow, ReaperWorkflow],
        activities=[
            sandbox.set_up_sandbox,
            agent.start_agent,
            agent.await_agent,
            agent.stop_agent,
            workspace.keep_workspace,
            grading.grade,
            trace.seal_trace,
            sandbox.delete_sandbox,
            reaping.sweep,
        ],
        max_concurrent_activities=slots(settings),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=settings.sticky_seconds),
        graceful_shutdown_timeout=GRACE,
        interceptors=interceptors,
    )
    creates = Worker(
        temporal,
        task_queue=names.SANDBOX_QUEUE,
        activities=[sandbox.create_sandbox],
        max_concurrent_activities=slots(settings),
        max_task_queue_activities_per_second=settings.creates_per_second,
        graceful_shutdown_timeout=GRACE,
        interceptors=interceptors,
    )
    return {"rollouts": [rollouts], "sandboxes": [creates], "all": [rollouts, creates]}[role]


async def run(role: str, settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    temporal = await connect_temporal(settings, _runtime(settings))
    missing = await missing_attributes(temporal)
    if missing:
        raise RolldockError(f"search attributes {', '.join(missing)} are missing: rolldock init")
    deployment = await deployment_of(temporal)
    await mark_deployment(Store.open(settings.store), deployment, temporal.namespace)
    async with AsyncExitStack() as stack:
        sandboxes = await stack.enter_async_context(
            Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key)
        )
        running = workers(role, temporal, sandboxes, settings, deployment)
        for worker in running:
            await stack.enter_async_context(worker)
        sys.stdout.write("worker ready\n")
        sys.stdout.flush()
        await stop.wait()
        # Together: one after the other would go on taking work, and take twice the grace.
        await asyncio.gather(*(worker.shutdown() for worker in running))


def _runtime(settings: Settings) -> Runtime:
    """The SDK's own runtime, or one that serves Prometheus metrics where the settings say.

    Raises:
        UsageError: the address cannot be used.
    """
    if settings.metrics_address is None:
        return Runtime.default()
    metrics = PrometheusConfig(bind_address=settings.metrics_address)
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=metrics))
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"ROLLDOCK_METRICS_ADDRESS = {settings.metrics_address!r} cannot be used ({error}): "
            "give an address and a free port, such as 127.0.0.1:9464"
        ) from error


def main() -> NoReturn:
    """Read the role and the settings, and run."""
    parser = argparse.ArgumentParser(description="Rolldock's Temporal worker")
    parser.add_argument("--role", choices=("all", "rollouts", "sandboxes"), default="all")
    code = 0
    try:
        asyncio.run(run(parser.parse_args().role, Settings.load()))
    except RolldockError as error:
        sys.stderr.write(f"worker: {error}\n")
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    # The SDK's native threads can crash an interpreter that is being finalised.
    os._exit(code)


if __name__ == "__main__":
    main()
