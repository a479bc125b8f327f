"""One small request to a model server before it becomes an endpoint: does it answer, with ids?"""

from typing import Any, Final, cast

import httpx

from rolldock.errors import UsageError

_PROBE_SECONDS: Final = 60.0
"""A cold server may have to load its model first."""
_PARAMETER_REFUSED: Final = frozenset({400, 422})
_UNAUTHORIZED: Final = frozenset({401, 403})
_NOT_THERE: Final = frozenset({404, 405})
_URL_ENDS: Final = "which ends before /chat/completions, e.g. http://127.0.0.1:8000/v1"


async def probe_endpoint(url: str, model: str, api_key: str | None) -> bool:
    """Whether the server returns token ids and log-probs beside its text.

    Args:
        url: the base that ends before `/chat/completions`.

    Raises:
        UsageError: it refuses, wants another key, has no such model, or speaks something else.
    """
    headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "Say ok."}],
    }
    target = f"{url.rstrip('/')}/chat/completions"
    # Servers without a parameter refuse it; the endpoint is usable all the same. The last body has
    # none: reasoning models refuse `max_tokens`.
    limited = {**body, "max_tokens": 1}
    bodies = ({**limited, "logprobs": True, "return_token_ids": True}, limited, body)
    async with httpx.AsyncClient(timeout=_PROBE_SECONDS, headers=headers) as client:
        response = await _post(client, target, bodies[0])
        for plainer in bodies[1:]:
            if response.status_code in _PARAMETER_REFUSED:
                response = await _post(client, target, plainer)
    _check(response, target, model)
    return _has_token_ids(_choices(response, target))


async def _post(client: httpx.AsyncClient, target: str, body: dict[str, Any]) -> httpx.Response:
    try:
        return await client.post(target, json=body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UsageError(
            f"no model server answers at {target} ({error or type(error).__name__}): "
            f"check the URL, {_URL_ENDS}"
        ) from error


def _check(response: httpx.Response, target: str, model: str) -> None:
    if response.status_code in _UNAUTHORIZED:
        raise UsageError(
            f"the model server at {target} refuses the key (HTTP {response.status_code}): "
            "name the variable that holds a valid one with --api-key-env"
        )
    if response.is_error:
        said = " ".join(response.text.split())[:300]
        raise UsageError(
            f"the model server at {target} answers HTTP {response.status_code} "
            f"for model {model!r}: {said}{_mend(response.status_code)}"
        )


def _mend(code: int) -> str:
    return f": check the model's name and the URL, {_URL_ENDS}" if code in _NOT_THERE else ""


def _choices(response: httpx.Response, target: str) -> dict[str, Any]:
    try:
        body = response.json()
        return {**cast(dict[str, Any], body), **cast(dict[str, Any], body["choices"][0])}
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UsageError(
            f"{target} does not answer as chat completions do (no choices): check the URL, "
            f"{_URL_ENDS}"
        ) from error


def _has_token_ids(answer: dict[str, Any]) -> bool:
    wanted = ("prompt_token_ids", "token_ids", "logprobs")
    return all(answer.get(name) for name in wanted)
