"""Sealing, and the facts of an ended session."""

from datetime import UTC, datetime

import pytest
from openai import BadRequestError
from openai.types.chat import ChatCompletionMessageParam

from rolldock.gateway.facts import read_facts
from rolldock.gateway.seal import seal
from rolldock.models.base import JsonObject
from rolldock.models.session import EndReason, TurnClaim
from rolldock.models.spec import Limits, Sampling
from rolldock.samples import samples
from rolldock.store import keys
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan
from tests.gateway.test_chat import user

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def unanswered_claim() -> TurnClaim:
    """A claim by a gateway that is gone."""
    return TurnClaim(gateway="gone", request_digest="0" * 64, claimed_at=NOW)


async def test_sealing_twice_gives_the_first_trace(world: World) -> None:
    """The trace is written once; a second seal says the same and changes nothing."""
    attempt = await world.open()
    client = world.client(attempt)
    for text in ("a", "b"):
        await client.chat.completions.create(model="m", messages=[user(text)])
    await world.delivered(attempt, 0, 1)
    await world.log(attempt).end(EndReason.STOPPED, by="stop_agent")
    first = await seal(world.store, attempt, "test/rollout", NOW)
    stored = await world.store.get(keys.trace(attempt))
    assert await seal(world.store, attempt, "test/rollout", datetime.now(UTC)) == first
    assert await world.store.get(keys.trace(attempt)) == stored
    assert (first.n_turns, first.n_branches, first.n_samples, first.n_errors) == (2, 2, 0, 0)
    assert (first.input_tokens, first.output_tokens) == (20, 10)
    assert first.end_reason is EndReason.STOPPED
    assert not first.undelivered


async def test_sealing_what_never_began(world: World) -> None:
    """An attempt without a session has an empty trace."""
    summary = await seal(world.store, "never-began", "test/rollout", NOW)
    assert (summary.n_turns, summary.undelivered, summary.end_reason) == (0, False, None)


async def test_facts_of_a_plain_end(world: World) -> None:
    """A session whose turns all arrived says so."""
    attempt = await world.open(limits=Limits(max_turns=5))
    client = world.client(attempt)
    await client.chat.completions.create(model="m", messages=[user("a")])
    log = world.log(attempt)
    await log.end(EndReason.STOPPED, by="stop_agent")
    facts = await read_facts(log)
    assert (facts.has_turn, facts.undelivered, facts.last_error) == (True, False, None)
    assert facts.end_reason is EndReason.STOPPED


async def test_facts_of_a_lost_gateway(world: World) -> None:
    """A claim that nobody answered any more is a turn that was never delivered."""
    attempt = await world.open()
    log = world.log(attempt)
    assert await log.claim(0, unanswered_claim())
    await log.end(EndReason.STOPPED, by="stop_agent")
    facts = await read_facts(log, settle_seconds=0.2)
    assert facts.undelivered
    assert not facts.has_turn


async def test_facts_of_a_failing_model_server(world: World) -> None:
    """The model server's last word is there for the message; an overflow is the end's reason."""
    attempt = await world.open()
    client = world.client(attempt)
    said: JsonObject = {"message": "This model's maximum context length is 8 tokens"}
    world.model.plans.append(Plan(status=400, error={"error": said}))
    with pytest.raises(BadRequestError, match="maximum context length"):
        await client.chat.completions.create(model="m", messages=[user("b")])
    log = world.log(attempt)
    await log.end(EndReason.STOPPED, by="stop_agent")
    facts = await read_facts(log)
    assert facts.last_error is not None
    assert "maximum context length" in facts.last_error
    assert facts.end_reason is EndReason.CONTEXT_LENGTH
    assert not facts.has_turn


async def test_counting_turns_goes_on_where_it_stopped(world: World) -> None:
    """`n_turns` counts turns alone, and counts on."""
    attempt = await world.open()
    client = world.client(attempt)
    log = world.log(attempt)
    assert await log.n_turns() == 0
    world.model.plans.append(Plan())
    await client.chat.completions.create(model="m", messages=[user("a")])
    assert await log.n_turns() == 1
    assert await log.ended() is None
    await client.chat.completions.create(model="m", messages=[user("b")])
    assert await log.n_turns() == 2


class Engine:
    """Plans replies with ids as an engine would give them, and keeps what it gave."""

    def __init__(self, world: World, attempt: str) -> None:
        self._model, self._client = world.model, world.client(attempt)
        self.given: list[int] = []

    async def ask(self, messages: list[ChatCompletionMessageParam], prompt: list[int]) -> str:
        """One call whose prompt has these ids. Returns the reply's text."""
        number = len(self._model.calls)
        completion = [100 + number, 200 + number]
        self.given = [*prompt, *completion]
        logprobs: JsonObject = {
            "content": [{"token": "x", "logprob": -token / 1000} for token in completion]
        }
        self._model.plans.append(
            Plan(
                content=f"answer {number}",
                extra={"prompt_token_ids": [*prompt]},
                choice={"token_ids": [*completion], "logprobs": logprobs},
                input_tokens=len(prompt),
                output_tokens=len(completion),
            )
        )
        reply = await self._client.chat.completions.create(model="m", messages=messages)
        return reply.choices[0].message.content or ""


async def converse(engine: Engine, turns: int) -> list[ChatCompletionMessageParam]:
    """An append-only conversation, in messages and in tokens."""
    messages: list[ChatCompletionMessageParam] = [user("begin")]
    for number in range(turns):
        said = await engine.ask(messages, [*engine.given, number, 9])
        answer: ChatCompletionMessageParam = {"role": "assistant", "content": said}
        messages += [answer, user(f"and {number}")]
    return messages


async def test_ten_turns_that_only_append_are_one_sample(world: World) -> None:
    """Through a real gateway: the ids, the mask and the log-probs are the engine's."""
    await world.add_endpoint(token_ids=True, policy_version="7")
    attempt = await world.open(sampling=Sampling(temperature=1))
    engine = Engine(world, attempt)
    await converse(engine, 10)
    trace = await world.trace(attempt)
    summary = await seal(world.store, attempt, "test/rollout", NOW)
    assert (summary.n_turns, summary.n_samples, summary.untrainable) == (10, 1, None)
    assert (summary.n_clean, summary.n_forked, summary.max_drift_tokens) == (9, 0, 0)
    [sample] = samples(trace)
    assert list(sample.token_ids) == engine.given
    sampled = [token for token in engine.given if token >= 100]
    assert [sample.token_ids[n] for n, bit in enumerate(sample.mask) if bit] == sampled
    assert [value for value in sample.logprobs if value] == [-token / 1000 for token in sampled]
    assert sample.policy_versions == ("7",)


async def test_a_summary_counts_forks_and_says_what_is_wrong(world: World) -> None:
    """A prompt that was tokenised otherwise, then sampling that raw log-probs do not reflect."""
    await world.add_endpoint(token_ids=True)
    attempt = await world.open(sampling=Sampling(temperature=0.7))
    engine = Engine(world, attempt)
    messages = await converse(engine, 2)
    await engine.ask(messages, [*engine.given[:-3], 50, 51, 52, 53])
    summary = await seal(world.store, attempt, "test/rollout", NOW)
    assert (summary.n_samples, summary.n_clean, summary.n_forked) == (2, 1, 1)
    assert summary.max_drift_tokens == 3
    assert summary.untrainable is not None
    assert summary.untrainable.startswith("turn 0 was sampled with temperature = 0.7")
