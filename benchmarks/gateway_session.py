"""What a long session leaves in the store: a conversation that grows to a number of tokens.

Plays the agent's side against a gateway and measures the store. Which gateway, and in front of
which model server, is the caller's business.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import orjson

from rolldock.gateway.seal import seal
from rolldock.models.trace import TraceSummary
from rolldock.store.store import Store

N_TURNS: Final = 100
N_TOKENS: Final = 64_000
"""Prompt and completion of the last turn."""
N_COMPLETION_TOKENS: Final = 240

_SYSTEM_TOKENS: Final = 4_000
_CHARACTERS_PER_TOKEN: Final = 4
_TEMPLATE_TOKENS: Final = 10
"""Around the two messages that a turn adds."""


class SessionSize(NamedTuple):
    """A session as it is stored."""

    n_bytes: int
    """Under its own name and in blobs, before it is sealed."""
    n_sealed_bytes: int
    """The same with the trace."""
    seal_seconds: float
    summary: TraceSummary


async def converse(url: str, key: str, n_turns: int = N_TURNS) -> None:
    """An agent's whole conversation: each request repeats all before and adds a tool's output.

    Raises:
        aiohttp.ClientError: a request was not answered with status 200.
    """
    observed_tokens = (N_TOKENS - _SYSTEM_TOKENS) // N_TURNS - N_COMPLETION_TOKENS
    messages = [{"role": "system", "content": _output(_SYSTEM_TOKENS, 0)}]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as http:
        for turn in range(n_turns):
            output = _output(observed_tokens - _TEMPLATE_TOKENS, turn)
            messages.append({"role": "user", "content": output})
            body = orjson.dumps({"model": "bench", "temperature": 1.0, "messages": messages})
            async with http.post(f"{url}/v1/chat/completions", data=body) as response:
                reply = orjson.loads(await response.read())
            said = reply["choices"][0]["message"]
            messages.append({"role": "assistant", "content": said["content"]})


async def seal_and_measure(store: Store, attempt: str) -> SessionSize:
    """Seal a session in a directory and say how much is stored of it.

    Every blob of the store counts as its own.
    """
    n_bytes = stored_bytes(Path(store.where), attempt)
    began = time.perf_counter()
    summary = await seal(store, attempt, "bench/rollout", datetime.now(UTC))
    seal_seconds = time.perf_counter() - began
    return SessionSize(n_bytes, stored_bytes(Path(store.where), attempt), seal_seconds, summary)


def stored_bytes(root: Path, attempt: str) -> int:
    """The size of a session's records and of all blobs."""
    places = (root / "sessions" / attempt, root / "blobs")
    files = (path for place in places for path in place.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files)


def _output(n_tokens: int, number: int) -> str:
    """What a tool might have printed."""
    line = f"src/module_{number}.py:{number * 7}: assert value == {number * 7919}, repr(value)\n"
    n_characters = n_tokens * _CHARACTERS_PER_TOKEN
    return (line * (n_characters // len(line) + 1))[:n_characters]
