"""`terminus-2`: Harbor's own agent, unmodified, in the sandbox: it types into a terminal.

What its release does, and this file relies on (checked against harbor 0.24.0):
- it asks for JSON or XML in plain text, never for tools, and a model must say twice that its task
  is done; all it says is one first user message: there is no system prompt to replace;
- it drives `tmux` by commands: it brings its own, at its own socket, without asciinema; what it
  starts there outlives it, as under Harbor;
- every error but 401 and a full context is tried again eight times with pauses of 4 s, beside the
  retries of its client; with summaries switched on, an error after one becomes a made-up reply;
- it waits at most 60 s for a command, however long the model asks it to, and then shows the screen;
- its trajectory holds its arguments: the key is not among them;
- Harbor counts its jobs for its makers, but not its agents.
The model's name is one that nobody knows, so that nothing is done for models of that name, and the
gateway puts the endpoint's in its place. It has no tools to disable.

Auxiliary calls, where summaries are on: three for each summary, known by their last message. The
summary itself ("You are about to hand off your work to another AI agent") continues the
conversation; the questions ("You are picking up work from a previous AI agent on this task") are a
conversation of one message; the answers ("The next agent has a few questions for you") continue the
summary. If they fail, one more ("Briefly continue this task:"). The conversation then goes on from
its first message, the questions and the answers.
"""

import json
import shlex
from importlib import resources
from typing import Final, Literal

from pydantic import Field

from rolldock.models.base import Contract, JsonObject
from rolldock.models.turn import Turn

from .agent import AGENT_LOGS, Agent, AgentContext, Launch
from .launching import TAIL_BYTES, keep_key, merge, writable_home
from .python_home import OPTIONS, install_script, with_mark

VERSION: Final = "0.24.0"
"""Of harbor: the agent's own says nothing of what it does."""
API_KEY_VARIABLE: Final = "ROLLDOCK_API_KEY"
CONFIG_FILE: Final = "/tmp/rolldock-terminus-2.json"
"""Directly in /tmp: the agent's user need not be the one that wrote it."""
PROGRAM_FILE: Final = "/tmp/rolldock-terminus-2.py"
MODEL: Final = "openai/rolldock"

_LOGS: Final = f"{AGENT_LOGS}/terminus-2"
_RUN: Final = "/tmp/rolldock-terminus-2"
_KEY_FILE: Final = f"{_RUN}/key"
_HOLD_SECONDS: Final = 3400.0
"""Longer than any one model call of the gateway: calls are not streamed, so all is held."""
_SLACK_SECONDS: Final = 120.0
"""What the client's timeout has over the hold."""
_CLIENT_RETRIES: Final = 5
"""With growing pauses, 15 s in all, for each of its own tries."""
_AUXILIARY: Final = (
    "You are about to hand off your work to another AI agent.",
    "You are picking up work from a previous AI agent on this task:",
    "The next agent has a few questions for you, please answer each of them",
    "Briefly continue this task:",
)

_INSTALL, _MARK = with_mark(
    install_script(
        package="harbor",
        version=VERSION,
        # What LiteLLM imports and does not ask for.
        beside=("mcp", "orjson"),
        imports="harbor.agents.terminus_2.terminus_2",
        tmux=True,
    )
)


class Terminus2Options(Contract):
    """Options of Terminus 2."""

    parser: Literal["json", "xml"] = "json"
    """The form in which the model is asked to answer."""
    max_turns: int | None = Field(default=None, ge=1)
    """It ends after so many, with exit code 1 if the model is not done by then."""
    context_tokens: int | None = Field(default=None, ge=1)
    """The model's context length, for summaries; None: it takes it for a million."""
    compact: bool = False
    """Whether it summarises its conversation before the context is full, and when it is."""
    extra_config: JsonObject = Field(default_factory=dict)
    """Merged into the arguments of Harbor's class `Terminus2`, over everything else."""


def _launch(context: AgentContext) -> Launch:
    options = Terminus2Options.model_validate(context.options)
    config = merge(_config(context, options), options.extra_config)
    program = resources.files("rolldock.agents").joinpath("terminus_2_run.py")
    return Launch(
        command=_command(context),
        files={
            CONFIG_FILE: json.dumps(config, indent=2),
            PROGRAM_FILE: program.read_text("utf-8"),
        },
        api_key_variables=(API_KEY_VARIABLE,),
    )


def _command(context: AgentContext) -> str:
    """Key into a file that the program removes, task from its file, output into a file."""
    return f"""\
mkdir -p {_RUN} {_LOGS} || exit 1
{keep_key(API_KEY_VARIABLE, _KEY_FILE)}
{writable_home(_RUN)}
{context.home}/python/bin/python3 {OPTIONS} {PROGRAM_FILE} --home {context.home} \\
  --config {CONFIG_FILE} --instruction {shlex.quote(context.instruction_file)} \\
  --key-file {_KEY_FILE} --run {_RUN} --logs {_LOGS} < /dev/null > {_LOGS}/output.txt 2>&1
code=$?
[ "$code" -eq 0 ] || tail -c {TAIL_BYTES} {_LOGS}/output.txt >&2
exit "$code"
"""


def _config(context: AgentContext, options: Terminus2Options) -> JsonObject:
    config: JsonObject = {
        "model_name": MODEL,
        "api_base": context.base_url,
        "parser_name": options.parser,
        "enable_summarize": options.compact,
        "record_terminal_session": False,
        "suppress_max_turns_warning": True,
        "llm_kwargs": {
            "timeout": context.hold_seconds + _SLACK_SECONDS,
            "max_retries": _CLIENT_RETRIES,
        },
    }
    if options.max_turns is not None:
        config["max_turns"] = options.max_turns
    if options.context_tokens is not None:
        config["model_info"] = {
            "litellm_provider": "openai",
            "mode": "chat",
            "max_input_tokens": options.context_tokens,
        }
    return config


def _is_auxiliary(turn: Turn) -> bool:
    """By how the last message begins: a task that says such words stands behind others."""
    last = turn.messages[-1] if turn.messages else None
    content = last.get("content") if isinstance(last, dict) else None
    return isinstance(content, str) and content.startswith(_AUXILIARY)


TERMINUS_2: Final = Agent(
    name="terminus-2",
    version=VERSION,
    dialect="openai.chat",
    hold_seconds=_HOLD_SECONDS,
    install=_INSTALL,
    requires=("tmux",),
    check=_MARK,
    options=Terminus2Options,
    auxiliary=_is_auxiliary,
    launch=_launch,
)
