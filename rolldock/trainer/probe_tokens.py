"""Two small requests to a model server before it becomes an endpoint of mode `tokens`."""

import httpx

from rolldock.errors import UsageError
from rolldock.gateway.completions import NotACompletionError
from rolldock.gateway.endpoints import server_root
from rolldock.gateway.engines import generate
from rolldock.gateway.json_bodies import BodyError, parse_object
from rolldock.gateway.rendering import Rendering
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import IdsFrom, SamplingNames
from rolldock.models.spec import Sampling
from rolldock.trainer.asking import PROBE_SECONDS, ask, bearer, check_answered
from rolldock.trainer.logprobs_mode import HOT, N_CANDIDATES, logprobs_mode
from rolldock.trainer.probe import Probed


async def probe_generate(url: str, model: str, api_key: str | None, rendering: Rendering) -> Probed:
    """Ask a server for one token, twice: does it take and give ids, and what are its log-probs?

    Args:
        url: the base of its OpenAI routes, which ends in `/v1`.

    Raises:
        UsageError: it refuses, wants another key, has no such model, or speaks something else.
    """
    target = f"{server_root(url)}{generate.PATH}"
    prompt = rendering.whole([{"role": "user", "content": "Say ok."}], None)
    async with httpx.AsyncClient(timeout=PROBE_SECONDS, headers=bearer(api_key)) as client:
        replies: list[JsonObject] = []
        for temperature in (1.0, HOT):
            sampling = Sampling(temperature=temperature, max_tokens=1)
            params = generate.sampling_params({}, sampling, pinned=True, output_left=None)
            params |= generate.stopping(rendering.stop_ids, ())
            params["logprobs"] = N_CANDIDATES
            body = generate.generate_body(model, prompt, params)
            response = await ask(
                client, target, body, "check the URL, e.g. http://127.0.0.1:8000/v1"
            )
            replies.append(_reply(response, target, model))
    for reply in replies:
        try:
            generate.read_generated(reply, len(prompt))
        except NotACompletionError as error:
            raise UsageError(
                f"{target} answers without token ids and their log-probs: {error}: serve the model "
                "with a vLLM that has this route, or use mode chat"
            ) from None
    return Probed(IdsFrom.ENGINE, logprobs_mode(*replies), SamplingNames.VLLM)


def _reply(response: httpx.Response, target: str, model: str) -> JsonObject:
    mend = "check the model's name and the URL, or use mode chat"
    check_answered(response, target, model, mend)
    try:
        return parse_object(response.content)
    except BodyError as error:
        raise UsageError(f"{target} does not answer with JSON ({error}): check the URL") from None
