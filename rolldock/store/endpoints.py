"""Endpoint records: each change a new version, the newest one counts.

A version is found by asking for the next one, which is normally absent: one get.
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
    version, found = known, None
    if known:
        found = await store.get(keys.endpoint(name, known))
    while (later := await store.get(keys.endpoint(name, version + 1))) is not None:
        version, found = version + 1, later
    return None if found is None else Endpoint.model_validate_json(found)


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
    found: set[str] = set()
    async for path in store.names("endpoints"):
        found.add(path.split("/")[1])
    return sorted(found)
