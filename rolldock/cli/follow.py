"""The rollouts of one `rolldock run`: started, shown while they go on, their results printed."""

import asyncio
import secrets
import sys
from contextlib import aclosing

import typer

from rolldock.cli.connection import connected
from rolldock.cli.console import print_table
from rolldock.cli.perform import complain
from rolldock.cli.progress import Progress
from rolldock.cli.results import results_table
from rolldock.cli.run import Prepared, in_an_id
from rolldock.cli.sandboxes import check_sandbox_api
from rolldock.harbor.task import Task
from rolldock.models.result import RolloutResult, Status
from rolldock.models.spec import Delivery, Purpose, RolloutSpec, Sampling
from rolldock.trainer.client import Client


async def follow(prepared: Prepared) -> int:
    """Run to the last reward.

    Returns:
        0 when every rollout was graded, 1 when one was not.

    Raises:
        UsageError: the model server refuses, an id belongs to another spec.
        UnavailableError: Temporal or the sandbox API does not answer; nothing was started.
    """
    request = prepared.request
    async with connected() as client:
        await check_sandbox_api(client)
        if prepared.endpoint is not None and request.model_url is not None:
            await client.add_endpoint(
                prepared.endpoint,
                url=request.model_url,
                model=request.model or prepared.endpoint,
                api_key=prepared.api_key,
            )
        tasks = [await client.add_task(directory) for directory in request.tasks]
        run_id = request.run_id or secrets.token_hex(4)
        specs = await _specs(client, prepared, tasks, run_id)
        results = await _run(client, prepared, specs, run_id)
    if not request.as_json:
        print_table(results_table(results))
        _report_failures(results)
    return 0 if all(result.status is Status.COMPLETED for result in results) else 1


async def _specs(
    client: Client, prepared: Prepared, tasks: list[Task], run_id: str
) -> list[RolloutSpec]:
    request = prepared.request
    return [
        await client.spec(
            task,
            agent=prepared.agent.name,
            agent_version=prepared.agent.version,
            agent_options=prepared.agent.options,
            agent_env=prepared.agent.env,
            endpoint=prepared.endpoint,
            id=f"{request.experiment}/{in_an_id(task.name)}/{request.agent}/{run_id}/{sample}",
            image=request.image,
            limits={"max_turns": request.max_turns, "agent_seconds": request.timeout_seconds},
            experiment=request.experiment,
            purpose=Purpose.EVAL,
            delivery=Delivery(request.delivery),
            sampling=Sampling(temperature=request.temperature, max_tokens=request.max_tokens),
            attempts=request.attempts,
            tell_deadline=request.tell_deadline,
            keep_workspace=request.keep_workspace,
        )
        for task in tasks
        for sample in range(request.samples)
    ]


async def _run(
    client: Client, prepared: Prepared, specs: list[RolloutSpec], run_id: str
) -> list[RolloutResult]:
    request = prepared.request
    order = {spec.id: place for place, spec in enumerate(specs)}
    results: list[RolloutResult] = []
    try:
        async with (
            Progress(client, [spec.id for spec in specs]) as progress,
            aclosing(client.run(specs, max_in_flight=request.max_in_flight)) as finished,
        ):
            async for result in finished:
                results.append(result)
                progress.finished(result)
                if request.as_json:
                    typer.echo(result.model_dump_json())
                    sys.stdout.flush()
    except asyncio.CancelledError:
        # They are started in this order, so many at once.
        begun = [spec.id for spec in specs[: len(results) + request.max_in_flight]]
        _say_how_to_go_on(run_id, begun, {result.rollout for result in results})
        raise
    return sorted(results, key=lambda result: order[result.rollout])


def _say_how_to_go_on(run_id: str, begun: list[str], done: set[str]) -> None:
    left = [identity for identity in begun if identity not in done]
    if not left:
        return
    complain(f"those of {len(left)} rollouts that were started go on without this command")
    complain(f"  to wait for them again: the same command with --id {run_id}")
    complain(f"  to end them: rolldock cancel {' '.join(left)}")


def _report_failures(results: list[RolloutResult]) -> None:
    for result in results:
        if result.failure is not None:
            complain(
                f"{result.rollout}: {result.failure.message} (more: rolldock show {result.rollout})"
            )
