"""`codex`: the unmodified Codex CLI from npm, run once without a terminal.

What its release does, and this file relies on (checked against 0.169.0; keys are those of
developers.openai.com/codex/config-reference, features those of `codex features list`):
- the prompt is read from stdin, whatever it holds; the exit code is 1 after a `turn.failed` event;
- to models that it knows it offers tools that only OpenAI runs, and freeform ones: it is given a
  name that it does not know, and the gateway puts the endpoint's in its place;
- websockets, signing in and `GET /models` go with its built-in providers: it gets one of ours;
- headers are waited for without a limit (640 s were seen), but comments do not stop the idle timer
  of a stream;
- where no connection can be made it tries for ever; any other failure but 400 and 429, also a
  stream that was cut, is tried again after 0.2 s, 0.4 s and so on, whatever `x-should-retry` says;
- an answer that was cut at its limit of tokens ends it with exit code 1;
- it reports usage to OpenAI and fetches plugins from GitHub unless both are switched off;
- it makes no helpers for its commands (`apply_patch`) if its home is in /tmp;
- the context of a model that it does not know is taken to be 272,000 tokens, and can only be set
  to fewer; a conversation that nears it is summarised, which cannot be switched off.
It has no limit of turns: that of the session is the one. A task's own `AGENTS.md` is honoured, as
by anybody's Codex.

Auxiliary calls. Each request says what it is for in the JSON text
`client_metadata["x-codex-turn-metadata"]`, also sent as a header of that name: `request_kind` is
`turn` for a conversation and `compaction` for its summary, which offers no tools and ends with a
user's message that asks for a handoff. A sub-agent (`spawn_agent`) has a conversation of its own:
the header `x-openai-subagent`, `subagent_kind` in that metadata, and a `thread_id` other than the
`session_id`. Titles are not asked for.
"""

import json
import shlex
from typing import Final

from pydantic import Field, JsonValue, field_validator

from rolldock.models.base import Contract, JsonObject
from rolldock.models.turn import Turn

from .agent import AGENT_LOGS, API_KEY_VARIABLE, Agent, AgentContext, Launch
from .launching import HELD_SECONDS, SLACK_SECONDS, TAIL_BYTES, merge, writable_home

VERSION: Final = "0.169.0"
CONFIG_FILE: Final = "/tmp/rolldock-codex.toml"
"""Directly in /tmp: the agent's user need not be the one that wrote it."""
PROMPT_FILE: Final = "/tmp/rolldock-codex-prompt.md"
KEY_PLACE: Final = "<rolldock-session-token>"
"""In CONFIG_FILE, where the configuration that Codex reads has the key."""

_MODEL: Final = "rolldock"
_PROVIDER: Final = "rolldock"
_LOGS: Final = f"{AGENT_LOGS}/codex"
_RUN: Final = "/tmp/rolldock-codex"

_RETRIES: Final = 9
"""With pauses of 102 s in all, beside those while no connection can be made."""

_INSTALL: Final = """\
set -eu
npm install --prefix "$AGENT_HOME" --no-audit --no-fund --no-progress --ignore-scripts \\
  "@openai/codex@$AGENT_VERSION"
cd "$AGENT_HOME"
mkdir -p bin
for binary in node_modules/@openai/codex-*/vendor/*/bin/codex; do
  "$binary" --version && ln -sf "../$binary" bin/codex
done
# For talking to it: libraries that the program itself has no use for.
rm -rf node_modules/@openai/codex-*/vendor/*/codex-resources/voice
"""


class CodexOptions(Contract):
    """Options of Codex."""

    system_prompt: str | None = Field(default=None, min_length=1)
    """Instead of Codex's own; its notes on permissions, skills and environment are added to it."""
    disabled_tools: tuple[str, ...] = ()
    """Features that offer tools, by the names of `codex features list`, e.g. `multi_agent`,
    `goals`, `view_image`."""
    context_tokens: int | None = Field(default=None, ge=1)
    """The model's context length, up to 272,000, which it is taken to be if this is None: close
    to it Codex summarises the conversation."""
    extra_config: JsonObject = Field(default_factory=dict)
    """Merged into `config.toml`, over everything else."""

    @field_validator("extra_config")
    @classmethod
    def _writable(cls, value: JsonObject) -> JsonObject:
        toml(value)
        return value


def _launch(context: AgentContext) -> Launch:
    options = CodexOptions.model_validate(context.options)
    config = merge(_config(context, options), options.extra_config)
    files = {CONFIG_FILE: "".join(f"{toml(key)} = {toml(config[key])}\n" for key in config)}
    if options.system_prompt is not None:
        files[PROMPT_FILE] = options.system_prompt
    return Launch(
        command=_command(context),
        files=files,
        api_key_variables=(API_KEY_VARIABLE,),
    )


def _command(context: AgentContext) -> str:
    """Key into the configuration, prompt from stdin, events into a file.

    The key leaves the environment because the commands that the model runs would inherit it.
    """
    return f"""\
export CODEX_HOME=/var{_RUN}
mkdir -p "$CODEX_HOME" 2> /dev/null || {{ CODEX_HOME={_RUN}; mkdir -p {_RUN} || exit 1; }}
mkdir -p {_LOGS}/sessions && ln -sfn {_LOGS}/sessions "$CODEX_HOME/sessions" || exit 1
config=$(< {CONFIG_FILE}) || exit 1
(umask 077; printf '%s\\n' "${{config//{KEY_PLACE}/"${API_KEY_VARIABLE}"}}" \\
  > "$CODEX_HOME/config.toml") || exit 1
unset {API_KEY_VARIABLE} config
{writable_home("$CODEX_HOME")}
{context.home}/bin/codex exec --json --color never --skip-git-repo-check \\
  --dangerously-bypass-approvals-and-sandbox - \\
  < {shlex.quote(context.instruction_file)} > {_LOGS}/events.jsonl 2> {_LOGS}/stderr.txt
code=$?
if [ "$code" -eq 0 ] && ! grep -q '^{{"type":"turn.completed"' {_LOGS}/events.jsonl; then code=1; fi
[ "$code" -eq 0 ] || tail -q -c {TAIL_BYTES} {_LOGS}/stderr.txt {_LOGS}/events.jsonl >&2
exit "$code"
"""


def _config(context: AgentContext, options: CodexOptions) -> JsonObject:
    idle_seconds = context.hold_seconds + SLACK_SECONDS
    provider: JsonObject = {
        "name": "Rolldock",
        "base_url": context.base_url,
        "wire_api": "responses",
        "experimental_bearer_token": KEY_PLACE,
        "supports_websockets": False,
        "request_max_retries": 0,
        "stream_max_retries": _RETRIES,
        "stream_idle_timeout_ms": int(idle_seconds * 1000),
    }
    features: JsonObject = {"plugins": False, **dict.fromkeys(options.disabled_tools, False)}
    config: JsonObject = {
        "model": _MODEL,
        "model_provider": _PROVIDER,
        "model_providers": {_PROVIDER: provider},
        "web_search": "disabled",
        "features": features,
        "analytics": {"enabled": False},
        "feedback": {"enabled": False},
        "check_for_update_on_startup": False,
    }
    if options.system_prompt is not None:
        config["model_instructions_file"] = PROMPT_FILE
    if options.context_tokens is not None:
        config["model_context_window"] = options.context_tokens
    return config


def toml(value: JsonValue) -> str:
    """A value as TOML writes it in one line.

    Raises:
        ValueError: it holds null, which TOML has not.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if value is None:
        raise ValueError("TOML has no null: leave the key out")
    # DEL is the one character that JSON leaves as it is and TOML does not.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_auxiliary(turn: Turn) -> bool:
    metadata = turn.request.fields.get("client_metadata")
    text = metadata.get("x-codex-turn-metadata") if isinstance(metadata, dict) else None
    try:
        said: JsonValue = json.loads(text) if isinstance(text, str) else None
    except json.JSONDecodeError:
        return False
    return isinstance(said, dict) and (
        said.get("request_kind") == "compaction" or "subagent_kind" in said
    )


CODEX: Final = Agent(
    name="codex",
    version=VERSION,
    dialect="openai.responses",
    hold_seconds=HELD_SECONDS,
    install=_INSTALL,
    requires=("npm", "node"),
    check="bin/codex",
    options=CodexOptions,
    auxiliary=_is_auxiliary,
    launch=_launch,
)
