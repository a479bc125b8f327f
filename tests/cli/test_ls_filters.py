"""Filters of the command line: what they ask of the index, and what they refuse."""

from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from rolldock.cli.commands.filters import choosing
from rolldock.cli.filters import Filters
from rolldock.errors import UsageError
from rolldock.index.query import Query
from rolldock.trainer.live import LiveQuery


def test_a_command_gets_its_filters_as_one_and_its_own_parameters_as_they_are() -> None:
    """An option that chooses rollouts stands where `chosen` does; those not named are unknown."""
    got: list[tuple[Filters, bool, int]] = []

    @choosing(("agent", "reward_below"))
    def command(*, as_json: bool = False, chosen: Filters, limit: int = 50) -> None:
        got.append((chosen, as_json, limit))

    app = typer.Typer()
    app.command()(command)
    run = CliRunner().invoke
    assert run(app, ["--agent", "bash", "--as-json", "--limit", "3"]).exit_code == 0
    assert run(app, ["--reward-below", "0.5"]).exit_code == 0
    assert got == [(Filters(agent="bash"), True, 3), (Filters(reward_below=0.5), False, 50)]
    assert run(app, ["--task", "t"]).exit_code == 2
    shown = run(app, ["--help"]).output
    assert shown.index("--as-json") < shown.index("--reward-below") < shown.index("--limit")


def test_a_stage_is_where_one_failed_or_where_one_is() -> None:
    """The same option asks the index for the failure's stage and Temporal for the present one."""
    chosen = Filters(stage="grade", experiment="e")
    assert chosen.ended("reward", 5) == Query(
        experiment="e", failed_in="grade", sort="reward", limit=5
    )
    assert chosen.running() == LiveQuery(experiment="e", stage="grade")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_status_of_the_end_leaves_running_ones_out(status: str) -> None:
    """Running rollouts have no status of an end, cause or reward: such a filter leaves them out."""
    assert Filters(status=status).running() is None
    assert Filters(cause="quota").running() is None
    assert Filters(reward_below=1).running() is None
    assert Filters(since="2h").running() == LiveQuery()
    assert Filters(status="running").ended() is None


@pytest.mark.parametrize(
    ("given", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(days=7)),
    ],
)
def test_times_ago(given: str, ago: timedelta) -> None:
    """`--since 3d` is three days ago."""
    query = Filters(since=given).ended()
    assert query is not None
    assert query.since is not None
    assert abs(datetime.now(UTC) - ago - query.since) < timedelta(seconds=10)


def test_times_as_dates() -> None:
    """Dates are UTC where they name no zone."""
    query = Filters(since="2026-01-31", until="2026-01-31T12:00+01:00").ended()
    assert query is not None
    assert query.since == datetime(2026, 1, 31, tzinfo=UTC)
    assert query.until == datetime(2026, 1, 31, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"since": "yesterday"}, "--since yesterday: no time: give 90s"),
        ({"until": "99999999999w"}, "--until 99999999999w"),
        ({"status": "done"}, "--status done: .*'failed' or 'cancelled', or 'running'"),
        ({"stop_reason": "tired"}, "--stop-reason tired: .*'max_turns'"),
    ],
)
def test_what_is_no_value_is_refused(given: dict[str, str], said: str) -> None:
    """The option, its value and what it may be are named."""
    with pytest.raises(UsageError, match=said):
        Filters.model_validate(given).ended()


def test_an_unknown_order_is_refused() -> None:
    """`--sort` names the fields that there are."""
    with pytest.raises(UsageError, match=r"--sort age: .*ended_at.*seconds"):
        Filters().ended("age")
