"""`command`: any program as an agent, described by its options alone.

Its run line finds what it needs in variables, whatever language it is written in:
ROLLDOCK_INSTRUCTION_FILE, ROLLDOCK_MODEL, ROLLDOCK_BASE_URL (ending in /v1), ROLLDOCK_API_KEY,
ROLLDOCK_WORKDIR, ROLLDOCK_AGENT_HOME (its programs) and ROLLDOCK_LOGS (files there are kept as
artifacts). The variables of its wire format's own clients are set beside them.
"""

import hashlib
import json
from collections.abc import Mapping
from string import Template
from typing import Final, Literal, Self, TypeAlias

from pydantic import Field, JsonValue, field_validator, model_validator

from rolldock.models.base import Contract

from .agent import AGENT_LOGS, API_KEY_VARIABLE, Agent, AgentContext, Launch

Format: TypeAlias = Literal["openai.chat", "openai.responses", "anthropic.messages"]


_BASE_URLS: Final[Mapping[str, str]] = {
    "openai.chat": "OPENAI_BASE_URL",
    "openai.responses": "OPENAI_BASE_URL",
    "anthropic.messages": "ANTHROPIC_BASE_URL",
}
_API_KEYS: Final[Mapping[str, str]] = {
    "openai.chat": "OPENAI_API_KEY",
    "openai.responses": "OPENAI_API_KEY",
    "anthropic.messages": "ANTHROPIC_API_KEY",
}
"""What the official clients read; Anthropic's wants its base URL without /v1."""

_PROGRAM_BYTES: Final = 32 * 1024
"""Of all programs together: they travel with the spec, in the workflow's history."""


class CommandOptions(Contract):
    """How a program is installed and run, and what it speaks."""

    run: str = Field(min_length=1)
    """A bash command, run in the work directory; its exit code is the agent's."""
    format: Format | None = "openai.chat"
    """The wire format that it speaks; None, or "none": it calls no model."""
    programs: dict[str, str] = Field(default_factory=dict[str, str])
    """Path below $ROLLDOCK_AGENT_HOME -> content, at most 32 KiB in all, uploaded to each sandbox.
    In a file of options, `@path` is the content of a file beside it."""
    install: str | None = None
    """A bash script that fills the directory $AGENT_HOME, run once and kept; None: nothing to
    install. Instead of `programs`."""
    requires: tuple[str, ...] = ()
    """Programs that the install script needs on the PATH."""
    check: str | None = None
    """A path below $AGENT_HOME that exists once the install is whole."""
    base_url_variable: str | None = None
    """Where it wants the base URL, beside the places above."""
    base_url_with_v1: bool | None = None
    """Whether that URL ends in /v1; None: as the clients of its format want it."""
    api_key_variable: str | None = None
    """Where it wants the key, beside the places above."""
    files: dict[str, str] = Field(default_factory=dict[str, str])
    """Absolute path -> content, mode 0600. `${base_url}`, `${base_url_root}` (without /v1),
    `${model}`, `${workdir}`, `${home}`, `${logs}` and `${instruction_file}` are replaced."""
    env: dict[str, str] = Field(default_factory=dict[str, str])
    """Variables; the same names are replaced in their values."""
    hold_seconds: float = Field(default=60, gt=0)
    """How long its client waits for response headers; a longer model call is kept alive by
    comments if it streams."""

    @field_validator("format", mode="before")
    @classmethod
    def _none(cls, value: JsonValue) -> JsonValue:
        # TOML has no null.
        return None if value == "none" else value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        relative = [path for path in self.files if not path.startswith("/")]
        if relative:
            raise ValueError(f"files: {relative[0]!r} is no absolute path")
        if sum(len(content.encode()) for content in self.programs.values()) > _PROGRAM_BYTES:
            raise ValueError(f"programs: over {_PROGRAM_BYTES} bytes: let `install` fetch them")
        if self.programs and self.install is not None:
            raise ValueError("give programs or install, not both")
        if self.check is not None and self.install is None:
            raise ValueError("check names what an install leaves: give install too")
        return self


def _refined(agent: Agent, options: Mapping[str, JsonValue]) -> Agent:
    """The agent that the options describe; without another version, what is installed is it."""
    asked = CommandOptions.model_validate(options)
    described = json.dumps([asked.install, asked.check, asked.programs])
    return agent.model_copy(
        update={
            "version": hashlib.sha256(described.encode()).hexdigest()[:12],
            "dialect": asked.format,
            "hold_seconds": asked.hold_seconds,
            "install": asked.install,
            "requires": asked.requires,
            "check": asked.check,
            "bundled": asked.programs,
        }
    )


def _launch(context: AgentContext) -> Launch:
    options = CommandOptions.model_validate(context.options)
    root = context.base_url.removesuffix("/v1")
    words = {
        "base_url": context.base_url,
        "base_url_root": root,
        "model": context.model,
        "workdir": context.workdir,
        "home": context.home,
        "logs": AGENT_LOGS,
        "instruction_file": context.instruction_file,
    }
    env = {
        "ROLLDOCK_INSTRUCTION_FILE": context.instruction_file,
        "ROLLDOCK_WORKDIR": context.workdir,
        "ROLLDOCK_AGENT_HOME": context.home,
        "ROLLDOCK_LOGS": AGENT_LOGS,
    }
    keys: list[str] = []
    if options.format is not None:
        env |= {"ROLLDOCK_BASE_URL": context.base_url, "ROLLDOCK_MODEL": context.model}
        env[_BASE_URLS[options.format]] = _client_url(options.format, context.base_url)
        keys = [API_KEY_VARIABLE, _API_KEYS[options.format]]
        if options.base_url_variable is not None:
            with_v1 = options.base_url_with_v1
            url = _client_url(options.format, context.base_url)
            if with_v1 is not None:
                url = context.base_url if with_v1 else root
            env[options.base_url_variable] = url
        if options.api_key_variable is not None:
            keys.append(options.api_key_variable)
    filled = {name: Template(value).safe_substitute(words) for name, value in options.env.items()}
    return Launch(
        command=options.run,
        files={
            path: Template(content).safe_substitute(words)
            for path, content in options.files.items()
        },
        env=env | filled,
        api_key_variables=tuple(dict.fromkeys(keys)),
    )


def _client_url(wire_format: str, base_url: str) -> str:
    """The base URL as a format's official clients want it."""
    return base_url.removesuffix("/v1") if wire_format == "anthropic.messages" else base_url


COMMAND: Final = Agent(
    name="command", version="0", options=CommandOptions, refine=_refined, launch=_launch
)
