"""Whether a server's log-probs are those before its sampling or after, told from two replies.

Both answer the same prompt, one at temperature 1 and one at another. Before sampling the distances
between the log-probs of the first token's candidates are equal; after it they are divided by the
temperature. Asks nothing itself.
"""

from itertools import pairwise
from math import exp, isfinite
from typing import Final

from pydantic import JsonValue

from rolldock.gateway.engine_tokens import first_choice
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import LogprobsMode

N_CANDIDATES: Final = 5
"""As many as every server gives that gives any."""
HOT: Final = 2.0
"""The other temperature: far enough from 1, and no server refuses it."""
_LEAST_DISTANCE: Final = 0.2
"""In nats; a smaller one would be told from its half by rounding alone."""
_TOLERANCE: Final = 0.15
"""Of the quotient, which is 1 or 1/2: 16-bit models differ a little from call to call."""
_ROUNDING: Final = 1e-2


def logprobs_mode(cold: JsonObject, hot: JsonObject) -> LogprobsMode:
    """The mode of a server by its replies at temperature 1 and at `HOT`.

    Unknown where they do not list enough candidates of the first token, or contradict each other.
    """
    before, after = _candidates(cold), _candidates(hot)
    shared = sorted((token for token in before if token in after), key=lambda token: before[token])
    quotients = [
        (after[more] - after[less]) / (before[more] - before[less])
        for less, more in pairwise(shared)
        if before[more] - before[less] >= _LEAST_DISTANCE
    ]
    for mode, expected in ((LogprobsMode.RAW, 1.0), (LogprobsMode.PROCESSED, 1 / HOT)):
        if quotients and all(abs(found - expected) <= _TOLERANCE for found in quotients):
            return mode
    return LogprobsMode.UNKNOWN


def lists_candidates(reply: JsonObject) -> bool:
    """Whether a reply says enough of its first token to be compared with another."""
    return len(_candidates(reply)) > 1


def _candidates(reply: JsonObject) -> dict[str, float]:
    """The log-probs of the first token's candidates; none where they are no log-probs at all."""
    logprobs = first_choice(reply).get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    listed = first.get("top_logprobs") if isinstance(first, dict) else None
    found: dict[str, float] = {}
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and (value := _number(item.get("logprob"))) is not None:
            # Different tokens may be the same text, so a token is known by all that names it.
            named = {key: item.get(key) for key in ("id", "token_id", "token", "bytes")}
            found[str(named)] = value
    # Servers can be told to give logits in their place, which do not add up.
    return found if sum(exp(min(value, 1.0)) for value in found.values()) <= 1 + _ROUNDING else {}


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)
