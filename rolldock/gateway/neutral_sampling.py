"""The sampling parameters at which a model server samples from the model's own distribution.

Servers have defaults of their own: vLLM takes a model's `generation_config`, llama.cpp cuts at
top-k 40, top-p 0.95 and min-p 0.05. So a trainable session sends what it wants by name. The
temperature is no part of this: whoever trains pins it.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from rolldock.models.base import JsonObject
from rolldock.models.endpoint import Endpoint, SamplingNames

_OPENAI: Final[Mapping[str, JsonValue]] = {
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
NEUTRAL: Final[Mapping[SamplingNames, Mapping[str, JsonValue]]] = {
    SamplingNames.NONE: {},
    SamplingNames.OPENAI: _OPENAI,
    SamplingNames.VLLM: {**_OPENAI, "top_k": -1, "min_p": 0, "repetition_penalty": 1},
    SamplingNames.LLAMA_CPP: {
        **_OPENAI,
        "top_k": 0,
        "min_p": 0,
        "repeat_penalty": 1,
        "typical_p": 1,
        "top_n_sigma": -1,
        "dynatemp_range": 0,
        "mirostat": 0,
        "dry_multiplier": 0,
        "xtc_probability": 0,
        "adaptive_target": -1,
    },
}
"""By the names that a server takes, what changes nothing."""


def neutral(endpoint: Endpoint) -> JsonObject:
    """What a trainable session sends unless its spec says otherwise, whatever its agent asks for.

    Empty for a server whose names are not known.
    """
    return dict(NEUTRAL[endpoint.sampling_names])
