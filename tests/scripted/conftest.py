"""A scripted server of the examples' conversations, with the clients of its formats."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from rolldock.scripted.script import Script, load_scripts
from rolldock.scripted.server import serve

ROOT = Path(__file__).parents[2]
API_KEY = "scripted-key"


@pytest.fixture
def scripts() -> dict[str, Script]:
    """The examples' conversations, one of odd turns, and one that keeps the client waiting."""
    odd = Script.model_validate(
        {
            "match": "odd",
            "turns": [
                {"say": "Grüße\nzwei", "calls": [{"name": "write", "arguments": {"path": "ä"}}]},
                {"error": {"status": 400, "message": "too long", "code": "context"}},
            ],
        }
    )
    slow = Script.model_validate(
        {"match": "slow", "turns": [{"say": "late", "delay_seconds": 0.3}]}
    )
    examples = load_scripts(ROOT / "examples" / "scripts")
    return {**examples, **load_scripts(ROOT / "tests" / "scripts"), "odd": odd, "slow": slow}


@pytest.fixture
async def address(scripts: dict[str, Script]) -> AsyncGenerator[str, None]:
    """The address of a running server that demands a key."""
    async with serve(scripts, api_key=API_KEY) as address:
        yield address


@pytest.fixture
async def openai_client(address: str) -> AsyncGenerator[AsyncOpenAI, None]:
    """The real client."""
    async with AsyncOpenAI(base_url=f"{address}/v1", api_key=API_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic_client(address: str) -> AsyncGenerator[AsyncAnthropic, None]:
    """The real client."""
    async with AsyncAnthropic(base_url=address, api_key=API_KEY, max_retries=0) as client:
        yield client
