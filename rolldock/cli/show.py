"""`rolldock show`: one rollout, from its result where there is one, else from Temporal."""

import json
import sys

import typer
from rich.console import Console
from rich.text import Text

from rolldock.cli.connection import connected
from rolldock.cli.console import cells, console, number, print_table, seconds, table
from rolldock.cli.show_replays import origin_lines, replays_table
from rolldock.cli.text import plain
from rolldock.models.result import Artifact, AttemptResult, RolloutResult, Stage
from rolldock.trainer.handle import RolloutStatus
from rolldock.trainer.origins import replays_of

_RUNNING = "running"
_TOTAL = "total"


async def show(rollout: str, *, as_json: bool) -> int:
    """Result and status as text, or one JSON object: the result, else the status, with the ids of
    its replays."""
    async with connected() as client:
        handle = client.handle(rollout)
        status = await handle.status()
        # Waits for nobody: a run that was ended from outside gets its record here.
        result = await handle.stored() if status.state == _RUNNING else await handle.result()
        if as_json:
            facts = (result or status).model_dump(mode="json")
            typer.echo(json.dumps(facts | {"replays": await replays_of(client.store, rollout)}))
            return 0
        origin = [] if result is None else await origin_lines(client.store, result)
        replays = await replays_table(client.store, rollout)
        out = console()
        if status.state == _RUNNING:
            _show_status(out, status)
        if result is not None:
            _show_result(out, result, client.store.where, origin)
        if replays is not None:
            out.print()
            print_table(replays, out)
        _link(out, client.settings.temporal_ui, client.settings.temporal_namespace, rollout)
    sys.stdout.flush()
    return 0


def _field(out: Console, name: str, value: object) -> None:
    out.print(Text(f"{name:<14}{plain(str(value))}"), soft_wrap=True)


def _show_status(out: Console, status: RolloutStatus) -> None:
    _field(out, "rollout", status.id)
    tries = "" if status.tries == 1 else f", try {status.tries}"
    _field(out, "status", f"{status.state}: {status.stage}{tries}")
    if status.problem is not None:
        _field(out, "last problem", status.problem)
    _field(out, "started", f"{status.started_at:%Y-%m-%d %H:%M:%S} UTC")


def _show_result(
    out: Console, result: RolloutResult, store: str, origin: list[tuple[str, str]]
) -> None:
    _field(out, "rollout", result.rollout)
    status, reason = str(result.status), str(result.stop_reason)
    _field(out, "status", status if reason == status else f"{status}, {reason}")
    _field(out, "task", f"{result.spec.task.name}  {result.task_digest[:12]}")
    _field(out, "agent", f"{result.agent} {result.agent_version or ''}")
    _field(out, "model", result.spec.endpoint or "none")
    for name, value in origin:
        _field(out, name, value)
    _field(out, "reward", _rewards(result))
    if result.failure is not None:
        failed = result.failure
        _field(out, "failure", f"{failed.cause} in {failed.stage}: {failed.message}")
    if result.trace is not None:
        trace = result.trace
        _field(
            out,
            "trace",
            f"{trace.n_turns} turns, {trace.input_tokens} tokens in, {trace.output_tokens} out: "
            f"rolldock trace {result.rollout}",
        )
    for attempt in result.attempts:
        _show_attempt(out, attempt, store)
    _field(out, "total", f"{seconds(result.timings.get(_TOTAL))} s")


def _rewards(result: RolloutResult) -> str:
    others = {name: value for name, value in result.rewards.items() if name != "reward"}
    more = "".join(f"  {name}={number(value)}" for name, value in others.items())
    return f"{number(result.reward)}{more}"


def _show_attempt(out: Console, attempt: AttemptResult, store: str) -> None:
    out.print()
    _field(out, f"attempt {attempt.number}", attempt.attempt)
    _field(out, "sandbox", attempt.sandbox_id or "none was created")
    if attempt.failure is not None:
        _field(out, "failure", f"{attempt.failure.cause}: {attempt.failure.message}")
    stages = table(("stage", "seconds"), numbers=("seconds",))
    for stage in Stage:
        if stage in attempt.timings:
            stages.add_row(*cells(stage, seconds(attempt.timings[stage])))
    print_table(stages, out)
    if attempt.artifacts:
        logs = table(("log", "bytes", "where"), numbers=("bytes",))
        for artifact in attempt.artifacts:
            logs.add_row(*cells(artifact.name, artifact.n_bytes, _where(artifact, store)))
        print_table(logs, out)


def _where(artifact: Artifact, store: str) -> str:
    end = " (its end)" if artifact.truncated else ""
    return f"{store.rstrip('/')}/blobs/{artifact.digest}{end}"


def _link(out: Console, ui: str | None, namespace: str, rollout: str) -> None:
    if ui is not None:
        from urllib.parse import quote

        address = f"{ui}/namespaces/{quote(namespace)}/workflows/{quote(rollout, safe='')}"
        _field(out, "Temporal UI", address)
