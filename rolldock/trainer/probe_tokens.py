"""Two small requests to a model server before it becomes an endpoint of mode `tokens`."""

from typing import Final

import httpx

from rolldock.errors import UsageError
from rolldock.gateway.completions import NotACompletionError
from rolldock.gateway.engines import generate
from rolldock.gateway.engines.llama_cpp import server_root
from rolldock.gateway.json_bodies import BodyError, parse_object
from rolldock.gateway.rendering import Rendering
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import IdsFrom, SamplingNames
from rolldock.models.spec import Sampling
from rolldock.trainer.logprobs_mode import HOT, N_CANDIDATES, logprobs_mode
from rolldock.trainer.probe import Probed

_PROBE_SECONDS: Final = 60.0
_UNAUTHORIZED: Final = frozenset({401, 403})
_NOT_THERE: Final = frozenset({404, 405})


async def probe_generate(url: str, model: str, api_key: str | None, rendering: Rendering) -> Probed:
    """Ask a server for one token, twice: does it take and give ids, and what are its log-probs?

    Args:
        url: the base of its OpenAI routes, which ends in `/v1`.

    Raises:
        UsageError: it refuses, wants another key, has no such model, or speaks something else.
    """
    target = f"{server_root(url)}{generate.PATH}"
    headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
    prompt = rendering.whole([{"role": "user", "content": "Say ok."}], None)
    async with httpx.AsyncClient(timeout=_PROBE_SECONDS, headers=headers) as client:
        replies: list[JsonObject] = []
        for temperature in (1.0, HOT):
            sampling = Sampling(temperature=temperature, max_tokens=1)
            params = generate.sampling_params({}, sampling, pinned=True, output_left=None)
            params |= generate.stopping(rendering.stop_ids, ())
            params["logprobs"] = N_CANDIDATES
            body = generate.generate_body(model, prompt, params)
            replies.append(_reply(await _post(client, target, body), target, model))
    for reply in replies:
        try:
            generate.read_generated(reply, len(prompt))
        except NotACompletionError as error:
            raise UsageError(
                f"{target} answers without token ids and their log-probs: {error}: serve the model "
                "with a vLLM that has this route, or use mode chat"
            ) from None
    return Probed(IdsFrom.ENGINE, logprobs_mode(*replies), SamplingNames.VLLM)


async def _post(client: httpx.AsyncClient, target: str, body: JsonObject) -> httpx.Response:
    try:
        return await client.post(target, json=body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UsageError(
            f"no model server answers at {target} ({error or type(error).__name__}): "
            "check the URL, e.g. http://127.0.0.1:8000/v1"
        ) from error


def _reply(response: httpx.Response, target: str, model: str) -> JsonObject:
    status = response.status_code
    if status in _UNAUTHORIZED:
        raise UsageError(
            f"the model server at {target} refuses the key (HTTP {status}): "
            "name the variable that holds a valid one with --api-key-env"
        )
    if response.is_error:
        said = " ".join(response.text.split())[:300]
        mend = ": check the model's name and the URL, or use mode chat"
        raise UsageError(
            f"the model server at {target} answers HTTP {status} for model {model!r}: "
            f"{said}{mend if status in _NOT_THERE else ''}"
        )
    try:
        return parse_object(response.content)
    except BodyError as error:
        raise UsageError(f"{target} does not answer with JSON ({error}): check the URL") from None
