"""`bash`: Rolldock's own agent, one Python file that loops over chat completions with a shell tool.

The baseline for tests and benchmarks. It needs `python3` (3.8 or later) and bash in the image, and
nothing to install: the file is uploaded.
"""

import hashlib
import shlex
from importlib import resources
from typing import Final

from pydantic import Field

from rolldock.models.base import Contract

from .agent import AGENT_LOGS, API_KEY_VARIABLE, Agent, AgentContext, Launch
from .launching import HELD_SECONDS, SLACK_SECONDS

PROGRAM: Final = "bash_agent.py"

_SYSTEM_FILE: Final = "/tmp/rolldock-bash-system.txt"


class BashOptions(Contract):
    """Options of the bash agent."""

    system_prompt: str | None = Field(default=None, min_length=1)
    """Instead of the built-in one."""
    command_timeout_seconds: float = Field(default=600, gt=0)
    """A command that runs longer is killed, and the model told so."""


def _launch(context: AgentContext) -> Launch:
    options = BashOptions.model_validate(context.options)
    arguments = [
        "python3",
        f"{context.home}/{PROGRAM}",
        f"--instruction={context.instruction_file}",
        f"--base-url={context.base_url}",
        f"--model={context.model}",
        f"--log-dir={AGENT_LOGS}/bash",
        f"--command-timeout={options.command_timeout_seconds:g}",
        f"--request-timeout={context.hold_seconds + SLACK_SECONDS:g}",
    ]
    files: dict[str, str] = {}
    if options.system_prompt is not None:
        files[_SYSTEM_FILE] = options.system_prompt
        arguments.append(f"--system={_SYSTEM_FILE}")
    return Launch(
        command=shlex.join(arguments),
        files=files,
        api_key_variables=(API_KEY_VARIABLE,),
    )


def _agent() -> Agent:
    program = resources.files("rolldock.agents").joinpath(PROGRAM).read_text("utf-8")
    return Agent(
        name="bash",
        # By content: an installed copy of another version is never taken for this one.
        version=f"1-{hashlib.sha256(program.encode()).hexdigest()[:8]}",
        dialect="openai.chat",
        hold_seconds=HELD_SECONDS,
        check=PROGRAM,
        bundled={PROGRAM: program},
        options=BashOptions,
        launch=_launch,
    )


BASH: Final = _agent()
