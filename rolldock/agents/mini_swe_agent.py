"""`mini-swe-agent`: the unmodified package from PyPI, in yolo mode, on the Python that it brings.

What its release does, and this file relies on (checked against 2.4.6):
- any configuration of one's own replaces its default: the default is given first, ours over it;
- prompts are templates of Jinja, the task a value in one: nothing in it is replaced;
- every error but 401, 403, 404 and a full context is tried again nine times with pauses of 4 to
  60 s, beside the retries of its client; a reply without a tool call gets an explanation, and the
  third in a row ends it;
- commands run in its own environment, each in a new shell; what a service in the background writes
  to is waited for until the command's timeout, and then the service is killed;
- its trajectory holds its configuration: the key is not in it;
- models of unknown price end it, unless costs are not tracked; its model's name is one that nobody
  knows, so that nothing is done for models of that name, and the gateway puts the endpoint's in.
It sends only `bash`, so there are no tools to disable. Auxiliary calls: none.
"""

import json
from typing import Final, Literal

from pydantic import Field

from rolldock.models.base import Contract, JsonObject

from .agent import Agent, AgentContext, Launch
from .launching import HELD_SECONDS, merge
from .python_home import install_script, with_mark
from .python_program import PythonProgram, litellm_limits

VERSION: Final = "2.4.6"
_PROGRAM: Final = PythonProgram("mini-swe-agent")
CONFIG_FILE: Final = _PROGRAM.config_file
PROGRAM_FILE: Final = _PROGRAM.program_file

_INSTALL, _MARK = with_mark(
    install_script(
        package="mini-swe-agent",
        version=VERSION,
        # What LiteLLM imports and does not ask for.
        beside=("mcp", "fastapi", "orjson"),
        imports="minisweagent.models.litellm_model, minisweagent.agents.interactive",
    )
)


class MiniSweAgentOptions(Contract):
    """Options of mini-swe-agent."""

    config: Literal["mini", "default", "mini_textbased"] = "mini"
    """Its configuration to begin with; `mini_textbased` takes commands from code blocks, for models
    without tools, and is fit for no other."""
    system_prompt: str | None = Field(default=None, min_length=1)
    """Instead of its own, as it stands; how to work is said in the first user message."""
    max_turns: int | None = Field(default=None, ge=1)
    """It ends after so many model calls, with exit code 1 if the model is not done by then."""
    command_timeout_seconds: int = Field(default=600, ge=1)
    """A command that runs longer is killed, and the model told so; its own default is 30."""
    extra_config: JsonObject = Field(default_factory=dict)
    """Merged into its configuration, over everything else."""


def _launch(context: AgentContext) -> Launch:
    options = MiniSweAgentOptions.model_validate(context.options)
    config = merge(_config(context, options), options.extra_config)
    return _PROGRAM.launch(
        context,
        config,
        f"--packages {context.home}/packages --state {_PROGRAM.run}/state",
    )


def _config(context: AgentContext, options: MiniSweAgentOptions) -> JsonObject:
    agent: JsonObject = {
        "mode": "yolo",
        "confirm_exit": False,
        "cost_limit": 0,
        "step_limit": options.max_turns or 0,
        "wall_time_limit_seconds": 0,
        "output_path": f"{_PROGRAM.logs}/trajectory.json",
    }
    if options.system_prompt is not None:
        # As a value in the template: as the template itself, its braces would be replaced.
        agent["system_template"] = (
            "{{ " + json.dumps(options.system_prompt, ensure_ascii=False) + " }}"
        )
    model: JsonObject = {
        "model_name": "openai/rolldock",
        "cost_tracking": "ignore_errors",
        "model_kwargs": {"api_base": context.base_url, **litellm_limits(context)},
    }
    if options.config == "mini_textbased":
        model["model_class"] = "litellm_textbased"
    return {
        "base": f"{options.config}.yaml",
        "agent": agent,
        "model": model,
        "environment": {"timeout": options.command_timeout_seconds},
    }


MINI_SWE_AGENT: Final = Agent(
    name="mini-swe-agent",
    version=VERSION,
    dialect="openai.chat",
    hold_seconds=HELD_SECONDS,
    install=_INSTALL,
    check=_MARK,
    options=MiniSweAgentOptions,
    launch=_launch,
)
