"""What an agent is run with in a context of the tests' own.

It says nothing of what that should be, and runs nothing.
"""

from collections.abc import Mapping
from typing import Any, Final

from rolldock.agents.agent import Agent, AgentContext, Launch

BASE_URL: Final = "http://127.0.0.64:41800/v1"
MODEL: Final = 'odd "model"/x'
"""A name that is easily quoted wrongly, as that of the instruction's file is."""
HOLD_SECONDS: Final = 100


def launched(
    agent: Agent,
    options: Mapping[str, Any],
    *,
    home: str | None = None,
    instruction_file: str = "/opt/rolldock/task/it's.md",
    model: str = MODEL,
    hold_seconds: float = HOLD_SECONDS,
) -> Launch:
    """An agent's launch with some options; home None: where its version 1 would be."""
    return agent.launch(
        AgentContext(
            version=agent.version,
            home=home or f"/opt/rolldock/agents/{agent.name}/1",
            workdir="/app",
            instruction_file=instruction_file,
            base_url=BASE_URL,
            model=model,
            hold_seconds=hold_seconds,
            options=dict(options),
        )
    )
