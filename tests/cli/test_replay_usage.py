"""What `replay` and `gc` refuse before any server is needed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rolldock.cli.filters import Filters
from rolldock.cli.gc import GcCommand, gc
from rolldock.cli.replay import ReplayCommand, replay
from rolldock.errors import UsageError

if TYPE_CHECKING:
    from tests.cli.conftest import Rolldock


@pytest.mark.parametrize(
    ("take_up", "fields", "said"),
    [
        ("middle", {}, "--from middle: give start, grade, recording, or turn=K"),
        ("start=2", {}, "--from start=2: give start"),
        ("turn", {}, "--from turn: of which turn"),
        ("turn=0", {}, "turns are counted from 1"),
        ("turn=x", {}, "turns are counted from 1"),
        ("turn=2", {"turn": 3}, "say one of them"),
        ("start", {"turn": 3}, "give the number of a turn"),
        ("start", {"tests": Path("x")}, "only a replay from the grade"),
        ("start", {"run_id": "a//b"}, "--id: 'a//b' is not a rollout id"),
        ("start", {"rollouts": ()}, "say which rollouts"),
        ("start", {"chosen": Filters(experiment="e")}, "say which rollouts"),
        ("start", {"rollouts": (), "ids": Path("absent")}, "--ids absent: No such file"),
    ],
)
async def test_replay_names_what_is_wrong(take_up: str, fields: dict[str, Any], said: str) -> None:
    """The option, its value and the mend."""
    command = ReplayCommand.model_validate({"rollouts": ("a",), "take_up": take_up, **fields})
    with pytest.raises(UsageError) as raised:
        await replay(command)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_an_empty_file_of_ids_is_named(tmp_path: Path) -> None:
    """Nothing to replay is more likely a mistake than a wish."""
    (tmp_path / "ids").write_text("\n \n")
    with pytest.raises(UsageError, match="ids: no id in there"):
        await replay(ReplayCommand(take_up="start", ids=tmp_path / "ids"))


def test_the_commands_take_their_options(rolldock: "Rolldock") -> None:
    """From where is never guessed: it may cost money."""
    done = rolldock("replay", "a")
    assert done.returncode == 2
    assert "--from" in done.stderr
    done = rolldock("replay", "a", "--from", "turn=0", "-n", "8", "--branch", "3", "--no-wait")
    assert done.returncode == 2
    assert "turns are counted from 1" in done.stderr


@pytest.mark.parametrize("age", ["30", "d", "1.5d", "3h", "-1d"])
async def test_an_age_that_is_none_is_named(age: str) -> None:
    """Days or weeks: what is younger than a day is never deleted."""
    with pytest.raises(UsageError, match=f"--older-than {age}: give days or weeks"):
        await gc(GcCommand(older_than=age))
