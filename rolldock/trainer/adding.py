"""Adding an endpoint: the model server is asked what it can do, then a new version is written."""

from datetime import UTC, datetime

from rolldock.errors import UsageError
from rolldock.models.endpoint import Endpoint, EngineMode
from rolldock.store import endpoints
from rolldock.store.store import Store
from rolldock.trainer.probe import probe_endpoint


async def add_endpoint(
    store: Store,
    secret: bytes,
    name: str,
    *,
    url: str,
    model: str,
    api_key: str | None,
    mode: EngineMode,
    policy_version: str | None,
) -> Endpoint:
    """Probe a model server and write it as the newest version; the same again writes nothing.

    An endpoint that is paused stays paused. Without a policy version the same model keeps its own.

    Raises:
        UsageError: the server refuses, answers 401, or does not speak the protocol.
    """
    token_ids = await probe_endpoint(url, model, api_key)
    current = await endpoints.newest(store, name)
    kept: dict[str, object] = {}
    if current is not None:
        kept = current.model_dump(include={"paused", "pause_version", "drained_version"})
        if policy_version is None and current.model == model:
            policy_version = current.policy_version
    unchanged = (
        current is not None
        and (current.replicas, current.model, current.mode) == ((url,), model, mode)
        and (current.token_ids, current.policy_version) == (token_ids, policy_version)
        and _has_key(secret, current, api_key)
    )
    if current is not None and unchanged:
        return current
    record = Endpoint(
        name=name,
        version=1,
        replicas=(url,),
        model=model,
        api_key=None if api_key is None else endpoints.encrypt_key(secret, api_key),
        mode=mode,
        token_ids=token_ids,
        policy_version=policy_version,
        created_at=datetime.now(UTC),
    )
    return await endpoints.add(store, record.model_copy(update=kept))


def _has_key(secret: bytes, endpoint: Endpoint, api_key: str | None) -> bool:
    """Whether an endpoint holds this key; one that another secret encrypted has to be replaced."""
    try:
        return endpoints.decrypt_key(secret, endpoint) == api_key
    except UsageError:
        return False
