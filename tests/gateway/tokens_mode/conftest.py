"""A model server that takes and gives tokens, behind the real gateway."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessage, ChatCompletionToolParam

from rolldock.gateway.engine_tokens import EngineTokens
from rolldock.models.endpoint import Endpoint, EngineMode
from rolldock.models.spec import Sampling
from rolldock.models.tokenizer import TokenizerFiles
from rolldock.models.trace import Trace
from rolldock.samples import samples
from rolldock.trainer.tokenizers import read_tokenizer
from tests.gateway.conftest import World
from tests.gateway.tokens_mode.generate_server import MODEL, GenerateServer
from tests.gateway.tokens_mode.tiny_model import write_tokenizer

TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Run a command.",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
    },
}
PINNED = Sampling(temperature=1.0)


def calling(command: str, before: str = "") -> str:
    """What the model has to say to call the tool."""
    call = f'{{"name": "bash", "arguments": {{"command": "{command}"}}}}'
    return f"{before}<tool_call>\n{call}\n</tool_call>"


@cache
def tokenizer_files(directory: Path) -> TokenizerFiles:
    """The files of the tokenizer that a directory gets."""
    return read_tokenizer(write_tokenizer(directory))


@dataclass
class Agent:
    """A conversation as an agent holds it: what it got goes back as it came."""

    client: AsyncOpenAI
    messages: list[Any] = field(default_factory=list[Any])
    tools: list[ChatCompletionToolParam] = field(default_factory=lambda: [TOOL])

    async def ask(self, **more: Any) -> ChatCompletionMessage:
        """One call; its answer is taken into the conversation."""
        if self.tools:
            more["tools"] = self.tools
        create = self.client.chat.completions.create
        reply = cast(ChatCompletion, await create(model="any", messages=self.messages, **more))
        message = reply.choices[0].message
        self.messages.append(message.model_dump(exclude_none=True))
        return message

    def user(self, text: str) -> None:
        """The next message is a user's."""
        self.messages.append({"role": "user", "content": text})

    def results(self, text: str) -> None:
        """The next messages answer the tool calls of the last one."""
        calls = cast(list[dict[str, Any]], self.messages[-1].get("tool_calls", []))
        for call in calls:
            answered = {"role": "tool", "tool_call_id": call["id"], "content": text}
            self.messages.append(answered)


@dataclass
class TokensWorld:
    """A world whose endpoint is of mode `tokens`."""

    world: World
    server: GenerateServer
    files: TokenizerFiles

    async def add_endpoint(self, **changes: object) -> Endpoint:
        """A new version of the endpoint."""
        record: dict[str, object] = {
            "replicas": (self.server.url,),
            "model": MODEL,
            "mode": EngineMode.TOKENS,
            "token_ids": True,
            "tokenizer_digest": await self.put(self.files),
            "renderer": "qwen3",
        }
        return await self.world.add_endpoint(**(record | changes))

    async def put(self, files: TokenizerFiles) -> str:
        """Store a tokenizer. Returns its digest."""
        return await self.world.store.put_blob(files.model_dump_json().encode())

    def agent(self, attempt: str) -> Agent:
        """An agent with a system prompt."""
        agent = Agent(self.world.client(attempt))
        agent.messages.append({"role": "system", "content": "You write files."})
        return agent

    async def checked(self, attempt: str) -> Trace:
        """The trace, once it holds exactly what the server was asked and gave."""
        trace, given = await self.world.trace(attempt), self.server.of(attempt)
        rebuilder = await self.world.rebuilder(attempt)
        for turn in trace.turns:
            assert turn.upstream == "tokens"
            assert rebuilder.tokens(turn.slot) == given[turn.slot].tokens
            assert await rebuilder.sent(turn.slot) == given[turn.slot].raw
            assert await rebuilder.reply(turn.slot) == given[turn.slot].reply
            assert await rebuilder.request(turn.slot)
            assert await rebuilder.delivered(turn.slot)
        check_samples(trace, {slot: each.tokens for slot, each in given.items()})
        return trace


def check_samples(trace: Trace, given: dict[int, EngineTokens]) -> None:
    """The tokens of the samples are the engine's, each turn trains once, none is invented."""
    trained: list[int] = []
    for sample in samples(trace):
        n_trained = 0
        for span in sample.spans:
            tokens, place = given[span.slot], slice(span.start, span.end)
            assert sample.token_ids[: span.start] == tokens.prompt_ids
            assert sample.token_ids[place] == tokens.completion_ids
            assert set(sample.mask[place]) == {int(span.trains)}
            if span.trains:
                assert sample.logprobs[place] == tokens.logprobs
                trained.append(span.slot)
                n_trained += len(tokens.completion_ids)
        assert sum(sample.mask) == n_trained
        assert sample.spans[-1].end == len(sample.token_ids)
    assert sorted(trained) == [turn.slot for turn in trace.turns]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> TokenizerFiles:
    """The tiny model's tokenizer."""
    return tokenizer_files(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
async def server() -> AsyncIterator[GenerateServer]:
    """A tiny model of this test's own."""
    made = GenerateServer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def tokens(world: World, server: GenerateServer, files: TokenizerFiles) -> TokensWorld:
    """The shared gateway with an endpoint that leads to this test's tiny model."""
    made = TokensWorld(world, server, files)
    await made.add_endpoint()
    return made
