"""`rolldock replay`: which rollouts, from where, and what became of their replays."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import typer
from pydantic import ValidationError
from rich.table import Table

from rolldock.cli.asking import confirm
from rolldock.cli.connection import connected
from rolldock.cli.console import cells, number, print_table, seconds, table
from rolldock.cli.filters import Filters
from rolldock.cli.perform import FAILED, complain
from rolldock.cli.progress import Progress
from rolldock.cli.results import ending
from rolldock.cli.sandboxes import check_sandbox_api
from rolldock.errors import UsageError
from rolldock.models.base import Contract
from rolldock.models.replay import ReplayFrom
from rolldock.models.result import RolloutResult, Status
from rolldock.models.spec import RolloutSpec
from rolldock.trainer.client import Client
from rolldock.trainer.origins import stored_result
from rolldock.trainer.replay_request import ReplayRequest
from rolldock.trainer.replaying import plan_replays, start_replays
from rolldock.trainer.running import run_many

_STDIN: Final = Path("-")
_COLUMNS: Final = ("replay", "was", "reward", "stop reason", "turns", "seconds")


class ReplayCommand(Contract):
    """What the command line asked for."""

    rollouts: tuple[str, ...] = ()
    ids: Path | None = None
    chosen: Filters = Filters()
    take_up: str
    turn: int | None = None
    branch: int | None = None
    n: int = 1
    on_divergence: str = "stop"
    tests: Path | None = None
    attempt: int | None = None
    run_id: str | None = None
    wait: bool = True
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False


async def replay(command: ReplayCommand) -> int:
    """Choose, start, wait, report.

    Returns:
        0 when every replay was graded, or started without waiting; 1 when one was not, or a
        rollout cannot be replayed.

    Raises:
        UsageError: what was asked for does not fit together, or nothing was chosen.
        UnavailableError: Temporal, the store or the sandbox API does not answer.
    """
    request = _request(command)
    named = _named(command)
    async with connected() as client:
        origins = named or await _found(client, command)
        if not origins:
            return FAILED
        plan = await plan_replays(client.store, origins, request)
        if command.dry_run:
            _show_plan(plan.specs, as_json=command.as_json)
            refused = list(plan.refused)
            results: list[RolloutResult] = []
        else:
            await check_sandbox_api(client)
            started, refused = await start_replays(client.store, client.start, plan)
            begun = {handle.id for handle in started}
            specs = [spec for spec in plan.specs if spec.id in begun]
            results = await _follow(client, command, specs)
    for refusal in refused:
        complain(f"{refusal.rollout}: not replayed: {refusal.why}")
    good = all(result.status is Status.COMPLETED for result in results)
    return 0 if good and not refused else FAILED


def _request(command: ReplayCommand) -> ReplayRequest:
    """What was asked for, as the library takes it."""
    kind, turn = _take_up(command)
    try:
        return ReplayRequest.model_validate(
            {
                "kind": kind,
                "turn": turn,
                "branch": command.branch,
                "n": command.n,
                "on_divergence": command.on_divergence,
                "tests": command.tests,
                "attempt": command.attempt,
                "id": command.run_id,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        where = "" if not first["loc"] else f"--{str(first['loc'][0]).replace('_', '-')}: "
        raise UsageError(f"{where}{said}") from error


def _take_up(command: ReplayCommand) -> tuple[str, int | None]:
    """The kind, and the turn from `turn=K` or from `--turn K`."""
    kind, equals, turn = command.take_up.partition("=")
    if kind not in list(ReplayFrom) or (equals and kind != ReplayFrom.TURN):
        raise UsageError(
            f"--from {command.take_up}: give start, grade, recording, or turn=K with a number"
        )
    if not equals:
        if kind == ReplayFrom.TURN and command.turn is None:
            raise UsageError("--from turn: of which turn? As in --from turn=2, counted from 1")
        return kind, command.turn
    if not turn.isdecimal() or int(turn) < 1:
        raise UsageError(f"--from {command.take_up}: turns are counted from 1, as in turn=2")
    if command.turn not in (None, int(turn)):
        raise UsageError(f"--from {command.take_up} and --turn {command.turn}: say one of them")
    return kind, int(turn)


def _named(command: ReplayCommand) -> list[str]:
    """The ids of the command line and of the file; none: rollouts are found by filters."""
    by_id = bool(command.rollouts) or command.ids is not None
    by_filter = bool(command.chosen.model_dump(exclude_none=True))
    if by_id == by_filter:
        raise UsageError(
            "say which rollouts: either ids (also --ids FILE), or filters such as --experiment E "
            "--cause sandbox_lost"
        )
    named = list(command.rollouts)
    if command.ids is not None:
        named += _ids(_read(command.ids))
        if not named:
            raise UsageError(f"--ids {command.ids}: no id in there")
    return named


def _read(path: Path) -> str:
    if path == _STDIN:
        return sys.stdin.read()
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"--ids {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--ids {path} is not UTF-8: {error}") from error


def _ids(text: str) -> Iterable[str]:
    """An id a line; or a JSON object a line with the id under `rollout`."""
    for line in text.splitlines():
        entry = line.strip()
        if entry.startswith("{"):
            try:
                found = json.loads(entry)
                yield str(found.get("rollout") or found["id"])
            except (ValueError, KeyError) as error:
                raise UsageError(f"--ids: no JSON object with a rollout: {entry[:80]}") from error
        elif entry:
            yield entry


async def _found(client: Client, command: ReplayCommand) -> list[str]:
    """The ended rollouts that filters choose, once a person at the terminal agrees."""
    query = command.chosen.ended(sort="ended_at")
    if query is None:
        raise UsageError("--status running: only rollouts that have ended can be replayed")
    async with client.index() as index:
        found = [entry.rollout for entry in index.find(query)]
    words = ", ".join(
        f"{name.replace('_', '-')} {value}"
        for name, value in command.chosen.model_dump(exclude_none=True).items()
    )
    if not found:
        complain(f"no ended rollout has {words}")
        return []
    if command.yes or command.dry_run or not sys.stdin.isatty():
        return found
    times = f" {command.n} times each" if command.n > 1 else ""
    asked = f"Replay {len(found)} rollouts{times} ({words}) from {command.take_up}?"
    if not confirm(asked):
        complain("nothing was started")
        return []
    return found


def _show_plan(specs: Iterable[RolloutSpec], *, as_json: bool) -> None:
    if as_json:
        for spec in specs:
            typer.echo(spec.model_dump_json())
        return
    made = table(("replay", "of", "attempt", "slot", "seed"), numbers=("slot", "seed"))
    for spec in specs:
        point = spec.replay
        slot = None if point is None else point.turn
        attempt = None if point is None else point.attempt
        made.add_row(*cells(spec.id, spec.replay_of, attempt, slot, spec.sampling.seed))
    print_table(made)
    typer.echo("dry run: nothing was started")


async def _follow(
    client: Client, command: ReplayCommand, specs: list[RolloutSpec]
) -> list[RolloutResult]:
    """The results, printed; none without `--wait`, where the ids are."""
    if not command.wait:
        for spec in specs:
            entry = {"rollout": spec.id, "replay_of": spec.replay_of}
            typer.echo(json.dumps(entry) if command.as_json else f"{spec.id}  of {spec.replay_of}")
        return []
    if not specs:
        return []
    results: list[RolloutResult] = []

    async def wait(spec: RolloutSpec) -> RolloutResult:
        return await client.handle(spec.id).result()

    async with Progress(client, [spec.id for spec in specs]) as progress:
        async for result in run_many(wait, specs, max_in_flight=len(specs)):
            results.append(result)
            progress.finished(result)
            if command.as_json:
                typer.echo(result.model_dump_json())
                sys.stdout.flush()
    if not command.as_json:
        print_table(await _table(client, results))
        for result in results:
            if result.failure is not None:
                complain(f"{result.rollout}: {result.failure.message}")
    return results


async def _table(client: Client, results: list[RolloutResult]) -> Table:
    """Each replay beside what its origin came to."""
    made = table(_COLUMNS, numbers=("reward", "turns", "seconds"))
    for result in sorted(results, key=lambda one: one.rollout):
        origin = result.spec.replay_of
        before = None if origin is None else await stored_result(client.store, origin)
        was = None if before is None else f"{number(before.reward)} {ending(before)}"
        made.add_row(
            *cells(result.rollout, was, number(result.reward), ending(result)),
            *cells(
                result.trace.n_turns if result.trace else 0, seconds(result.timings.get("total"))
            ),
        )
    return made
