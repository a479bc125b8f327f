"""What a trainable session sends so that log-probs before sampling mean what was sampled."""

from datetime import UTC, datetime

import pytest

from rolldock.chains import TokenChains
from rolldock.gateway.completions import body_to_send, effective_sampling
from rolldock.gateway.neutral_sampling import NEUTRAL, neutral
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import Endpoint, SamplingNames
from rolldock.models.spec import Sampling
from rolldock.models.turn import Tokens, TokenSource, Usage
from rolldock.trainable import untrainable
from tests.recording import BODY, make_turn


def endpoint(names: SamplingNames) -> Endpoint:
    """An endpoint of which only the names matter."""
    return Endpoint(
        name="e",
        version=1,
        replicas=("http://127.0.0.1:1/v1",),
        model="m",
        sampling_names=names,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def sent_by(names: SamplingNames, agent: JsonObject, sampling: Sampling) -> JsonObject:
    """The body that a trainable session sends for an agent's."""
    return body_to_send(
        {"model": "x", "messages": [], **agent},
        model="m",
        sampling=sampling,
        neutral=neutral(endpoint(names)),
        output_left=None,
        token_ids=True,
        stream=False,
    )


@pytest.mark.parametrize("names", SamplingNames)
def test_neutral_values_are_trainable(names: SamplingNames) -> None:
    """What is sent and what is judged know the same values."""
    sent = sent_by(names, {}, Sampling(temperature=1))
    turn = make_turn(
        0,
        Tokens(
            source=TokenSource.ENGINE,
            prompt_ids=(1,),
            completion_ids=(2,),
            logprobs=(-0.5,),
            logprobs_mode="raw",
        ),
        sampling=effective_sampling(sent),
        sent=BODY.model_copy(update={"fields": sent}),
        usage=Usage(input_tokens=1, output_tokens=1),
    )
    assert untrainable(TokenChains([turn])) is None
    assert turn.sampling.items() >= NEUTRAL[names].items()


def test_an_agents_wishes_give_way_and_the_specs_do_not() -> None:
    """Sampling is set by the session whatever the agent asks."""
    agent: JsonObject = {"top_p": 0.3, "presence_penalty": 2, "stop": ["x"]}
    sent = sent_by(SamplingNames.VLLM, agent, Sampling(temperature=1, top_k=7))
    assert (sent["top_p"], sent["presence_penalty"], sent["top_k"]) == (1, 0, 7)
    assert sent["stop"] == ["x"]


def test_a_server_whose_names_are_not_known_gets_none() -> None:
    """One more name could make it refuse the call."""
    assert neutral(endpoint(SamplingNames.NONE)) == {}
