"""Telling raw log-probs from processed ones by two replies to one prompt."""

from collections.abc import Sequence
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from rolldock.models.base import JsonObject
from rolldock.models.endpoint import LogprobsMode
from rolldock.trainer.logprobs_mode import HOT, N_CANDIDATES, lists_candidates, logprobs_mode

LOGITS = (4.0, 2.5, 1.0, -1.0, -2.0, -6.0)


def log_softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """What a model's distribution is at a temperature."""
    scaled = [value / temperature for value in logits]
    total = log(sum(exp(value) for value in scaled))
    return [value - total for value in scaled]


def reply(logprobs: Sequence[JsonValue]) -> JsonObject:
    """A reply whose first token has these candidates, the likeliest of them."""
    listed: list[JsonValue] = [
        {"token": f"t{number}", "logprob": value} for number, value in enumerate(logprobs)
    ]
    entry: JsonObject = {"token": "t0", "logprob": 0.0, "top_logprobs": listed[:N_CANDIDATES]}
    return {"choices": [{"logprobs": {"content": [entry]}}]}


def at(logits: Sequence[float], temperature: float = 1.0) -> JsonObject:
    """A reply of a server that processes its log-probs."""
    return reply([*log_softmax(logits, temperature)])


@given(
    st.lists(st.floats(-20, 20), min_size=2, max_size=8, unique=True),
    st.lists(st.floats(-0.01, 0.01), min_size=8, max_size=8),
)
def test_no_distribution_is_told_wrong(logits: list[float], noise: list[float]) -> None:
    """The mode is the right one or unknown, also where calls differ a little."""
    logits.sort(reverse=True)
    noisy = [value + little for value, little in zip(logits, noise, strict=False)]
    assert logprobs_mode(at(logits), at(noisy)) is not LogprobsMode.PROCESSED
    assert logprobs_mode(at(logits), at(noisy, HOT)) is not LogprobsMode.RAW


def test_raw() -> None:
    """The temperature changes nothing."""
    assert logprobs_mode(at(LOGITS), at(LOGITS)) is LogprobsMode.RAW


def test_processed() -> None:
    """The temperature flattens the distribution."""
    assert logprobs_mode(at(LOGITS), at(LOGITS, HOT)) is LogprobsMode.PROCESSED


@pytest.mark.parametrize(
    "hot",
    [
        reply([-0.5]),
        reply([]),
        reply([*LOGITS]),
        reply([None, "x", True]),
        {"error": {"message": "no"}},
        {"choices": [{"logprobs": None}]},
        at(LOGITS, HOT**2),
        at((4.0, 3.0, 1.0, -1.2, -2.0, -6.0), HOT),
    ],
    ids=["one", "none", "logits", "no-numbers", "error", "null", "neither", "contradictory"],
)
def test_what_says_too_little_is_unknown(hot: JsonObject) -> None:
    """One candidate, logits, an error, or distances that fit neither."""
    assert logprobs_mode(at(LOGITS), hot) is LogprobsMode.UNKNOWN


def test_equal_candidates_say_nothing() -> None:
    """Distances of nothing have no quotient."""
    assert logprobs_mode(at((1.0, 1.0)), at((1.0, 1.0), HOT)) is LogprobsMode.UNKNOWN


def test_one_candidate_cannot_be_compared() -> None:
    """So a second request would be in vain."""
    assert lists_candidates(at(LOGITS))
    assert not lists_candidates(reply([-0.5]))
