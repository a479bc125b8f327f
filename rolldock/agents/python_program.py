"""How an agent in Python is run: by a program of ours, uploaded with each launch beside its
configuration, in the Python that the agent brings (`python_home.py`).
"""

import json
import shlex
from dataclasses import dataclass
from importlib import resources
from typing import Final

from rolldock.models.base import JsonObject

from .agent import AGENT_LOGS, API_KEY_VARIABLE, AgentContext, Launch
from .launching import SLACK_SECONDS, TAIL_BYTES, keep_key, writable_home
from .python_home import OPTIONS

_CLIENT_RETRIES: Final = 5
"""With growing pauses, 15 s in all, for each of an agent's own tries."""


@dataclass(frozen=True, slots=True)
class PythonProgram:
    """The program of one agent: `{name}_run.py` beside this file, its dashes underscores."""

    name: str

    @property
    def config_file(self) -> str:
        """Directly in /tmp: the agent's user need not be the one that wrote it."""
        return f"{self.run}.json"

    @property
    def program_file(self) -> str:
        """Where the program is put."""
        return f"{self.run}.py"

    @property
    def run(self) -> str:
        """A directory for what it needs only while it runs."""
        return f"/tmp/rolldock-{self.name}"

    @property
    def logs(self) -> str:
        """Where its own logs belong."""
        return f"{AGENT_LOGS}/{self.name}"

    def launch(self, context: AgentContext, config: JsonObject, arguments: str) -> Launch:
        """Run it with a configuration and, beside what every such program takes, `arguments`."""
        program = f"{self.name.replace('-', '_')}_run.py"
        text = resources.files("rolldock.agents").joinpath(program).read_text("utf-8")
        return Launch(
            command=self._command(context, arguments),
            files={self.config_file: json.dumps(config, indent=2), self.program_file: text},
            api_key_variables=(API_KEY_VARIABLE,),
        )

    def _command(self, context: AgentContext, arguments: str) -> str:
        """Key into a file that the program removes, task from its file, output into a file."""
        key_file = f"{self.run}/key"
        return f"""\
mkdir -p {self.run} {self.logs} || exit 1
{keep_key(API_KEY_VARIABLE, key_file)}
{writable_home(self.run)}
{context.home}/python/bin/python3 {OPTIONS} {self.program_file} --config {self.config_file} \\
  --instruction {shlex.quote(context.instruction_file)} --key-file {key_file} \\
  {arguments} < /dev/null > {self.logs}/output.txt 2>&1
code=$?
[ "$code" -eq 0 ] || tail -c {TAIL_BYTES} {self.logs}/output.txt >&2
exit "$code"
"""


def litellm_limits(context: AgentContext) -> JsonObject:
    """What LiteLLM is told of its client: it waits longer than the gateway withholds headers."""
    return {
        "timeout": context.hold_seconds + SLACK_SECONDS,
        "max_retries": _CLIENT_RETRIES,
    }
