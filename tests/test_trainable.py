"""Whether recorded tokens can be trained on: each refusal names the turn and says why."""

from collections.abc import Sequence
from typing import Any

import pytest

from rolldock.chains import TokenChains
from rolldock.models.turn import Tokens, TokenSource, Turn, Usage
from rolldock.trainable import untrainable
from tests.recording import BODY, make_turn

TOKENS = Tokens(source=TokenSource.ENGINE, prompt_ids=(1, 2), completion_ids=(3,), logprobs=(-0.5,))


def sampled(mode: str = "unknown", slot: int = 0, **sampling: Any) -> Turn:
    """A turn that was sent with this sampling."""
    tokens = TOKENS.model_copy(update={"logprobs_mode": mode})
    return make_turn(slot, tokens, sampling={"temperature": 1, **sampling})


def judged(*turns: Turn) -> str | None:
    """The verdict on a trace of these turns."""
    return untrainable(TokenChains(turns))


@pytest.mark.parametrize("mode", ["raw", "unknown"])
@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({"temperature": 0.7}, "temperature = 0.7"),
        ({"top_p": 0.9}, "top_p = 0.9"),
        ({"top_k": 50}, "top_k = 50"),
        ({"min_p": 0.1}, "min_p = 0.1"),
        ({"presence_penalty": 0.5}, "presence_penalty = 0.5"),
        ({"frequency_penalty": -0.5}, "frequency_penalty = -0.5"),
        ({"repetition_penalty": 1.1}, "repetition_penalty = 1.1"),
        ({"logit_bias": {"5": 100}}, "logit_bias = {'5': 100}"),
    ],
)
def test_raw_log_probs_mean_only_plain_sampling(
    mode: str, sampling: dict[str, Any], said: str
) -> None:
    """What the agent asked for counts, turn by turn, whatever the spec says."""
    verdict = judged(sampled(mode), sampled(mode, slot=1, **sampling))
    assert verdict is not None
    assert verdict.startswith(f"turn 1 was sampled with {said}, which log-probs of mode '{mode}'")


@pytest.mark.parametrize("mode", ["raw", "unknown", "processed"])
def test_parameters_at_which_nothing_changes(mode: str) -> None:
    """The values by which servers say `none`, and what only bounds or seeds a reply."""
    neutral: dict[str, Any] = {
        **{"top_p": 1.0, "top_k": -1, "min_p": 0, "presence_penalty": 0, "logit_bias": {}},
        **{"frequency_penalty": 0.0, "repetition_penalty": 1, "seed": 3, "max_tokens": 9},
        **{"stop": ["x"]},
    }
    assert judged(sampled(mode, **neutral)) is None
    assert judged(sampled(mode, top_k=0, top_p=None)) is None


def test_processed_log_probs_mean_any_sampling() -> None:
    """They are those of the distribution that was sampled from."""
    assert judged(sampled("processed", temperature=0.7, top_p=0.9, presence_penalty=1)) is None


def test_parameters_that_only_the_body_as_sent_has() -> None:
    """A sampler of one engine alone, which the turn's own list of sampling does not carry."""
    sent = BODY.model_copy(update={"fields": {"typical_p": 0.5, "messages": None}})
    verdict = judged(sampled().model_copy(update={"sent": sent}))
    assert verdict is not None
    assert "typical_p = 0.5" in verdict
    assert verdict.endswith("keep the agent from asking for typical_p")


@pytest.mark.parametrize(
    ("source", "wrong"), [(TokenSource.DERIVED, True), (TokenSource.ENGINE, False)]
)
def test_a_grammar_that_log_probs_do_not_know_of(source: TokenSource, wrong: bool) -> None:
    """llama.cpp's are those before it, vLLM's those under it."""
    sent = BODY.model_copy(update={"fields": {"response_format": {"type": "json_object"}}})
    turn = sampled().model_copy(update={"sent": sent, "tokens": tokens(source=source)})
    verdict = judged(turn)
    assert (verdict is not None) is wrong
    if verdict is not None:
        assert verdict.endswith("keep the agent from asking for response_format")


def tokens(**changes: object) -> Tokens:
    """The usual tokens, but for this."""
    return TOKENS.model_copy(update=changes)


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([make_turn(0, None), make_turn(1, None)], "the model server gave no token ids"),
        (
            [make_turn(0, TOKENS), make_turn(3, None)],
            "1 of 2 turns have no token ids that fit their log-probs, the first is turn 3",
        ),
        (
            [make_turn(0, TOKENS), make_turn(3, None, tokens_missing="2 ids, 3 log-probs")],
            "1 of 2 turns have no token ids that fit their log-probs, the first is turn 3: 2 ids, "
            "3 log-probs",
        ),
        (
            [make_turn(0, tokens(logprobs=()))],
            "the tokens of turn 0 do not agree: 1 completion ids, 0 log-probs",
        ),
        (
            [make_turn(2, TOKENS, usage=Usage(input_tokens=2, output_tokens=4))],
            "the tokens of turn 2 do not agree: 1 completion ids, 4 in its usage",
        ),
        (
            [make_turn(0, TOKENS, usage=Usage(input_tokens=3, output_tokens=1))],
            "the tokens of turn 0 do not agree: 2 prompt ids, 3 in its usage",
        ),
        (
            [make_turn(0, TOKENS, sampling={})],
            "turn 0 was sent without a temperature: set sampling.temperature",
        ),
        ([sampled("processed", temperature=0)], "turn 0 was sampled at temperature 0"),
        ([sampled("processed_logits")], "turn 0 has log-probs of a mode not known here"),
        (
            [sampled("processed"), sampled("processed", slot=1, temperature=0.5)],
            "its turns were sampled at different temperatures: 0.5, 1",
        ),
    ],
)
def test_each_refusal_says_why(turns: Sequence[Turn], said: str) -> None:
    """Missing ids, lengths that differ, and a temperature that means nothing."""
    verdict = judged(*turns)
    assert verdict is not None
    assert verdict.startswith(said)


def test_lengths_that_agree() -> None:
    """The usage of a turn counts its whole prompt, also what it shares with an earlier turn."""
    later = Tokens(
        source=TokenSource.ENGINE,
        extends=0,
        prompt_ids=(4,),
        completion_ids=(5, 6),
        logprobs=(-1, -2),
    )
    turns = [
        make_turn(0, TOKENS, usage=Usage(input_tokens=2, output_tokens=1)),
        make_turn(1, later, usage=Usage(input_tokens=4, output_tokens=2)),
    ]
    assert judged(*turns) is None
    assert judged() is None
