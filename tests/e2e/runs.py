"""Whole rollouts as the tests here run them, and what their traces give back.

It judges no result: what a rollout has to come to is said by each test.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from rolldock.gateway.rebuild import Rebuilder
from rolldock.models.result import RolloutResult
from rolldock.trainer.client import Client

_ROOT: Final = Path(__file__).parents[2]

EXAMPLES: Final = _ROOT / "examples" / "tasks"
TASKS: Final = _ROOT / "tests" / "tasks"
HELLO: Final = EXAMPLES / "hello-world"
LONG_WAIT: Final = TASKS / "long-wait"
NO_SCRIPT: Final = TASKS / "no-script"


async def run(
    client: Client,
    task: Path,
    agent: str,
    endpoint: str | None = None,
    *,
    image: str | None = None,
    limits: Mapping[str, float | int | None] | None = None,
    options: Mapping[str, JsonValue] | None = None,
) -> RolloutResult:
    """One rollout to its result, under an id of its own."""
    spec = await client.spec(
        task, agent=agent, endpoint=endpoint, image=image, limits=limits, agent_options=options
    )
    return await (await client.start(spec)).result()


async def sent_bodies(client: Client, result: RolloutResult) -> list[bytes]:
    """What the model server was asked, turn by turn; every byte is checked against its digest."""
    trace = await client.trace(result.rollout)
    calls = Rebuilder(client.store, trace.attempt, trace.turns)
    bodies: list[bytes] = []
    for turn in trace.turns:
        bodies.append(await calls.sent(turn.slot))
        assert sha256(bodies[-1]) == turn.sent.digest
        assert sha256(await calls.request(turn.slot)) == turn.request.digest
        assert sha256(await calls.reply(turn.slot)) == turn.reply.digest
        assert sha256(await calls.delivered(turn.slot) or b"") == turn.delivered_digest
    return bodies


def sha256(content: bytes) -> str:
    """The digest of bytes as records name it."""
    return hashlib.sha256(content).hexdigest()
