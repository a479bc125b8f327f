"""Endpoint records: each change a new version, the newest one counts.

Who knows a version asks for the next one, which is normally absent: one get. Who knows none lists
the names first, since a long training run makes thousands. Beside the records are two kinds of
marks, from which `pause` learns which calls are open: which sessions have called under which
version, and which calls wait in a gateway for a pause to end.
"""

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from rolldock.errors import UsageError
from rolldock.models.endpoint import Endpoint
from rolldock.store import keys
from rolldock.store.store import Store

_KEY_CONTEXT: Final = b"rolldock endpoint keys v1:"


def _cipher(secret: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(_KEY_CONTEXT + secret).digest()))


def encrypt_key(secret: bytes, api_key: str) -> str:
    """An API key as an endpoint record holds it."""
    return _cipher(secret).encrypt(api_key.encode()).decode()


@lru_cache(maxsize=256)
def _decrypted(secret: bytes, api_key: str) -> str:
    """Every call to a model server asks for its key."""
    return _cipher(secret).decrypt(api_key.encode()).decode()


def decrypt_key(secret: bytes, endpoint: Endpoint) -> str | None:
    """The API key of an endpoint, None where it needs none.

    Raises:
        UsageError: it was encrypted under another secret.
    """
    if endpoint.api_key is None:
        return None
    try:
        return _decrypted(secret, endpoint.api_key)
    except InvalidToken:
        raise UsageError(
            f"endpoint {endpoint.name}: its key was encrypted under another ROLLDOCK_SECRET; "
            "add the endpoint again"
        ) from None


async def newest(store: Store, name: str, known: int = 0) -> Endpoint | None:
    """The newest version of an endpoint, looked for upwards from a known one; None: no such."""
    version = known or await _listed(store, name)
    found = await store.get(keys.endpoint(name, version)) if version else None
    while (later := await store.get(keys.endpoint(name, version + 1))) is not None:
        version, found = version + 1, later
    return None if found is None else Endpoint.model_validate_json(found)


async def _listed(store: Store, name: str) -> int:
    """The highest version that a listing shows; 0: none."""
    paths = store.names(keys.endpoint_versions(name))
    return max([int(path.rsplit("/", 1)[1]) async for path in paths], default=0)


async def add(store: Store, endpoint: Endpoint) -> Endpoint:
    """Write an endpoint as the version after the newest; its own `version` is replaced."""
    while True:
        current = await newest(store, endpoint.name)
        version = 1 if current is None else current.version + 1
        record = endpoint.model_copy(update={"version": version})
        if await store.create(
            keys.endpoint(endpoint.name, version), record.model_dump_json().encode()
        ):
            return record


async def change(store: Store, name: str, changed: Callable[[Endpoint], Endpoint]) -> Endpoint:
    """Write the newest version, changed, as the next one; `version` and time are set here.

    `changed` is called again when another writer was faster. What leaves the record as it is writes
    nothing.

    Raises:
        UsageError: there is no such endpoint.
    """
    while True:
        current = await newest(store, name)
        if current is None:
            raise UsageError(f"endpoint {name} does not exist: add it with `rolldock endpoint add`")
        wanted = changed(current)
        if wanted == current:
            return current
        stamp = {"version": current.version + 1, "created_at": datetime.now(UTC)}
        record = wanted.model_copy(update=stamp)
        content = record.model_dump_json().encode()
        if await store.create(keys.endpoint(name, record.version), content):
            return record


async def mark_caller(store: Store, endpoint: Endpoint, attempt: str) -> None:
    """Write down that a session calls an endpoint, before it does."""
    await store.create(keys.caller(endpoint.name, endpoint.version, attempt), b"{}")


async def callers(store: Store, name: str, since: int, before: int) -> set[str]:
    """The attempts that have called under versions from `since` up to the one before `before`."""
    prefix = keys.callers(name)
    after = f"{keys.callers(name, since)}/" if since else None
    found: set[str] = set()
    async for path in store.names(prefix, after):
        version, attempt = path.rsplit("/", 2)[1:]
        if since <= int(version) < before:
            found.add(attempt)
    return found


async def mark_waiting(store: Store, endpoint: Endpoint, attempt: str, slot: int) -> None:
    """Write down that a call waits for the end of a pause."""
    await store.create(keys.waiting_call(endpoint.name, endpoint.pause, attempt, slot), b"{}")


async def is_waiting(store: Store, endpoint: Endpoint, attempt: str, slot: int) -> bool:
    """Whether a call waits for the end of this pause."""
    name = keys.waiting_call(endpoint.name, endpoint.pause, attempt, slot)
    return await store.get(name) is not None


async def names(store: Store) -> list[str]:
    """The names of all endpoints, sorted."""
    newest_paths: dict[str, str] = {}
    async for path in store.names("endpoints"):
        place = path.rsplit("/", 1)[0]
        newest_paths[place] = max(path, newest_paths.get(place, ""))
    # A segment may be a cut one: the record itself says its name.
    records = [await store.get(path) for path in newest_paths.values()]
    return sorted(Endpoint.model_validate_json(record).name for record in records if record)
