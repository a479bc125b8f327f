"""Adding an endpoint: the model server is asked what it can do, then a new version is written."""

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rolldock.errors import UsageError
from rolldock.models.endpoint import Endpoint, EngineMode, IdsFrom, LogprobsMode
from rolldock.store import endpoints
from rolldock.store.store import Store
from rolldock.trainer.native_probe import probe_native
from rolldock.trainer.probe import Probed, probe_endpoint
from rolldock.trainer.probe_tokens import probe_generate
from rolldock.trainer.tokenizers import ChosenTokenizer, choose_tokenizer

_PAUSE: Final = {"paused", "pause_version", "drained_version"}


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
    logprobs_mode: LogprobsMode | None = None,
    native: Collection[str] | None = None,
    tokenizer: Path | None = None,
    renderer: str | None = None,
) -> Endpoint:
    """Probe a model server and write it as the newest version; the same again writes nothing.

    An endpoint that is paused stays paused. Without a policy version the same model keeps its own.
    `logprobs_mode` says what the probe would otherwise find out, and is kept where it cannot.
    `native` names the wire formats that the server speaks itself, and is kept where it is None.
    Mode `tokens` needs the directory of a `tokenizer`, and for a model that is not a published one
    the name of a `renderer`.

    Raises:
        UsageError: the server refuses, answers 401, or does not speak the protocol.
    """
    chosen = await _tokenizer(mode, tokenizer, renderer, model)
    probed = await _probed(url, model, api_key, chosen)
    current = await endpoints.newest(store, name)
    kept: dict[str, object] = {}
    if current is not None:
        kept = current.model_dump(include=_PAUSE)
        if policy_version is None and current.model == model:
            policy_version = current.policy_version
        if native is None and (current.replicas, current.model) == ((url,), model):
            native = current.native
        if probed.logprobs_mode is LogprobsMode.UNKNOWN and current.replicas == (url,):
            logprobs_mode = logprobs_mode or current.logprobs_mode
    record = Endpoint(
        name=name,
        version=1,
        replicas=(url,),
        model=model,
        api_key=None if api_key is None else endpoints.encrypt_key(secret, api_key),
        mode=mode,
        tokenizer_digest=None if chosen is None else await store.put_blob(chosen.blob),
        renderer=None if chosen is None else chosen.renderer,
        token_ids=probed.ids_from is not None,
        ids_from=probed.ids_from or IdsFrom.ENGINE,
        logprobs_mode=logprobs_mode or probed.logprobs_mode,
        sampling_names=probed.sampling_names,
        native=await probe_native(url, model, api_key, native or ()),
        policy_version=policy_version,
        created_at=datetime.now(UTC),
    ).model_copy(update=kept)
    if current is not None and _same(current, record) and _has_key(secret, current, api_key):
        return current
    return await endpoints.add(store, record)


async def _tokenizer(
    mode: EngineMode, directory: Path | None, renderer: str | None, model: str
) -> ChosenTokenizer | None:
    if mode is EngineMode.TOKENS:
        return await choose_tokenizer(directory, renderer, model)
    if directory is not None or renderer is not None:
        raise UsageError("--tokenizer and --renderer go with --mode tokens: add that, or drop them")
    return None


async def _probed(
    url: str, model: str, api_key: str | None, chosen: ChosenTokenizer | None
) -> Probed:
    if chosen is None:
        return await probe_endpoint(url, model, api_key)
    return await probe_generate(url, model, api_key, chosen.rendering)


def _same(one: Endpoint, other: Endpoint) -> bool:
    """Whether two versions say the same, their keys left out: each was encrypted anew."""
    named = Endpoint.model_fields.keys() - {"version", "api_key", "created_at"}
    return one.model_dump(include=named) == other.model_dump(include=named)


def _has_key(secret: bytes, endpoint: Endpoint, api_key: str | None) -> bool:
    """Whether an endpoint holds this key; one that another secret encrypted has to be replaced."""
    try:
        return endpoints.decrypt_key(secret, endpoint) == api_key
    except UsageError:
        return False
