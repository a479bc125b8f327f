"""A task's bundle from its first start on: it has to be there, and is kept from being swept."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rolldock.errors import UsageError
from rolldock.models.spec import TaskRef
from rolldock.store.collecting import Wanted, free, look
from rolldock.store.store import BLOB_GRACE, Store
from rolldock.trainer.starting import hold_task
from tests.ended import none_open, spec_of


async def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Refused before a sandbox is made for it, with the mend."""
    with pytest.raises(UsageError, match=r"bundle of task task \(000000000000\).*add_task"):
        await hold_task(Store.open(str(tmp_path)), spec_of("a"))


async def test_a_started_task_outlives_a_sweep(tmp_path: Path) -> None:
    """Although no record names it yet and it was added long ago; another one does not."""
    adding, starting = Store.open(str(tmp_path)), Store.open(str(tmp_path))
    task, other = await adding.put_blob(b"bundle"), await adding.put_blob(b"another bundle")
    then = (datetime.now(UTC) - timedelta(days=9)).timestamp()
    for digest in (task, other):
        os.utime(tmp_path / "blobs" / digest, (then, then))
    await hold_task(starting, spec_of("a", task=TaskRef(name="task", digest=task)))
    found = await look(starting, Wanted(None, datetime.now(UTC) - BLOB_GRACE), none_open)
    assert (await free(starting, found, none_open)).n_blobs == 1
    assert await Store.open(str(tmp_path)).hold_blob(task)
    assert not await Store.open(str(tmp_path)).hold_blob(other)
