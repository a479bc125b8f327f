"""The links between a rollout and its replays, in the store: both ways, and never changed."""

import json
from collections.abc import Sequence
from typing import Final

from rolldock.models.result import RolloutResult
from rolldock.models.spec import RolloutSpec
from rolldock.results import read_result
from rolldock.store import keys
from rolldock.store.store import Store

_ORIGINS: Final = 16
"""Of a replay's search attribute; the oldest of a longer line are left out."""
_ATTRIBUTE_BYTES: Final = 2048
"""Temporal's default limit for the value of a search attribute
(`limit.searchAttributesSizeOfValueLimit`); the oldest that pass it are left out too."""


async def link_origin(store: Store, spec: RolloutSpec) -> tuple[str, ...]:
    """Name a replay where its origin's replays are named, before it is started.

    In this order, since garbage collection must know of a replay that is about to read; a start
    that is refused leaves a link to a replay that has no result.

    Returns:
        Its origin, the origin's origin and so on, the oldest last, as far back as a search
        attribute can hold; none: it is no replay.
    """
    if spec.replay_of is None:
        return ()
    await store.create(keys.replay(spec.replay_of, spec.id), spec.id.encode())
    return await _origins(store, spec.replay_of)


async def replays_of(store: Store, rollout: str) -> list[str]:
    """The ids of the rollouts that replay one, sorted; one of them may never have been started."""
    named = [await store.get(name) async for name in store.names(keys.replays(rollout))]
    return sorted(content.decode() for content in named if content is not None)


async def stored_result(store: Store, rollout: str) -> RolloutResult | None:
    """A rollout's committed result; None: it has none yet, or there is no such rollout."""
    content = await store.get(keys.result(rollout))
    return None if content is None else read_result(content)


async def _origins(store: Store, origin: str) -> tuple[str, ...]:
    found = [origin]
    while len(found) < _ORIGINS:
        result = await stored_result(store, found[-1])
        earlier = None if result is None else result.spec.replay_of
        if earlier is None or earlier in found or not _fits([*found, earlier]):
            break
        found.append(earlier)
    return tuple(found)


def _fits(origins: Sequence[str]) -> bool:
    """Whether the search attribute can hold them, as the SDK writes it."""
    return len(json.dumps(origins, separators=(",", ":")).encode()) <= _ATTRIBUTE_BYTES
