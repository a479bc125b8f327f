"""What is refused in mode `tokens`: requests, replies and endpoints, each by its name."""

from typing import Any

import openai
import pytest

from tests.gateway.tokens_mode.conftest import TokensWorld
from tests.gateway.tokens_mode.generate_server import Wish


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"extra_body": {"chat_template_kwargs": {"a": 1}}}, "chat_template_kwargs"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, r"tools\[0\]"),
        ({"messages": [{"role": "critic", "content": "x"}]}, r"messages\[0\].role: 'critic'"),
        (
            {
                "messages": [
                    {"role": "system", "content": "x"},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "x"},
                            {"type": "image_url", "image_url": {"url": "data:image/png,x"}},
                        ],
                    },
                ]
            },
            r"messages\[1\].content\[1\]: a part of type 'image_url'",
        ),
    ],
)
async def test_what_tokens_cannot_express(
    tokens: TokensWorld, more: dict[str, Any], named: str
) -> None:
    """A 400 names it, once, and the model server is not asked."""
    client = tokens.world.client(await tokens.world.open())
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}], **more}
    with pytest.raises(openai.BadRequestError, match=named):
        await client.chat.completions.create(model="any", **asked)
    assert tokens.server.calls == []


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ({"token_ids": None}, "no choices.0..token_ids"),
        ({"logprobs": None}, "2 completion ids, 0 log-probs"),
        ({"logprobs": {"content": []}}, "2 completion ids, 0 log-probs"),
        (
            {"logprobs": {"content": [{"token_id": 5, "logprob": -1}] * 2}},
            "log-prob 0 is of 5, not of token",
        ),
    ],
)
async def test_a_reply_without_its_tokens(
    tokens: TokensWorld, spoil: dict[str, Any], why: str
) -> None:
    """What could not be trained on is no answer, and is not asked for again."""
    client = tokens.world.client(await tokens.world.open(), max_retries=0)
    tokens.server.wishes.append(Wish(say="<think>", spoil=spoil))
    with pytest.raises(openai.APIStatusError, match=why) as raised:
        await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "x"}]
        )
    assert raised.value.status_code == 502
    assert len(tokens.server.calls) == 1


async def test_a_log_prob_that_the_server_lacks(tokens: TokensWorld) -> None:
    """vLLM writes -9999 where it has none: that is no number to train on."""
    client = tokens.world.client(await tokens.world.open(), max_retries=0)
    [token] = tokens.server.ids("<think>")
    entries = [{"token_id": token, "logprob": -9999.0}]
    spoil = {"logprobs": {"content": entries}, "token_ids": [token]}
    tokens.server.wishes.append(Wish(say="<think>", spoil=spoil))
    with pytest.raises(openai.APIStatusError, match="log-prob 0 is -9999"):
        await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "x"}]
        )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tokenizer_digest": None}, "has no tokenizer: add it again"),
        ({"renderer": None}, "has no tokenizer: add it again"),
        ({"tokenizer_digest": "0" * 64}, "is not in the store"),
        ({"renderer": "glm-5"}, "renderer 'glm-5' cannot use this tokenizer"),
        ({"renderer": "nobody"}, "there is no renderer 'nobody'"),
    ],
)
async def test_an_endpoint_that_cannot_render(
    tokens: TokensWorld, changes: dict[str, object], why: str
) -> None:
    """Each call is refused with what to do about it."""
    await tokens.add_endpoint(**changes)
    client = tokens.world.client(await tokens.world.open())
    with pytest.raises(openai.BadRequestError, match=why):
        await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "x"}]
        )


async def test_a_template_reads_no_calls(tokens: TokensWorld) -> None:
    """The renderer that knows only a template refuses tools rather than lose their calls."""
    await tokens.add_endpoint(renderer="default")
    agent = tokens.agent(await tokens.world.open())
    agent.user("one")
    with pytest.raises(openai.BadRequestError, match="reads no tool calls"):
        await agent.ask()
