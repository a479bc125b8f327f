"""Endpoint records: each change a new version, the newest one counts.

Who knows a version asks for the next one, which is normally absent: one get. Who knows none lists
the names first, since a long training run makes thousands.
"""

import base64
import hashlib
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


def decrypt_key(secret: bytes, endpoint: Endpoint) -> str | None:
    """The API key of an endpoint, None where it needs none.

    Raises:
        UsageError: it was encrypted under another secret.
    """
    if endpoint.api_key is None:
        return None
    try:
        return _cipher(secret).decrypt(endpoint.api_key.encode()).decode()
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


async def names(store: Store) -> list[str]:
    """The names of all endpoints, sorted."""
    newest_paths: dict[str, str] = {}
    async for path in store.names("endpoints"):
        place = path.rsplit("/", 1)[0]
        newest_paths[place] = max(path, newest_paths.get(place, ""))
    # A segment may be a cut one: the record itself says its name.
    records = [await store.get(path) for path in newest_paths.values()]
    return sorted(Endpoint.model_validate_json(record).name for record in records if record)
