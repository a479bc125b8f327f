"""`opencode`: the unmodified OpenCode from npm, run once without a terminal.

What its release does, and this file relies on (checked against 1.18.33):
- the prompt is read from stdin, whatever it holds;
- a failed connect, a cut connection and 429 or 5xx are tried again after 2, 4, 8, 16 and 30 s, so
  70 s without a gateway are survived; 4xx end it with exit code 1 and an `error` event;
- a reply that breaks off in its middle stays in the conversation as a message: never cut a stream;
- `rg` is downloaded from GitHub unless it is on the PATH, so it is installed beside it;
A task's own `opencode.json` and `AGENTS.md` are honoured, as by anybody's OpenCode.
"""

import json
import shlex
from typing import Final

from pydantic import Field

from rolldock.models.base import Contract, JsonObject

from .agent import AGENT_LOGS, API_KEY_VARIABLE, Agent, AgentContext, Launch
from .auxiliary import system_says
from .launching import SLACK_SECONDS, TAIL_BYTES, keep_key, merge, writable_home

VERSION: Final = "1.18.33"
CONFIG_FILE: Final = "/tmp/rolldock-opencode.json"
"""Directly in /tmp: the agent's user need not be the one that wrote it."""

_PROMPT_FILE: Final = "/tmp/rolldock-opencode-prompt.txt"

_RIPGREP_VERSION: Final = "1.18.0"
_LOGS: Final = f"{AGENT_LOGS}/opencode"
_RUN: Final = "/tmp/rolldock-opencode"
_DATA: Final = f"{_RUN}/data"
"""With its database, of which the trace has everything; only its `log` goes to the logs."""
_KEY_FILE: Final = f"{_RUN}/key"
_PROVIDER: Final = "rolldock"

_HOLD_SECONDS: Final = 600.0
"""A model call longer than this goes over to a stream with keep-alive comments."""
_CHUNK_SECONDS: Final = 3600.0
"""Between two chunks of a stream: keep-alive comments count as chunks, a live stream has none."""

# npm runs no install scripts of packages in newer versions, so the package's own is run here: it
# links the binary for this machine and starts it once. The platform packages are then left over.
_INSTALL: Final = f"""\
set -eu
npm install --prefix "$AGENT_HOME" --no-audit --no-fund --no-progress --ignore-scripts \\
  "opencode-ai@$AGENT_VERSION" "@vscode/ripgrep@{_RIPGREP_VERSION}"
cd "$AGENT_HOME"
node node_modules/opencode-ai/postinstall.mjs
mkdir -p bin
ln -sf "../$(ls -d node_modules/@vscode/ripgrep-*)/bin/rg" bin/rg
rm -rf node_modules/opencode-linux-* node_modules/opencode-darwin-*
ln -sf ../node_modules/opencode-ai/bin/opencode.exe bin/opencode
"""


class OpenCodeOptions(Contract):
    """Options of OpenCode."""

    system_prompt: str | None = Field(default=None, min_length=1)
    """Instead of OpenCode's own; it adds its notes on the environment all the same."""
    disabled_tools: tuple[str, ...] = ()
    """Tools that the model is not offered, e.g. `webfetch`, `task`."""
    max_turns: int | None = Field(default=None, ge=1)
    """The last of so many turns is a closing text, asked for by an assistant message."""
    context_tokens: int | None = Field(default=None, ge=1)
    """The model's context length; None: unlimited, as far as OpenCode knows."""
    output_tokens: int = Field(default=32_000, ge=1)
    """`max_tokens` of each request."""
    extra_config: JsonObject = Field(default_factory=dict)
    """Merged into `opencode.json`, over everything else."""


def _launch(context: AgentContext) -> Launch:
    options = OpenCodeOptions.model_validate(context.options)
    config = merge(_config(context, options), options.extra_config)
    files = {CONFIG_FILE: json.dumps(config, indent=2)}
    if options.system_prompt is not None:
        files[_PROMPT_FILE] = options.system_prompt
    return Launch(
        command=_command(context),
        files=files,
        env={
            "OPENCODE_CONFIG": CONFIG_FILE,
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            # Its own cap on any model's `limit.output`.
            "OPENCODE_EXPERIMENTAL_OUTPUT_TOKEN_MAX": str(options.output_tokens),
            "XDG_CACHE_HOME": f"{_RUN}/cache",
            "XDG_CONFIG_HOME": f"{_RUN}/config",
            "XDG_DATA_HOME": _DATA,
            "XDG_STATE_HOME": f"{_RUN}/state",
        },
        api_key_variables=(API_KEY_VARIABLE,),
    )


def _command(context: AgentContext) -> str:
    """Key into a file, prompt from stdin, events into a file; an `error` event is a failure.

    The key leaves the environment because the commands that the model runs would inherit it.
    """
    model = shlex.quote(f"{_PROVIDER}/{context.model}")
    return f"""\
mkdir -p {_DATA}/opencode {_LOGS}/log && ln -sfn {_LOGS}/log {_DATA}/opencode/log || exit 1
{keep_key(API_KEY_VARIABLE, _KEY_FILE)}
{writable_home(_RUN)}
export PATH="$PATH:{context.home}/bin"
{context.home}/bin/opencode run --model {model} --format json --title rollout \\
  < {shlex.quote(context.instruction_file)} > {_LOGS}/events.jsonl 2> {_LOGS}/stderr.txt
code=$?
if [ "$code" -eq 0 ] && grep -q '^{{"type":"error"' {_LOGS}/events.jsonl; then code=1; fi
[ "$code" -eq 0 ] || tail -q -c {TAIL_BYTES} {_LOGS}/stderr.txt {_LOGS}/events.jsonl >&2
exit "$code"
"""


def _config(context: AgentContext, options: OpenCodeOptions) -> JsonObject:
    # A context of 0 means that it is not known.
    limit: JsonObject = {"context": options.context_tokens or 0, "output": options.output_tokens}
    model: JsonObject = {"name": context.model, "limit": limit}
    header_seconds = context.hold_seconds + SLACK_SECONDS
    provider: JsonObject = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Rolldock",
        "options": {
            "baseURL": context.base_url,
            "apiKey": f"{{file:{_KEY_FILE}}}",
            "timeout": False,
            "headerTimeout": int(header_seconds * 1000),
            "chunkTimeout": int(_CHUNK_SECONDS * 1000),
        },
        "models": {context.model: model},
    }
    build: JsonObject = {}
    if options.system_prompt is not None:
        # By reference: OpenCode would replace any {env:…} in the text itself.
        build["prompt"] = f"{{file:{_PROMPT_FILE}}}"
    if options.max_turns is not None:
        build["steps"] = options.max_turns
    name = f"{_PROVIDER}/{context.model}"
    return {
        "$schema": "https://opencode.ai/config.json",
        "model": name,
        "small_model": name,
        "provider": {_PROVIDER: provider},
        "enabled_providers": [_PROVIDER],
        "permission": {"*": "allow", **dict.fromkeys(options.disabled_tools, "deny")},
        "agent": {"build": build, "title": {"disable": True}},
        "compaction": {"auto": False, "prune": False},
        "snapshot": False,
        "autoupdate": False,
        "share": "disabled",
    }


OPENCODE: Final = Agent(
    name="opencode",
    version=VERSION,
    dialect="openai.chat",
    hold_seconds=_HOLD_SECONDS,
    install=_INSTALL,
    requires=("npm", "node"),
    check="bin/opencode",
    options=OpenCodeOptions,
    auxiliary=lambda turn: system_says(turn, "You are a title generator"),
    launch=_launch,
)
