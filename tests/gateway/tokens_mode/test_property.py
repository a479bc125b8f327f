"""Whatever an agent does with its history, the samples hold the engine's tokens alone."""

import asyncio
import uuid
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rolldock.chains import TokenChains
from rolldock.models.tokenizer import TokenizerFiles
from rolldock.store.store import Store
from rolldock.transitions import transitions
from tests.gateway.conftest import GatewayProcess, World, close_clients
from tests.gateway.model_server import ModelServer
from tests.gateway.tokens_mode.conftest import PINNED, Agent, TokensWorld, calling
from tests.gateway.tokens_mode.generate_server import GenerateServer, Wish

WORDS = st.one_of(
    st.text(alphabet='ab \n<>\\"{é\U0001f600', max_size=8),
    st.sampled_from(["You are a helpful assistant", "Write files and run commands"]),
)
SAID = st.one_of(
    st.none(),
    WORDS,
    st.builds("<think>\n{0}\n</think>\n\n{0}".format, WORDS),
    st.sampled_from(
        [
            calling("ls"),
            f"two\n{calling('a')}\n{calling('b')}",
            "<tool_call>\nbroken\n</tool_call>",
            "<tool_call>\nunclosed",
            "<think>\nnever ends",
        ]
    ),
)
"""What the model says; None: whatever it samples."""


class Deed(StrEnum):
    """What an agent does to its history before it asks again."""

    APPEND = "append"
    EDIT = "edit"
    BRANCH = "branch"


@dataclass(frozen=True)
class Step:
    """One call: what comes before it, and how it is answered."""

    deed: Deed
    text: str
    where: int
    said: str | None
    limit: int | None


STEPS = st.lists(
    st.builds(
        Step,
        deed=st.sampled_from([Deed.APPEND, Deed.APPEND, Deed.APPEND, Deed.EDIT, Deed.BRANCH]),
        text=WORDS,
        where=st.integers(min_value=0, max_value=20),
        said=SAID,
        limit=st.sampled_from([None, None, 1, 5]),
    ),
    min_size=2,
    max_size=7,
)


@given(steps=STEPS)
@settings(max_examples=15, deadline=None)
def test_any_conversation(
    store_path: Path, shared_gateway: GatewayProcess, files: TokenizerFiles, steps: list[Step]
) -> None:
    """Append, edit and branch at will: each turn trains once, on what the engine gave."""
    asyncio.run(_converse(Store.open(str(store_path)), shared_gateway, files, steps))


async def _converse(
    store: Store, gateway: GatewayProcess, files: TokenizerFiles, steps: list[Step]
) -> None:
    server = GenerateServer()
    await server.start()
    world = World(store, gateway, ModelServer(), f"e-{uuid.uuid4()}")
    try:
        tokens = TokensWorld(world, server, files)
        await tokens.add_endpoint()
        attempt = await world.open(sampling=PINNED)
        agent = tokens.agent(attempt)
        agent.user("begin")
        histories: list[list[object]] = []
        for step in steps:
            server.wishes.append(Wish(say=step.said))
            _do(step, agent, histories)
            await agent.ask(**({} if step.limit is None else {"max_tokens": step.limit}))
            histories.append([*agent.messages])
        trace = await tokens.checked(attempt)
    finally:
        await close_clients(world)
        await server.stop()
    assert len(trace.turns) == len(steps)
    [thinking] = server.ids("<think>")
    given = server.of(attempt)
    drifts = {each.slot: each for each in transitions(TokenChains(trace.turns))}
    for slot, step in enumerate(steps[1:], 1):
        if step.deed is not Deed.EDIT:
            # What only appends is not rendered anew, from whatever turn it goes on; but who can
            # tell what follows reasoning that did not end?
            thought = thinking in given[drifts[slot].parent].tokens.completion_ids
            assert thought or drifts[slot].drift_tokens == 0


def _do(step: Step, agent: Agent, histories: list[list[object]]) -> None:
    if not histories:
        return
    if step.deed is Deed.BRANCH:
        agent.messages = [*histories[step.where % len(histories)]]
    agent.results(step.text)
    if agent.messages[-1]["role"] == "assistant" or step.where % 2:
        agent.user(step.text)
    if step.deed is Deed.EDIT:
        place = step.where % len(agent.messages)
        agent.messages[place] = {**agent.messages[place], "content": f"edited {step.text}"}
