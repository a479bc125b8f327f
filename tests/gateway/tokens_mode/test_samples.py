"""Conversations in mode `tokens`: append-only ones are one sample, edited ones fork honestly."""

from rolldock.gateway.rendering_history import History
from rolldock.gateway.seal import summarise
from rolldock.models.spec import Purpose
from rolldock.models.turn import TokenSource
from rolldock.samples import samples
from tests.gateway.conftest import World
from tests.gateway.tokens_mode.conftest import PINNED, TOOL, TokensWorld, calling
from tests.gateway.tokens_mode.generate_server import GenerateServer, Wish

N_TURNS = 10


async def test_ten_turns_are_one_sample(tokens: TokensWorld) -> None:
    """Tool calls, parallel ones and a new user message: one sample, all transitions clean."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("Write hello.txt")
    for number in range(N_TURNS):
        said = calling(f"ls {number}", before="I look.\n")
        if number == 4:
            said = f"{said}\n{calling('pwd')}"
        if number in (6, N_TURNS - 1):
            said = "Done: é \U0001f600"
        tokens.server.say(said)
        message = await agent.ask()
        assert len(message.tool_calls or []) == {4: 2, 6: 0, N_TURNS - 1: 0}.get(number, 1)
        if number == 6:
            agent.user("  And now another one.  ")
        agent.results(f"file-{number}\n")
    trace = await tokens.checked(attempt)
    [sample] = samples(trace)
    assert [span.slot for span in sample.spans] == list(range(N_TURNS))
    assert {span.source for span in sample.spans} == {TokenSource.RENDERED}
    summary = summarise(trace, undelivered=False)
    assert (summary.n_samples, summary.n_clean, summary.n_forked) == (1, N_TURNS - 1, 0)
    assert summary.untrainable is None
    assert [turn.finish_reason for turn in trace.turns].count("tool_calls") == N_TURNS - 2


async def test_whatever_the_model_samples(tokens: TokensWorld) -> None:
    """A random model's tokens, of which most spell nothing, are kept and gone on from."""
    attempt = await tokens.world.open(sampling=PINNED.model_copy(update={"seed": 3}))
    agent = tokens.agent(attempt)
    for number in range(6):
        agent.user(f"Say {number}")
        await agent.ask()
    trace = await tokens.checked(attempt)
    assert [turn.parent for turn in trace.turns] == [None, 0, 1, 2, 3, 4]
    assert len(samples(trace)) == 1


async def test_an_edited_history_forks(tokens: TokensWorld) -> None:
    """A request that changes what was said is rendered whole; each turn still trains once."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    for said in ("first", "second", "third"):
        tokens.server.say(said)
        await agent.ask()
        agent.user("go on")
    agent.messages[2]["content"] = "something that was never said"
    tokens.server.say("fourth")
    await agent.ask()
    trace = await tokens.checked(attempt)
    assert [len(sample.spans) for sample in samples(trace)] == [3, 1]
    assert trace.turns[3].tokens is not None
    assert trace.turns[3].tokens.extends is None


async def test_a_branch_goes_on_from_its_turn(tokens: TokensWorld) -> None:
    """Two requests that append to one turn share its tokens, which train in one of them."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    await agent.ask()
    left, right = tokens.agent(attempt), tokens.agent(attempt)
    for branch, text in ((left, "left"), (right, "right")):
        branch.messages = [*agent.messages]
        branch.user(text)
        await branch.ask()
    trace = await tokens.checked(attempt)
    extends = [turn.tokens.extends for turn in trace.turns if turn.tokens is not None]
    assert extends == [None, 0, 0]
    assert len(samples(trace)) == 2


async def test_other_tools_are_another_prompt(tokens: TokensWorld) -> None:
    """Tools stand at the head of the prompt: with others nothing before it holds."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    await agent.ask()
    agent.user("two")
    agent.tools = [TOOL, {"type": "function", "function": {"name": "other"}}]
    await agent.ask()
    trace = await tokens.checked(attempt)
    assert [turn.parent for turn in trace.turns] == [None, 0]
    assert summarise(trace, undelivered=False).n_forked == 1


async def test_a_truncated_turn_is_closed(tokens: TokensWorld) -> None:
    """What the limit cut off is gone on from; the end that it lacks is no token of the model's."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    tokens.server.say("a rather long sentence that does not end in time")
    await agent.ask(max_tokens=4)
    agent.user("two")
    await agent.ask()
    trace = await tokens.checked(attempt)
    assert trace.turns[0].finish_reason == "length"
    assert summarise(trace, undelivered=False).n_clean == 1


async def test_reasoning_stays_in_the_prompt(tokens: TokensWorld) -> None:
    """Agents that drop reasoning, and a new question, leave the sampled tokens where they are."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    tokens.server.say("<think>\nWhat now?\n</think>\n\nHello")
    message = await agent.ask()
    assert message.content == "Hello"
    assert (message.model_extra or {})["reasoning_content"] == "What now?"
    del agent.messages[-1]["reasoning_content"]
    agent.user("two")
    await agent.ask()
    trace = await tokens.checked(attempt)
    assert "What now?" in tokens.server.text(tokens.server.calls[1]["token_ids"])
    assert summarise(trace, undelivered=False).n_clean == 1


async def test_a_new_policy_goes_on_from_the_old_tokens(tokens: TokensWorld) -> None:
    """An update between two turns changes neither the prompt nor the sample, but the cache."""
    await tokens.add_endpoint(policy_version="7")
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    await agent.ask()
    await tokens.add_endpoint(policy_version="8")
    agent.user("two")
    await agent.ask()
    trace = await tokens.checked(attempt)
    [sample] = samples(trace)
    assert sample.policy_versions == ("7", "8")
    assert [call["cache_salt"] for call in tokens.server.calls] == ["7", "8"]


async def test_another_tokenizer_begins_anew(tokens: TokensWorld) -> None:
    """Ids of one vocabulary are never gone on from in another."""
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.user("one")
    await agent.ask()
    other = tokens.files.model_copy(update={"name_or_path": "another"})
    await tokens.add_endpoint(tokenizer_digest=await tokens.put(other))
    agent.user("two")
    tokens.server.say("Hello")
    await agent.ask()
    trace = await tokens.checked(attempt)
    assert [turn.parent for turn in trace.turns] == [None, 0]


async def test_the_models_own_template(tokens: TokensWorld) -> None:
    """Without a renderer of its own a model's template applies, and each turn is rendered whole."""
    await tokens.add_endpoint(renderer="default")
    attempt = await tokens.world.open(sampling=PINNED)
    agent = tokens.agent(attempt)
    agent.tools = []
    for text in ("one", "two"):
        agent.user(text)
        tokens.server.say(f"said {text}")
        message = await agent.ask()
        assert message.content == f"said {text}"
    await tokens.checked(attempt)
    asked = tokens.server.text(tokens.server.calls[1]["token_ids"])
    assert asked.endswith("<|im_start|>user\ntwo<|im_end|>\n<|im_start|>assistant\n")


async def test_after_a_gateways_death(
    own_world: World, server: GenerateServer, tokens: TokensWorld
) -> None:
    """A gateway that never met the session reads its tokens from the log and goes on from them."""
    mine = TokensWorld(own_world, server, tokens.files)
    await mine.add_endpoint()
    attempt = await own_world.open(sampling=PINNED)
    agent = mine.agent(attempt)
    for number in range(4):
        agent.user(f"Say {number}")
        await agent.ask()
        if number == 2:
            own_world.gateway.kill_child()
    trace = await mine.checked(attempt)
    assert len(samples(trace)) == 1


async def test_an_evaluation_has_samples_too(tokens: TokensWorld) -> None:
    """Purpose decides how is sampled, not what is recorded; the older reply is read, too."""
    attempt = await tokens.world.open(purpose=Purpose.EVAL)
    agent = tokens.agent(attempt)
    for text in ("one", "two"):
        agent.user(text)
        tokens.server.wishes.append(Wish(say=text, old_shape=True))
        await agent.ask(top_p=0.5)
    await tokens.checked(attempt)
    assert tokens.server.calls[0]["sampling_params"]["top_p"] == 0.5


async def test_what_was_forgotten_is_read_again(tokens: TokensWorld) -> None:
    """A bound on what is kept in memory costs reading, not tokens; errors and gaps have none."""
    history = History(tokens.world.store, most_tokens=0)
    attempts = [await tokens.world.open(sampling=PINNED) for _ in range(2)]
    for attempt in attempts:
        agent = tokens.agent(attempt)
        for text in ("one", "two"):
            agent.user(text)
            await agent.ask()
    for attempt in (*attempts, *attempts):
        turn = await history.turn(attempt, 1)
        given = tokens.server.of(attempt)[1].tokens
        assert turn is not None
        assert tuple(turn.prompt_ids) == given.prompt_ids
        assert tuple(turn.completion_ids) == given.completion_ids
        assert turn.n_messages == 4
    assert await history.turn(attempts[0], 7) is None
