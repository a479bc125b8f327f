"""Names in the store: injective, one segment each, short enough for a file system."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolldock.errors import UsageError
from rolldock.store import keys
from rolldock.store.store import Store

ID_CHARACTERS = "abzAZ09._/@-"
LONGEST = "/".join("a" for _ in range(100))
"""A rollout id with as many slashes as there can be."""


@given(
    st.text(ID_CHARACTERS, min_size=1, max_size=200),
    st.text(ID_CHARACTERS, min_size=1, max_size=200),
)
def test_two_ids_never_share_a_segment(one: str, other: str) -> None:
    """Encoding keeps ids apart."""
    assert (keys.segment(one) == keys.segment(other)) == (one == other)


@given(st.text(ID_CHARACTERS, min_size=1, max_size=200))
def test_a_segment_is_one_file_name(name: str) -> None:
    """No slash, and room for what the store adds while it writes."""
    segment = keys.segment(name)
    assert "/" not in segment
    assert len(segment) <= 200


def test_long_ids_that_differ_at_the_end_stay_apart() -> None:
    """A cut segment carries a digest of the whole name."""
    assert keys.segment(LONGEST + "b") != keys.segment(LONGEST + "c")


def test_a_short_name_stays_readable() -> None:
    """Percent-encoding, as in a URL."""
    assert keys.result("grpo/12/t@1") == "results/grpo%2F12%2Ft%401"


@pytest.mark.parametrize("rollout", ["a/b@c", LONGEST, "@" * 200, "x" * 200])
async def test_any_id_can_be_stored(rollout: str, tmp_path: Path) -> None:
    """A directory takes the record of every id that a spec may have."""
    store = Store.open(str(tmp_path))
    for name in (keys.result(rollout), keys.index(datetime.now(UTC), "@" * 128, rollout)):
        assert await store.create(name, b"x")
        assert await store.get(name) == b"x"
        assert [found async for found in store.names(name.rsplit("/", 1)[0])] == [name]


def test_slots_sort_as_numbers_do() -> None:
    """Zero-padded names keep their order in a listing."""
    names = [keys.claim("a", slot) for slot in (0, 9, 10, 99_999)]
    assert sorted(names) == names
    assert keys.claim("a", 3, 2) == "sessions/a/000003.claim.2"


def test_the_index_has_days_in_utc() -> None:
    """A result of the small hours elsewhere belongs to the day that it is in UTC."""
    moment = datetime(2026, 1, 2, 3, 0, tzinfo=timezone(timedelta(hours=9)))
    assert keys.index(moment, "e", "r") == "index/2026-01-01/e/r"


def test_an_empty_id_is_refused() -> None:
    """As the caller's mistake: nothing can be stored or found under it."""
    with pytest.raises(UsageError, match="no id"):
        keys.segment("")
