"""`oracle`: runs the task's own solution, as Harbor's does: itself, whatever its first line names.

Its environment is `[solution].env`; set-up has made it executable.
"""

from typing import Final

from .agent import AGENT_LOGS, Agent, AgentContext, Launch

# Into a file, never through a pipe: a service that the solution leaves running would hold the
# pipe open and the agent would seem to run for ever.
_COMMAND: Final = (
    f"mkdir -p {AGENT_LOGS} && /solution/solve.sh > {AGENT_LOGS}/oracle.txt 2>&1 < /dev/null"
)


def _launch(context: AgentContext) -> Launch:
    return Launch(command=_COMMAND, env={"DEBIAN_FRONTEND": "noninteractive"})


ORACLE: Final = Agent(name="oracle", version="1", needs_solution=True, launch=_launch)
