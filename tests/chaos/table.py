"""The report of a full run: one Markdown table of blows, one of everything else, and a summary."""

from datetime import UTC, datetime
from typing import TypeAlias

from rolldock.models.result import Stage
from tests.chaos.cases import Blow, Case, Moment, Process
from tests.chaos.scenes import Scene
from tests.chaos.verdict import Outcome

Played: TypeAlias = tuple[Scene, Outcome]

_HEAD = """# Chaos

What `make chaos` found, {day}. Each case is one rollout on a whole stack with two workers: it is
brought to a moment of a stage, a process is killed (`kill -9`) or paused past the patience of the
others and resumed, and then the same is asserted of every case: a terminal state, the result stored
as expected, the agent run once per attempt, no recorded turn asked again, no sandbox left by the
workflow and none alive after one sweep of the reaper. Timeouts are 2 to 3 s. The tunnel's cases are
among the faults: its service and frpc are stand-ins, and what is asserted of it beside is that its
URL is the same afterwards, unless its registration was gone.

{summary}
"""


def report(played: list[Played], seconds: float) -> str:
    """The whole page."""
    failed = [one for one in played if not one[1].ok]
    summary = (
        f"**{len(played)} cases, {len(failed)} failed**, {seconds / 60:.0f} minutes, "
        f"{seconds / max(1, len(played)):.1f} s a case."
    )
    parts = [_HEAD.format(day=f"{datetime.now(UTC):%Y-%m-%d}", summary=summary)]
    if failed:
        lines = (f"- `{scene.name}`: {'; '.join(outcome.problems)}" for scene, outcome in failed)
        parts.append("## What failed\n\n" + "\n".join(lines) + "\n")
    parts.append(_blows(played))
    parts.append(_others(played))
    return "\n".join(parts)


def _blows(played: list[Played]) -> str:
    """Process and stage by moment and blow; a cell: seconds, and attempts where more than one."""
    cells = {scene.case: _cell(outcome) for scene, outcome in played if scene.case is not None}
    columns = [(blow, moment) for blow in Blow for moment in Moment]
    titles = " | ".join(f"{blow} {moment}" for blow, moment in columns)
    lines = [
        "## A process killed or paused",
        "",
        "Seconds from the start of the rollout until its workflow has closed.",
        "",
        f"| process | stage | {titles} |",
        "|---" * (2 + len(columns)) + "|",
    ]
    for process in Process:
        for stage in Stage:
            cases = [
                Case(process=process, blow=blow, stage=stage, moment=moment)
                for blow, moment in columns
            ]
            row = " | ".join(cells.get(case, "") for case in cases)
            lines.append(f"| {process} | {stage} | {row} |")
    return "\n".join(lines) + "\n"


def _others(played: list[Played]) -> str:
    lines = ["## Cancels, terminations and faults", "", "| case | |", "|---|---|"]
    lines += [
        f"| {scene.name} | {_cell(outcome)} |" for scene, outcome in played if scene.case is None
    ]
    return "\n".join(lines) + "\n"


def _cell(outcome: Outcome) -> str:
    verdict = "ok" if outcome.ok else "**failed**"
    attempts = "" if outcome.attempts in (None, 1) else f", {outcome.attempts} attempts"
    return f"{verdict} {outcome.seconds:.1f} s{attempts}"
