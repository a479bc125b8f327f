"""`claude-code`: the unmodified Claude Code from npm, run once without a terminal.

What its release does, and this file relies on (checked against 2.1.330; variables and settings are
those of code.claude.com/docs, but for the key's, which the program itself knows):
- the prompt is read from stdin, whatever it holds; the last event is `result`, and the exit code is
  1 if that `is_error`;
- a key in a file descriptor is taken from there and inherited by no command; one from a helper
  would make it try 401 and 403 again for minutes;
- the model's name may be any; every other model that it would use is given the same name;
- headers are waited for as long as API_TIMEOUT_MS says (640 s were seen), a stream's events as
  CLAUDE_STREAM_IDLE_TIMEOUT_MS says (345 s of comments alone were seen);
- a failed connect, a cut stream, 401, 429 and 5xx are tried again ten times with growing pauses, so
  that 75 s without a gateway are survived, and not at all with `x-should-retry: false`; 400 it may
  answer by asking for less, other 4xx end it;
- an answer that was cut at its limit of tokens is asked for again with a higher one, unless the
  limit is set, and then with a request to go on;
- tools that it may load later have a field that only Anthropic knows, unless they are not deferred;
- only the reader of web pages asks Anthropic anything (whether a host is safe), unless told not to.
A task's own `CLAUDE.md` and `.claude` are honoured, as by anybody's Claude Code.

Auxiliary calls. A sub-agent's (`Agent`) have the header `x-claude-code-agent-id`, and the second
block of `system` is its role: "You are an agent for Claude Code", "You are a file search specialist
for Claude Code", or a task's own. A summary of the conversation has the conversation's system and
tools, and a last user's message that says "REMINDER: Do NOT call any tools. Respond with plain text
only", or "is conversation to summarize". Reading a web page (`WebFetch`) offers no tools and begins
with "Web page content:". A web search offers the hosted tool `web_search_20250305` alone, which no
chat server has: it is disabled by default. Titles are not asked for.
"""

import json
import shlex
from typing import Final

from pydantic import Field

from rolldock.models.base import Contract, JsonObject
from rolldock.models.turn import Turn

from .agent import AGENT_LOGS, API_KEY_VARIABLE, Agent, AgentContext, Launch
from .auxiliary import last_says, system_says
from .launching import HELD_SECONDS, SLACK_SECONDS, TAIL_BYTES, keep_key, merge, writable_home

VERSION: Final = "2.1.330"
SETTINGS_FILE: Final = "/tmp/rolldock-claude-code.json"
"""Directly in /tmp: the agent's user need not be the one that wrote it."""
PROMPT_FILE: Final = "/tmp/rolldock-claude-code-prompt.txt"

_LOGS: Final = f"{AGENT_LOGS}/claude-code"
_RUN: Final = "/tmp/rolldock-claude-code"
_CONFIG: Final = f"{_RUN}/config"
_KEY_FILE: Final = f"{_RUN}/key"

_UNLIMITED_TOKENS: Final = 1_000_000_000

# The package's own script puts the binary for this machine in place; npm runs none of its own
# accord. The platform packages are then left over.
_INSTALL: Final = """\
set -eu
npm install --prefix "$AGENT_HOME" --no-audit --no-fund --no-progress --ignore-scripts \\
  "@anthropic-ai/claude-code@$AGENT_VERSION"
cd "$AGENT_HOME"
node node_modules/@anthropic-ai/claude-code/install.cjs
rm -rf node_modules/@anthropic-ai/claude-code-*
mkdir -p bin
ln -sf ../node_modules/@anthropic-ai/claude-code/bin/claude.exe bin/claude
bin/claude --version
"""

_ENVIRONMENT: Final = {
    "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR": "3",
    "CLAUDE_CONFIG_DIR": _CONFIG,
    # Root may not skip permissions elsewhere than in a sandbox.
    "IS_SANDBOX": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    # A block of the system prompt that changes with every request.
    "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    "ENABLE_TOOL_SEARCH": "false",
    # Nothing outlives the sandbox, and no call is made to gather it.
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
}
_OTHERS: Final = (
    *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    *("ANTHROPIC_CUSTOM_HEADERS", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"),
    "CLAUDE_CODE_USE_FOUNDRY",
)
"""Of a task or an image: each would send the calls elsewhere, or a key of the task's to the gateway
instead of the session's."""
_MODEL_VARIABLES: Final = (
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)


class ClaudeCodeOptions(Contract):
    """Options of Claude Code."""

    system_prompt: str | None = Field(default=None, min_length=1)
    """Instead of Claude Code's own; its notes on environment and skills come in messages."""
    disabled_tools: tuple[str, ...] = ("WebSearch",)
    """Tools that the model is not offered, e.g. `WebFetch`, `Agent`, or patterns of what it may not
    do with one, e.g. `Bash(git push *)`. WebSearch works only with Anthropic's own models."""
    max_turns: int | None = Field(default=None, ge=1)
    """Claude Code ends after so many turns, with exit code 1 if the model is not done by then."""
    context_tokens: int | None = Field(default=None, ge=1)
    """The model's context length: close to it Claude Code summarises the conversation. None:
    unlimited, as far as it knows, and no summaries."""
    output_tokens: int = Field(default=32_000, ge=1)
    """`max_tokens` of each request."""
    extra_config: JsonObject = Field(default_factory=dict)
    """Merged into its settings, over everything else."""


def _launch(context: AgentContext) -> Launch:
    options = ClaudeCodeOptions.model_validate(context.options)
    settings: JsonObject = {"skipWebFetchPreflight": True}
    files = {SETTINGS_FILE: json.dumps(merge(settings, options.extra_config), indent=2)}
    if options.system_prompt is not None:
        files[PROMPT_FILE] = options.system_prompt
    return Launch(
        command=_command(context, options),
        files=files,
        env=_environment(context, options),
        api_key_variables=(API_KEY_VARIABLE,),
    )


def _environment(context: AgentContext, options: ClaudeCodeOptions) -> dict[str, str]:
    milliseconds = str(int((context.hold_seconds + SLACK_SECONDS) * 1000))
    env = {
        **_ENVIRONMENT,
        "ANTHROPIC_BASE_URL": context.base_url.removesuffix("/v1"),
        **dict.fromkeys(_MODEL_VARIABLES, context.model),
        "API_TIMEOUT_MS": milliseconds,
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": milliseconds,
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(options.output_tokens),
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(options.context_tokens or _UNLIMITED_TOKENS),
    }
    if options.context_tokens is None:
        env["DISABLE_COMPACT"] = "1"
    return env


def _command(context: AgentContext, options: ClaudeCodeOptions) -> str:
    """Key in a descriptor, prompt from stdin, events into a file; an error is a failure.

    The key leaves the environment because the commands that the model runs would inherit it.
    """
    return f"""\
mkdir -p {_CONFIG} {_LOGS}/projects && ln -sfn {_LOGS}/projects {_CONFIG}/projects || exit 1
unset {" ".join(_OTHERS)}
{keep_key(API_KEY_VARIABLE, _KEY_FILE)}
exec 3< {_KEY_FILE} && rm {_KEY_FILE} || exit 1
{writable_home(_RUN)}
{context.home}/bin/claude {_arguments(context, options)} \\
  < {shlex.quote(context.instruction_file)} > {_LOGS}/events.jsonl 2> {_LOGS}/stderr.txt
code=$?
if [ "$code" -eq 0 ]; then
  tail -n 1 {_LOGS}/events.jsonl | grep '"type":"result"' | grep -q '"is_error":false' || code=1
fi
[ "$code" -eq 0 ] || tail -q -c {TAIL_BYTES} {_LOGS}/stderr.txt {_LOGS}/events.jsonl >&2
exit "$code"
"""


def _arguments(context: AgentContext, options: ClaudeCodeOptions) -> str:
    arguments = ["-p", "--output-format", "stream-json", "--verbose"]
    arguments += ["--dangerously-skip-permissions", f"--settings={SETTINGS_FILE}"]
    arguments.append(f"--model={context.model}")
    if options.system_prompt is not None:
        arguments.append(f"--system-prompt-file={PROMPT_FILE}")
    if options.disabled_tools:
        arguments.append(f"--disallowed-tools={','.join(options.disabled_tools)}")
    if options.max_turns is not None:
        arguments.append(f"--max-turns={options.max_turns}")
    return shlex.join(arguments)


def _is_auxiliary(turn: Turn) -> bool:
    return (
        system_says(turn, "agent for Claude Code")
        or system_says(turn, "specialist for Claude Code")
        or last_says(turn, "REMINDER: Do NOT call any tools. Respond with plain text only")
        or last_says(turn, "is conversation to summarize")
        or (turn.parent is None and last_says(turn, "Web page content:"))
    )


CLAUDE_CODE: Final = Agent(
    name="claude-code",
    version=VERSION,
    dialect="anthropic.messages",
    hold_seconds=HELD_SECONDS,
    install=_INSTALL,
    requires=("npm", "node"),
    check="bin/claude",
    options=ClaudeCodeOptions,
    auxiliary=_is_auxiliary,
    launch=_launch,
)
