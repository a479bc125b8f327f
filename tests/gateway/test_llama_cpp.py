"""A real small model behind the real gateway: llama.cpp's own server with SmolLM2-135M."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
from openai.types.chat import ChatCompletionMessageParam

from rolldock.gateway.endpoints import server_root
from rolldock.gateway.engines.llama_cpp import read_derived
from rolldock.gateway.neutral_sampling import neutral
from rolldock.gateway.seal import seal
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import Endpoint, IdsFrom, LogprobsMode, SamplingNames
from rolldock.models.spec import Purpose, Sampling
from rolldock.models.turn import TokenSource, Turn
from rolldock.samples import samples
from rolldock.trainer.adding import EndpointRequest, add_endpoint
from tests.gateway.conftest import SECRET, World
from tests.recording import NOW

MODEL = "smollm2"
SYSTEM: ChatCompletionMessageParam = {"role": "system", "content": "Be brief."}
"""Shorter than what the model's template says in its place."""
N_TOKENS = 6
"""Enough to differ from turn to turn, and little to compute."""
TRAINING = Sampling(temperature=1, seed=7, max_tokens=N_TOKENS)


@pytest.fixture
async def endpoint(world: World, llama: str) -> Endpoint:
    """The world's endpoint, as it is found when it is added."""
    return await world.add_endpoint(
        replicas=(llama,),
        model=MODEL,
        token_ids=True,
        ids_from=IdsFrom.LLAMA_CPP,
        logprobs_mode=LogprobsMode.RAW,
        sampling_names=SamplingNames.LLAMA_CPP,
    )


@pytest.fixture
async def straight(llama: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A way to the model server past the gateway."""
    async with aiohttp.ClientSession(server_root(llama)) as session:
        yield session


async def asked(session: aiohttp.ClientSession, path: str, body: bytes | JsonObject) -> JsonObject:
    """What the model server itself says to a body."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    async with session.post(path, data=raw, headers={"Content-Type": "application/json"}) as reply:
        assert reply.status == 200, await reply.text()
        return orjson.loads(await reply.read())


def user(text: str) -> ChatCompletionMessageParam:
    """A user's message."""
    return {"role": "user", "content": text}


async def say(world: World, attempt: str, *messages: ChatCompletionMessageParam) -> str:
    """One call of an agent, by the official client."""
    client = world.client(attempt)
    reply = await client.chat.completions.create(model="m", messages=[SYSTEM, *messages])
    return reply.choices[0].message.content or ""


async def turns_of(world: World, attempt: str) -> tuple[Turn, ...]:
    """A session's turns, as they are sealed."""
    return (await world.trace(attempt)).turns


async def test_it_is_recognised(world: World, llama: str) -> None:
    """Its ids stand in its log-probs, which are those before sampling."""
    added = await add_endpoint(
        world.store,
        SECRET,
        world.endpoint,
        EndpointRequest(url=llama, model=MODEL),
    )
    assert added.token_ids is True
    assert added.ids_from is IdsFrom.LLAMA_CPP
    assert added.logprobs_mode is LogprobsMode.RAW
    assert added.sampling_names is SamplingNames.LLAMA_CPP


@pytest.mark.usefixtures("endpoint")
async def test_tokens_equal_those_of_the_request_made_straight_to_it(
    world: World, straight: aiohttp.ClientSession
) -> None:
    """The same bytes give the same ids and log-probs; the prompt's ids are what it counts."""
    attempt = await world.open(sampling=TRAINING)
    said = await say(world, attempt, user("Name three colours."))
    [turn] = await turns_of(world, attempt)
    tokens = turn.tokens
    assert tokens is not None, turn.tokens_missing
    assert (tokens.source, tokens.logprobs_mode) == (TokenSource.DERIVED, "raw")
    rebuilder = await world.rebuilder(attempt)
    reply = await asked(straight, "/v1/chat/completions", await rebuilder.sent(0))
    given = read_derived(reply, tokens.prompt_ids, "raw")
    assert given.completion_ids == tokens.completion_ids
    assert given.logprobs == tokens.logprobs
    assert len(tokens.prompt_ids) == turn.usage.input_tokens
    assert len(tokens.completion_ids) == turn.usage.output_tokens == N_TOKENS
    written = await asked(straight, "/detokenize", {"tokens": [*tokens.completion_ids]})
    assert written["content"] == said
    # To the byte of its digest: what is stored once is put back where the server had it.
    rebuilt = orjson.loads(await rebuilder.reply(0))
    assert rebuilt.keys() == reply.keys()


@pytest.mark.usefixtures("endpoint")
async def test_a_conversation_gives_samples(world: World) -> None:
    """Three turns: each sampled token trains exactly once, with its log-prob."""
    attempt = await world.open(sampling=TRAINING)
    messages = [user("Who are you?")]
    for question in ("And where do you live?", "Why?", None):
        said = await say(world, attempt, *messages)
        messages.append({"role": "assistant", "content": said})
        if question is not None:
            messages.append(user(question))
    trace = await world.trace(attempt)
    summary = await seal(world.store, attempt, "test/rollout", NOW)
    assert summary.untrainable is None
    found = samples(trace)
    assert len(found) == summary.n_samples
    trained = [
        logprob
        for sample in found
        for logprob, bit in zip(sample.logprobs, sample.mask, strict=True)
        if bit
    ]
    given = [value for turn in trace.turns if turn.tokens for value in turn.tokens.logprobs]
    assert sorted(trained) == sorted(given)
    assert len(given) == sum(turn.usage.output_tokens for turn in trace.turns) > 3


@pytest.mark.usefixtures("endpoint")
async def test_two_requests_at_once(world: World) -> None:
    """Each has the prompt and the ids of its own request."""
    attempts = [await world.open(sampling=TRAINING) for _ in range(2)]
    texts = ("Count to five.", "Write one sentence about the sea, please.")
    calls = [say(world, *of) for of in zip(attempts, map(user, texts), strict=True)]
    await asyncio.gather(*calls)
    turns = [turn for attempt in attempts for turn in await turns_of(world, attempt)]
    tokens = [turn.tokens for turn in turns]
    assert all(found is not None for found in tokens)
    assert len({found.prompt_ids for found in tokens if found}) == 2
    for turn in turns:
        assert turn.tokens is not None
        assert len(turn.tokens.prompt_ids) == turn.usage.input_tokens


@pytest.mark.usefixtures("endpoint")
async def test_ids_that_do_not_add_up_are_named(world: World) -> None:
    """The server leaves the tokens of a stop sequence out of its log-probs: the turn says so."""
    attempt = await world.open(sampling=TRAINING)
    client = world.client(attempt)
    counting = [SYSTEM, user("Repeat after me: one two three four five six seven")]
    await client.chat.completions.create(model="m", messages=counting, stop=["e"])
    [turn] = await turns_of(world, attempt)
    assert turn.tokens is None
    assert turn.tokens_missing is not None
    summary = await seal(world.store, attempt, "test/rollout", NOW)
    assert summary.untrainable == f"the model server gave no token ids: {turn.tokens_missing}"


async def test_a_trainable_session_samples_from_the_model_alone(
    world: World, endpoint: Endpoint
) -> None:
    """The server's defaults and the agent's wishes give way; what the spec says stays."""
    attempt = await world.open(sampling=Sampling(temperature=1, max_tokens=1, min_p=0.1))
    client = world.client(attempt)
    await client.chat.completions.create(
        model="m", messages=[SYSTEM, user("hi")], top_p=0.5, presence_penalty=1.5
    )
    [turn] = await turns_of(world, attempt)
    assert turn.sampling.items() >= {**neutral(endpoint), "min_p": 0.1}.items()


@pytest.mark.usefixtures("endpoint")
async def test_an_evaluation_keeps_the_servers_defaults(world: World) -> None:
    """What nobody set is not sent."""
    attempt = await world.open(sampling=Sampling(max_tokens=1), purpose=Purpose.EVAL)
    client = world.client(attempt)
    await client.chat.completions.create(model="m", messages=[SYSTEM, user("hi")], top_p=0.5)
    [turn] = await turns_of(world, attempt)
    assert turn.sampling == {"top_p": 0.5, "max_tokens": 1}
