"""Entries of log-probs come back from their columns to the byte."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from rolldock.gateway.logprob_columns import fold, unfold
from rolldock.models.base import JsonObject
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan
from tests.gateway.test_chat import user

ODD: st.SearchStrategy[JsonValue] = st.sampled_from(
    [None, True, 1, 1.0, 0, -0.0, 0.0, "", [], [1], [True], [1.0], {"a": 1}]
)
TEXTS = st.sampled_from(["a", " the", "é", "\n", "\ufffd"])


@st.composite
def entries(draw: st.DrawFn) -> tuple[JsonValue, list[int], list[float]]:
    """Entries as engines write them, here and there with something odd; ids and log-probs."""
    n = draw(st.integers(0, 8))
    ids = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    logprobs = draw(st.lists(st.sampled_from([-0.5, -0.0, 0.0, -1e-7]), min_size=n, max_size=n))
    written: list[JsonValue] = []
    for token, logprob in zip(ids, logprobs, strict=True):
        text = draw(TEXTS)
        entry: JsonObject = {
            "id": token,
            "token": text,
            "bytes": [*text.encode()],
            "logprob": logprob,
            "top_logprobs": [],
        }
        if draw(st.integers(0, 5)) == 0:
            entry[draw(st.sampled_from([*entry, "more"]))] = draw(ODD)
        written.append(entry)
    return written, ids, logprobs


@given(entries())
def test_whatever_is_folded_unfolds(
    made: tuple[JsonValue, list[int], list[float]],
) -> None:
    """Not one byte differs, and what is stored comes from JSON as it went."""
    content, ids, logprobs = made
    stored = orjson.loads(orjson.dumps(fold(content, ids, logprobs)))
    assert orjson.dumps(unfold(stored, ids, logprobs)) == orjson.dumps(content)


@pytest.mark.parametrize(
    "content", [None, [], [{"token": "a"}, {"text": "b"}], [{"token": "a"}], ["a", "b"], [{}, {}]]
)
def test_what_has_no_columns_stays(content: JsonValue) -> None:
    """Entries that differ in their keys or in number from the log-probs are kept as they are."""
    assert fold(content, [1, 2], [-1.0, -2.0]) == content


def test_what_the_tokens_say_is_not_stored() -> None:
    """Of vLLM's entries the texts alone are kept."""
    content: JsonValue = [
        {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []},
        {"token": "é", "logprob": -0.25, "bytes": [195, 169], "top_logprobs": []},
    ]
    assert fold(content, [1, 2], [-0.5, -0.25]) == {
        "token": {"each": ["a", "é"]},
        "logprob": {"but": {}},
        "bytes": {"but": {}},
        "top_logprobs": {"all": []},
    }


def test_what_differs_is_stored_by_number() -> None:
    """Bytes of a token that ends within a character are no UTF-8 of its text."""
    content: JsonValue = [
        {"token": "a", "bytes": [97]},
        {"token": "b", "bytes": [98]},
        {"token": "\ufffd", "bytes": [240, 159]},
    ]
    folded = fold(content, [], [-1.0, -1.0, -1.0])
    assert isinstance(folded, dict)
    assert folded["bytes"] == {"but": {"2": [240, 159]}}
    assert unfold(folded, [], [-1.0, -1.0, -1.0]) == content


async def test_an_agent_that_asks_gets_whole_log_probs(world: World) -> None:
    """What is stored as columns reaches the agent as the model server wrote it, also on replay."""
    await world.add_endpoint(token_ids=True)
    attempt = await world.open()
    entry: JsonObject = {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": []}
    choice: JsonObject = {"token_ids": [7], "logprobs": {"content": [entry]}}
    world.model.plans.append(
        Plan(content="é", extra={"prompt_token_ids": [1, 2]}, choice=choice, output_tokens=1)
    )
    client = world.client(attempt)
    reply = await client.chat.completions.create(model="m", messages=[user("a")], logprobs=True)
    given_logprobs = reply.choices[0].logprobs
    assert given_logprobs is not None
    assert [one.model_dump() for one in given_logprobs.content or []] == [entry]
    rebuilder = await world.rebuilder(attempt)
    assert await rebuilder.reply(0) == world.model.replies[0]
    delivered = await rebuilder.delivered(0)
    assert delivered is not None
    assert orjson.loads(delivered)["choices"][0]["logprobs"] == {"content": [entry]}
