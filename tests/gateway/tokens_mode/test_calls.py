"""What goes to a server that takes tokens, what comes back of it, and what cannot be asked for."""

import asyncio

import openai
import pytest

from rolldock.gateway.seal import summarise
from rolldock.models.session import TurnError
from rolldock.models.spec import Delivery, Limits, Purpose, Sampling
from tests.gateway.tokens_mode.conftest import PINNED, TOOL, TokensWorld, calling
from tests.gateway.tokens_mode.generate_server import GenerateServer, Wish

NEUTRAL = {
    "temperature": 1.0,
    "top_p": 1,
    "top_k": -1,
    "min_p": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
}


async def test_what_is_sent(tokens: TokensWorld) -> None:
    """Neutral sampling is said aloud, the limit is the context's, and the turn records it."""
    attempt = await tokens.world.open()
    agent = tokens.agent(attempt)
    agent.user("one")
    await agent.ask(top_p=0.3, frequency_penalty=1.5)
    [call] = tokens.server.calls
    [im_end, endoftext] = [tokens.server.ids(text)[0] for text in ("<|im_end|>", "<|endoftext|>")]
    assert call["sampling_params"] == {
        **NEUTRAL,
        "max_tokens": None,
        "stop_token_ids": [im_end, endoftext],
        "logprobs": 1,
        "skip_special_tokens": False,
    }
    assert set(call) == {"model", "token_ids", "sampling_params"}
    [turn] = (await tokens.checked(attempt)).turns
    assert turn.sampling == NEUTRAL
    assert turn.sent.fields["token_ids"] is None
    assert turn.usage.input_tokens == len(call["token_ids"])


async def test_the_session_decides(tokens: TokensWorld) -> None:
    """Its sampling wins over the agent's; each slot has its own seed; limits are the least one."""
    sampling = Sampling(temperature=0.7, top_k=5, seed=100, max_tokens=9)
    attempt = await tokens.world.open(sampling=sampling, limits=Limits(max_output_tokens=500))
    agent = tokens.agent(attempt)
    for text in ("one", "two"):
        agent.user(text)
        await agent.ask(temperature=0.1, max_tokens=50)
    asked = [call["sampling_params"] for call in tokens.server.calls]
    assert [(one["temperature"], one["top_k"], one["max_tokens"]) for one in asked] == [
        (0.7, 5, 9),
        (0.7, 5, 9),
    ]
    assert [one["seed"] for one in asked] == [100, 101]


async def test_an_evaluation_lets_the_agent_ask(tokens: TokensWorld) -> None:
    """Without training, what the session leaves open is the agent's."""
    attempt = await tokens.world.open(purpose=Purpose.EVAL)
    agent = tokens.agent(attempt)
    agent.user("one")
    await agent.ask(top_p=0.3, presence_penalty=0.5, seed=4, extra_body={"cache_salt": "mine"})
    [call] = tokens.server.calls
    params = call["sampling_params"]
    assert (params["top_p"], params["presence_penalty"], params["seed"]) == (0.3, 0.5, 4)
    assert call["cache_salt"] == "mine"


async def test_the_model_samples_truly(tokens: TokensWorld) -> None:
    """The same seed gives the same tokens, and the log-probs are those of the model."""
    given: list[object] = []
    for _ in range(2):
        attempt = await tokens.world.open(sampling=PINNED.model_copy(update={"seed": 5}))
        agent = tokens.agent(attempt)
        agent.user("one")
        await agent.ask()
        [each] = tokens.server.of(attempt).values()
        given.append(each.tokens)
        model, state = tokens.server.model, tokens.server.model.state(each.tokens.prompt_ids)
        for token, logprob in zip(each.tokens.completion_ids, each.tokens.logprobs, strict=True):
            assert model.log_probs(state)[token] == pytest.approx(logprob)
            state = model.after(state, token)
    assert given[0] == given[1]


async def test_what_is_no_call_stays_text(tokens: TokensWorld) -> None:
    """A call that cannot be read, or that the agent forbade, is shown as the model wrote it."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    broken = "<tool_call>\n{broken\n</tool_call>"
    tokens.server.say(f"look\n{broken}", calling("ls"), f"{calling('a')}\n{calling('b')}")
    message = await agent.ask()
    assert message.content == "look\n{broken"
    assert message.tool_calls is None
    agent.user("two")
    message = await agent.ask(tool_choice="none")
    assert message.tool_calls is None
    assert '"command": "ls"' in (message.content or "")
    agent.user("three")
    message = await agent.ask(parallel_tool_calls=False)
    assert [call.type for call in message.tool_calls or []] == ["function"]
    trace = await tokens.checked(attempt)
    assert [turn.finish_reason for turn in trace.turns] == ["stop", "stop", "tool_calls"]


async def test_whatever_is_in_a_call(tokens: TokensWorld) -> None:
    """Half a surrogate pair stays escaped, and nesting that no parser follows stays text."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    tokens.server.say(calling("\\ud800"))
    message = await agent.ask()
    [call] = message.tool_calls or []
    assert call.type == "function"
    assert call.function.arguments == '{"command": "\\ud800"}'
    agent.results("x")
    nested = f"<tool_call>{'[' * 3000}</tool_call>"
    tokens.server.say(nested)
    assert (await agent.ask()).content == nested
    assert summarise(await tokens.checked(attempt), undelivered=False).n_clean == 1


async def test_a_stop_string_ends_the_text(tokens: TokensWorld) -> None:
    """The agent gets what comes before it; the tokens are kept whole."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    tokens.server.say("said STOP unsaid")
    message = await agent.ask(stop=["STOP"])
    assert message.content == "said "
    assert tokens.server.calls[0]["sampling_params"]["stop"] == ["STOP"]
    await tokens.checked(attempt)


@pytest.mark.parametrize("delivery", [Delivery.HELD, Delivery.LIVE])
async def test_a_stream_comes_whole(tokens: TokensWorld, delivery: Delivery) -> None:
    """Under live delivery, too: a message is read from a completion that has ended."""
    attempt = await tokens.world.open(delivery=delivery, sampling=PINNED, hold_seconds=0.05)
    gate = asyncio.Event()
    tokens.server.wishes.append(Wish(say=calling("ls", before="Here:\n"), gate=gate))
    stream = asyncio.create_task(
        tokens.world.client(attempt).chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": "one"}],
            tools=[TOOL],
            stream=True,
        )
    )
    opened = await stream
    gate.set()
    deltas = [chunk.choices[0].delta async for chunk in opened if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Here:"
    [call] = [call for delta in deltas for call in delta.tool_calls or []]
    assert call.function is not None
    assert call.function.arguments == '{"command": "ls"}'
    trace = await tokens.checked(attempt)
    assert trace.turns[0].delivered_digest is not None


async def test_what_is_said_in_other_words(tokens: TokensWorld) -> None:
    """Text in parts, a developer's message and a plain tool choice are all rendered."""
    client = tokens.world.client(await tokens.world.open())
    await client.chat.completions.create(
        model="any",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}],
            },
        ],
        tools=[TOOL],
        tool_choice="auto",
        response_format={"type": "text"},
        reasoning_effort="low",
    )
    asked = tokens.server.text(tokens.server.calls[0]["token_ids"])
    assert asked.startswith("<|im_start|>system\nBe brief.")
    assert "<|im_start|>user\nHello<|im_end|>" in asked


async def test_an_aborted_completion_is_asked_for_again(tokens: TokensWorld) -> None:
    """A server that drops its calls, as for new weights, is asked again by the one rule."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    tokens.server.wishes.append(Wish(say="half", finish_reason="abort"))
    tokens.server.say("whole")
    message = await agent.ask()
    assert message.content == "whole"
    assert len(tokens.server.calls) == 2
    assert len((await tokens.checked(attempt)).turns) == 1


async def test_a_prompt_that_does_not_fit(tokens: TokensWorld) -> None:
    """The server's own refusal goes to the agent and is recorded as an overflow."""
    tokens.server.context = 64
    attempt = await tokens.world.open()
    agent = tokens.agent(attempt)
    agent.user("one " * 200)
    with pytest.raises(openai.BadRequestError, match="maximum model length of 64"):
        await agent.ask()
    reply = await tokens.world.log(attempt).reply(0)
    assert isinstance(reply, TurnError)
    assert reply.context_overflow


async def test_a_limit_that_does_not_fit(tokens: TokensWorld) -> None:
    """A limit beyond the context's end is taken back once, as in mode chat."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    error = {"message": "the maximum context length is 64 tokens", "code": 400}
    tokens.server.wishes.append(Wish(status=400, error={"error": error}))
    tokens.server.say("fits")
    assert (await agent.ask(max_tokens=999)).content == "fits"
    asked = [call["sampling_params"]["max_tokens"] for call in tokens.server.calls]
    assert asked == [999, None]


async def test_parallel_sessions(tokens: TokensWorld, server: GenerateServer) -> None:
    """Sessions side by side keep to their own tokens."""
    attempts = [await tokens.world.open(sampling=PINNED) for _ in range(4)]

    async def converse(attempt: str) -> None:
        agent = tokens.agent(attempt)
        for number in range(3):
            agent.user(f"{attempt} {number}")
            await agent.ask()

    await asyncio.gather(*(converse(attempt) for attempt in attempts))
    for attempt in attempts:
        assert len((await tokens.checked(attempt)).turns) == 3
    assert len(server.given) == 12
