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

from typing import Final, Literal

from pydantic import Field

from rolldock.models.base import Contract, JsonObject
from rolldock.models.turn import Turn

from .agent import Agent, AgentContext, Launch
from .launching import HELD_SECONDS, merge
from .python_home import install_script, with_mark
from .python_program import PythonProgram, litellm_limits

VERSION: Final = "0.24.0"
"""Of harbor: the agent's own says nothing of what it does."""
_PROGRAM: Final = PythonProgram("terminus-2")
CONFIG_FILE: Final = _PROGRAM.config_file
PROGRAM_FILE: Final = _PROGRAM.program_file
MODEL: Final = "openai/rolldock"

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
    return _PROGRAM.launch(
        context,
        config,
        f"--home {context.home} --run {_PROGRAM.run} --logs {_PROGRAM.logs}",
    )


def _config(context: AgentContext, options: Terminus2Options) -> JsonObject:
    config: JsonObject = {
        "model_name": MODEL,
        "api_base": context.base_url,
        "parser_name": options.parser,
        "enable_summarize": options.compact,
        "record_terminal_session": False,
        "suppress_max_turns_warning": True,
        "llm_kwargs": litellm_limits(context),
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
    hold_seconds=HELD_SECONDS,
    install=_INSTALL,
    requires=("tmux",),
    check=_MARK,
    options=Terminus2Options,
    auxiliary=_is_auxiliary,
    launch=_launch,
)
