"""Asking a model server something while its endpoint is added: its refusals, in words.

What an answer has to hold is the probes' business.
"""

from typing import Final

import httpx

from rolldock.errors import UsageError
from rolldock.models.base import JsonObject

PROBE_SECONDS: Final = 60.0
"""A cold server may have to load its model first."""

_UNAUTHORIZED: Final = frozenset({401, 403})
_NOT_THERE: Final = frozenset({404, 405})


def bearer(api_key: str | None) -> dict[str, str]:
    """The header by which most model servers are told the key."""
    return {} if api_key is None else {"authorization": f"Bearer {api_key}"}


async def ask(
    client: httpx.AsyncClient,
    target: str,
    body: JsonObject,
    mend: str,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """What a server answers, whatever its status.

    Raises:
        UsageError: nobody answers there; it ends with `mend`.
    """
    try:
        return await client.post(target, json=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
        raise UsageError(f"no model server answers at {target} ({why}): {mend}") from error


def check_answered(response: httpx.Response, target: str, model: str, mend: str) -> None:
    """Accept an answer that is no error.

    Raises:
        UsageError: it refuses the key, the model or the request; where nothing is there, `mend`
            says what to do.
    """
    status = response.status_code
    if status in _UNAUTHORIZED:
        raise UsageError(
            f"the model server at {target} refuses the key (HTTP {status}): "
            "name the variable that holds a valid one with --api-key-env"
        )
    if response.is_error:
        raise UsageError(
            f"the model server at {target} answers HTTP {status} for model {model!r}: "
            f"{words(response)}{f': {mend}' if status in _NOT_THERE else ''}"
        )


def words(response: httpx.Response) -> str:
    """What an error says, in one line."""
    return " ".join(response.text.split())[:300]
