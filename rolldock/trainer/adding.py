"""Adding an endpoint: the model server is asked what it can do, then a new version is written."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import Field

from rolldock.errors import UsageError
from rolldock.models.base import Contract
from rolldock.models.endpoint import Endpoint, EngineMode, IdsFrom, LogprobsMode
from rolldock.models.spec import NAME_CHARACTERS
from rolldock.store import endpoints
from rolldock.store.store import Store
from rolldock.trainer.native_probe import probe_native
from rolldock.trainer.probe import Probed, probe_endpoint
from rolldock.trainer.probe_tokens import probe_generate
from rolldock.trainer.tokenizers import ChosenTokenizer, choose_tokenizer

_PAUSE: Final = {"paused", "pause_version", "drained_version"}


class EndpointRequest(Contract):
    """An endpoint as it is asked for; what is None is found out, or kept from the last version."""

    url: str
    model: str
    api_key: str | None = Field(default=None, repr=False)
    mode: EngineMode = EngineMode.CHAT
    policy_version: str | None = None
    logprobs_mode: LogprobsMode | None = None
    """Instead of what the probe finds."""
    native: tuple[str, ...] | None = None
    """The wire formats beside chat completions that the server speaks itself."""
    tokenizer: Path | None = None
    """For mode `tokens`: the directory of the model's tokenizer."""
    renderer: str | None = None
    """For mode `tokens`: what renders conversations, for a model that is not a published one."""


async def add_endpoint(store: Store, secret: bytes, name: str, asked: EndpointRequest) -> Endpoint:
    """Probe a model server and write it as the newest version; the same again writes nothing.

    An endpoint that is paused stays paused. Without a policy version the same model keeps its own.

    Raises:
        UsageError: the name has other characters than names may have; the server refuses, answers
            401, or does not speak the protocol.
    """
    if not NAME_CHARACTERS.fullmatch(name):
        raise UsageError(
            f"endpoint {name!r}: a name has 1 to 128 of A-Z a-z 0-9 . _ / : @ + -: choose one, "
            "for `rolldock run` by --endpoint, whatever the model is called"
        )
    chosen = await _tokenizer(asked)
    probed = await _probed(asked, chosen)
    current = await endpoints.newest(store, name)
    if current is not None:
        asked = _inheriting(asked, probed, current)
    native = await probe_native(asked.url, asked.model, asked.api_key, asked.native or ())
    record = Endpoint(
        name=name,
        version=1,
        replicas=(asked.url,),
        model=asked.model,
        api_key=None if asked.api_key is None else endpoints.encrypt_key(secret, asked.api_key),
        mode=asked.mode,
        tokenizer_digest=None if chosen is None else await store.put_blob(chosen.blob),
        renderer=None if chosen is None else chosen.renderer,
        token_ids=probed.ids_from is not None,
        ids_from=probed.ids_from or IdsFrom.ENGINE,
        logprobs_mode=asked.logprobs_mode or probed.logprobs_mode,
        sampling_names=probed.sampling_names,
        native=native,
        policy_version=asked.policy_version,
        created_at=datetime.now(UTC),
    )
    if current is not None:
        record = record.model_copy(update=current.model_dump(include=_PAUSE))
        if _same(current, record) and _has_key(secret, current, asked.api_key):
            return current
    return await endpoints.add(store, record)


def _inheriting(asked: EndpointRequest, probed: Probed, current: Endpoint) -> EndpointRequest:
    """What is asked for, with what the last version knows of the same server or model."""
    same_model, same_server = current.model == asked.model, current.replicas == (asked.url,)
    kept: dict[str, object] = {}
    if asked.policy_version is None and same_model:
        kept["policy_version"] = current.policy_version
    if asked.native is None and same_model and same_server:
        kept["native"] = current.native
    unknown = probed.logprobs_mode is LogprobsMode.UNKNOWN
    if asked.logprobs_mode is None and unknown and same_server:
        kept["logprobs_mode"] = current.logprobs_mode
    return asked.model_copy(update=kept)


def check_tokens_mode(
    mode: EngineMode, model: str, tokenizer: Path | None, renderer: str | None
) -> None:
    """Refuse what no server has to be asked about.

    Raises:
        UsageError: mode `tokens` without a tokenizer, or a tokenizer without that mode.
    """
    if mode is EngineMode.TOKENS and tokenizer is None:
        raise UsageError(
            f"mode tokens needs the tokenizer of model {model!r}: give its directory with "
            "--tokenizer DIR"
        )
    if mode is not EngineMode.TOKENS and (tokenizer is not None or renderer is not None):
        raise UsageError("--tokenizer and --renderer go with --mode tokens: add that, or drop them")


async def _tokenizer(asked: EndpointRequest) -> ChosenTokenizer | None:
    check_tokens_mode(asked.mode, asked.model, asked.tokenizer, asked.renderer)
    if asked.tokenizer is None:
        return None
    return await choose_tokenizer(asked.tokenizer, asked.renderer, asked.model)


async def _probed(asked: EndpointRequest, chosen: ChosenTokenizer | None) -> Probed:
    if chosen is None:
        return await probe_endpoint(asked.url, asked.model, asked.api_key)
    return await probe_generate(asked.url, asked.model, asked.api_key, chosen.rendering)


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
