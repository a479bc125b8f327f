"""Tasks by the digest of their bundle, kept in memory: a worker runs the same few repeatedly."""

from typing import Final

from async_lru import alru_cache

from rolldock.errors import StageError
from rolldock.harbor.bundle import load_task
from rolldock.harbor.task import Task
from rolldock.models.failure import Cause
from rolldock.models.spec import TaskRef
from rolldock.store.store import Store

_KEPT: Final = 64


class Tasks:
    """The store's task bundles, read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cached = alru_cache(maxsize=_KEPT)(self._load)

    async def get(self, ref: TaskRef) -> Task:
        """The task of a bundle.

        Raises:
            StageError: `task_invalid`, the store has no such bundle.
        """
        return await self._cached(ref)

    async def _load(self, ref: TaskRef) -> Task:
        try:
            bundle = await self._store.get_blob(ref.digest)
        except KeyError as error:
            raise StageError(
                Cause.TASK_INVALID, f"the bundle of {ref.name} is not stored"
            ) from error
        return load_task(bundle, ref.name)
