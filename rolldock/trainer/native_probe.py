"""One small call in each wire format that an endpoint is said to speak itself: does it?"""

from collections.abc import Collection
from typing import Any, Final, cast

import httpx

from rolldock.errors import UsageError
from rolldock.gateway.completions import NotACompletionError
from rolldock.gateway.dialects.base_native import NativeDialect, ReportedError
from rolldock.gateway.dialects.registry import NATIVE
from rolldock.models.base import JsonObject
from rolldock.trainer.asking import PROBE_SECONDS, ask, words

_FEWEST_TOKENS: Final = 16
"""OpenAI refuses to be asked for less."""
_VERSION: Final = {"anthropic-version": "2023-06-01"}
_KNOWN: Final = {dialect.format: dialect for dialect in NATIVE}


async def probe_native(
    url: str, model: str, api_key: str | None, formats: Collection[str]
) -> tuple[str, ...]:
    """The formats, each once and in order, when the server has answered in all of them.

    Raises:
        UsageError: no such format, or the server does not speak it.
    """
    for name in formats:
        if name not in _KNOWN:
            known = ", ".join(sorted(_KNOWN))
            raise UsageError(f"native format {name!r} is unknown: there are {known}")
    async with httpx.AsyncClient(timeout=PROBE_SECONDS) as client:
        for name in set(formats):
            await _check(client, url.rstrip("/"), model, api_key, _KNOWN[name])
    return tuple(sorted(set(formats)))


async def _check(
    client: httpx.AsyncClient, base: str, model: str, api_key: str | None, dialect: NativeDialect
) -> None:
    target = f"{base}{dialect.call_path}"
    headers = _VERSION if api_key is None else {**_VERSION, **dialect.key_headers(api_key)}
    body: JsonObject = {
        "model": model,
        dialect.conversation_key: [{"role": "user", "content": "Say ok."}],
        dialect.limit_key: _FEWEST_TOKENS,
    }
    mend = f"leave out --native {dialect.format}, or check the URL, which ends before it"
    response = await ask(client, target, body, mend, headers)
    if response.is_error:
        said = words(response)
        raise UsageError(f"{target} answers HTTP {response.status_code}: {said}: {mend}")
    try:
        dialect.read(_object(response))
    except (ValueError, NotACompletionError, ReportedError) as error:
        raise UsageError(
            f"{target} does not answer as {dialect.format} does ({error}): {mend}"
        ) from error


def _object(response: httpx.Response) -> JsonObject:
    body: Any = response.json()
    if not isinstance(body, dict):
        raise ValueError("it is no JSON object")
    return cast(JsonObject, body)
