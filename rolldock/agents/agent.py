"""What an agent is to Rolldock: a description, never an act. Activities do what it says."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from pydantic import Field, JsonValue

from rolldock.models.base import Contract

from .auxiliary import AuxiliaryRule

AGENTS_ROOT: Final = "/opt/rolldock/agents"
"""Where sandboxes find agents: mounted from a cache, or installed there."""

BUNDLED_ROOT: Final = "/opt/rolldock/bundled"
"""Where uploaded agents are; the other root may be a read-only mount."""

AGENT_LOGS: Final = "/logs/agent"
"""Where an agent's own logs belong, as under Harbor; kept as artifacts."""


API_KEY_VARIABLE: Final = "ROLLDOCK_API_KEY"
"""Has the session's token at the launch; each agent's command says where it goes from there."""


class AgentContext(Contract):
    """What an agent's command may depend on."""

    version: str
    home: str
    """The agent's install directory in the sandbox: AGENTS_ROOT/{name}/{version}."""
    workdir: str
    instruction_file: str
    """The path of the instruction, a UTF-8 file that the agent's user can read."""
    base_url: str
    """The gateway, ending in /v1."""
    model: str
    """The model's name to show to the agent; the gateway replaces it."""
    hold_seconds: float
    """How long the gateway may withhold response headers: client timeouts must exceed it."""
    options: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class Launch(Contract):
    """How to run an agent once its sandbox is set up."""

    command: str
    """A bash command, run in the work directory; its exit code is the agent's."""
    files: dict[str, str] = Field(default_factory=dict[str, str])
    """Absolute path -> content, written before the command runs, mode 0600."""
    env: dict[str, str] = Field(default_factory=dict[str, str])
    api_key_variables: tuple[str, ...] = ()
    """Variables that get the session's token, beside `env`, through a file of mode 0600."""


LaunchFunction: TypeAlias = Callable[[AgentContext], Launch]
RefineFunction: TypeAlias = Callable[["Agent", Mapping[str, JsonValue]], "Agent"]


class Agent(Contract):
    """A registered agent."""

    name: str
    version: str
    """The pinned version."""
    dialect: str | None = None
    """The wire format that it speaks, `openai.chat`; None: it calls no model."""
    hold_seconds: float = Field(default=60, gt=0)
    install: str | None = None
    """A bash script that fills the directory $AGENT_HOME with version $AGENT_VERSION; None:
    nothing to install."""
    requires: tuple[str, ...] = ()
    """Programs that the install script needs on the PATH."""
    check: str | None = None
    """A path below $AGENT_HOME that exists once the install is whole."""
    bundled: dict[str, str] = Field(default_factory=dict[str, str])
    """Path below $AGENT_HOME -> content: an agent that is small enough to be uploaded."""
    needs_solution: bool = False
    """The task's solution is uploaded to /solution for it: the oracle."""
    options: type[Contract] = Contract
    """The model of its options, each documented there; `Contract` itself: it takes none."""
    auxiliary: AuxiliaryRule | None = Field(default=None, repr=False)
    """Which requests begin calls beside its conversation; None: none that are known."""
    refine: RefineFunction | None = Field(default=None, repr=False)
    """What its options make of it, beyond what it launches; None: they change nothing else."""
    launch: LaunchFunction = Field(repr=False)
