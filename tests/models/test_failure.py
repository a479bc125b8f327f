"""The table of causes: what the docstring draws is what the code does."""

from collections import Counter

from rolldock.errors import RETRIES, Backoff
from rolldock.models import failure
from rolldock.models.failure import Cause, Failure


def table() -> list[list[str]]:
    """The rows of the table: cause, new attempt, graded, reward valid, trainable, meaning."""
    lines = str(failure.__doc__).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("cause "))
    rows = (line.replace("no (waits)", "no") for line in lines[start + 1 :] if line)
    return [row.split(maxsplit=5) for row in rows]


def test_every_cause_is_drawn_once() -> None:
    """The table and the enum name the same causes, each once."""
    assert Counter(row[0] for row in table()) == Counter(str(cause) for cause in Cause)


def test_every_row_says_what_it_means() -> None:
    """Five columns and some words in each row."""
    assert [row for row in table() if len(row) != 6] == []


def test_the_column_new_attempt_is_the_rule() -> None:
    """`yes` stands where a new attempt is allowed, `no` everywhere else."""
    drawn = {row[0]: row[1] for row in table()}
    assert drawn == {str(cause): "yes" if RETRIES[cause].new_attempt else "no" for cause in Cause}


def test_every_cause_has_a_retry() -> None:
    """The table of retries names every cause."""
    assert set(RETRIES) == set(Cause)


def test_what_needs_a_person_is_never_tried_again() -> None:
    """A bad task, a bad image, no credit, a refused key: neither in place nor anew."""
    for cause in (
        Cause.TASK_INVALID,
        Cause.IMAGE_UNAVAILABLE,
        Cause.PAYMENT_REQUIRED,
        Cause.UNAUTHORIZED,
    ):
        assert (RETRIES[cause].in_place, RETRIES[cause].new_attempt) == (None, False)


def test_a_backoff_doubles_up_to_its_longest() -> None:
    """1, 2, 4, 8, then 10 seconds for ever."""
    assert [Backoff(1, 10).seconds(n) for n in (1, 2, 3, 4, 5, 500)] == [1, 2, 4, 8, 10, 10]


def test_no_failure_has_a_reward_or_is_trained_on() -> None:
    """The last two columns are `no` throughout."""
    assert {(row[3], row[4]) for row in table()} == {("no", "no")}


def test_a_known_cause_is_read_as_one_and_an_unknown_one_is_kept() -> None:
    """A record of a later version keeps the cause that this one has never heard of."""
    known = Failure(stage="grade", cause="quota", message="", retryable=False)
    later = Failure.model_validate_json(
        '{"stage": "dream", "cause": "moon_phase", "message": "", "retryable": false, "x": 1}'
    )
    assert known.cause is Cause.QUOTA
    assert later.cause == "moon_phase"
    assert later.model_dump()["x"] == 1
