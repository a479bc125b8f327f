"""Live streams of a real small model, in the formats that are translated."""

from openai.types.responses import ResponseIncompleteEvent

from rolldock.gateway.dialects.chat_form import text_of
from rolldock.models.spec import Delivery, Sampling
from tests.gateway.conftest import World
from tests.gateway.test_anthropic import claude, user, words

N_TOKENS = 6
"""Enough for some pieces, and little to compute."""
SAMPLING = Sampling(temperature=0, max_tokens=N_TOKENS)


async def test_a_message_of_a_real_model(world: World, llama: str) -> None:
    """Each token comes by itself, and the message is what the turn says."""
    await world.add_endpoint(version=2, replicas=(llama,))
    attempt = await world.open(delivery=Delivery.LIVE, sampling=SAMPLING)
    async with (
        claude(world, attempt) as client,
        client.messages.stream(
            model="m", max_tokens=100, messages=[user("Count to ten.")]
        ) as stream,
    ):
        pieces = [text async for text in stream.text_stream]
        message = await stream.get_final_message()
    assert len(pieces) > 1
    assert [words(block) for block in message.content] == ["".join(pieces)]
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == N_TOKENS
    turn = (await world.trace(attempt)).turns[0]
    assert text_of(turn.message["content"]) == "".join(pieces)


async def test_a_response_of_a_real_model(world: World, llama: str) -> None:
    """The same as a response, which says that it is incomplete."""
    await world.add_endpoint(version=2, replicas=(llama,))
    attempt = await world.open(delivery=Delivery.LIVE, sampling=SAMPLING)
    stream = await world.client(attempt).responses.create(
        model="m", input="Count to ten.", stream=True
    )
    events = [event async for event in stream]
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(pieces) > 1
    last = events[-1]
    assert isinstance(last, ResponseIncompleteEvent)
    assert last.response.output_text == "".join(pieces)
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == N_TOKENS
    turn = (await world.trace(attempt)).turns[0]
    assert text_of(turn.message["content"]) == "".join(pieces)
