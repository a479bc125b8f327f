"""`nop`: does nothing at once. For benchmarks, and to see that a task's tests fail untouched."""

from typing import Final

from .agent import Agent, AgentContext, Launch


def _launch(context: AgentContext) -> Launch:
    return Launch(command="true")


NOP: Final = Agent(name="nop", version="1", launch=_launch)
