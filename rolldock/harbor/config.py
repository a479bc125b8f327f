"""`task.toml` as models: Harbor's fields, its defaults and its normalisation of older spellings.

Unknown keys are ignored and the schema version is never checked, as Harbor does. What Rolldock
cannot honour is parsed here all the same and refused by name in `support.py`.
"""

import re
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

NetworkMode: TypeAlias = Literal["public", "no-network", "allowlist"]

_TASK_NAME: Final = r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$"
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)([GMK])", re.IGNORECASE)
_MB_PER_UNIT: Final = {"G": 1024.0, "M": 1.0, "K": 1 / 1024}


def _mend_size(table: dict[str, Any], key: str) -> None:
    """Turn `memory = "2G"` into `memory_mb`; a value that is no string is dropped, as in Harbor."""
    value = table.pop(key, None)
    if not isinstance(value, str):
        return
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise ValueError(f"{key} = {value!r} is not a size: write a number and G, M or K")
    size_mb = int(float(found[1]) * _MB_PER_UNIT[found[2].upper()])
    if table.setdefault(f"{key}_mb", size_mb) != size_mb:
        raise ValueError(f"{key} = {value!r} and {key}_mb = {table[f'{key}_mb']} disagree")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TaskInfo(_Table):
    """`[task]`: what a registry shows."""

    name: str = Field(pattern=_TASK_NAME)
    """`org/name`."""
    version: str | None = None
    description: str = ""
    keywords: tuple[str, ...] = ()


class ArtifactSource(_Table):
    """A path to keep after the agent has ended."""

    source: str = Field(min_length=1)
    destination: str | None = None
    """Relative; None: under the source's own path."""
    exclude: tuple[str, ...] = ()
    """Patterns of `tar --exclude`."""
    service: str | None = None
    """A compose service."""


def _artifact(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


Artifact: TypeAlias = Annotated[ArtifactSource, BeforeValidator(_artifact)]


class Healthcheck(_Table):
    """A command that must succeed before the agent is set up."""

    command: str
    interval_sec: float = Field(default=5, ge=0)
    timeout_sec: float = Field(default=30, gt=0)
    start_period_sec: float = Field(default=0, ge=0)
    """Failures this long after the start do not count."""
    start_interval_sec: float = Field(default=5, ge=0)
    retries: int = Field(default=3, ge=1)
    """So many failures in a row fail the task."""


class AgentConfig(_Table):
    """`[agent]`: limits of the agent's phase."""

    network_mode: NetworkMode | None = None
    """None: the environment's."""
    allowed_hosts: tuple[str, ...] | None = None
    timeout_sec: float | None = Field(default=None, gt=0)
    """None: no limit of the task's own."""
    user: str | int | None = None
    """None: the image's user."""


class CollectHook(_Table):
    """`[[verifier.collect]]`: a command between agent and tests."""

    command: str


class VerifierConfig(_Table):
    """`[verifier]`: how the tests run."""

    network_mode: NetworkMode | None = None
    """None: the environment's."""
    allowed_hosts: tuple[str, ...] | None = None
    timeout_sec: float = Field(default=600, gt=0)
    env: dict[str, str] = Field(default_factory=dict)
    """Templates: `templates.py`."""
    user: str | int | None = None
    environment_mode: Literal["shared", "separate"] | None = None
    environment: dict[str, JsonValue] | None = None
    collect: tuple[CollectHook, ...] = ()

    @property
    def is_separate(self) -> bool:
        """Whether the tests want a container of their own."""
        return self.environment_mode == "separate" or self.environment is not None


class EnvironmentConfig(_Table):
    """`[environment]`: the container the agent works in."""

    docker_image: str | None = None
    build_timeout_sec: float = Field(default=600, gt=0)
    os: Literal["linux", "windows"] = "linux"
    cpus: int | None = Field(default=None, ge=1)
    memory_mb: int | None = Field(default=None, ge=1)
    storage_mb: int | None = Field(default=None, ge=1)
    gpus: int | None = Field(default=None, ge=0)
    gpu_types: tuple[str, ...] | None = None
    tpu: dict[str, JsonValue] | None = None
    network_mode: NetworkMode = "public"
    allowed_hosts: tuple[str, ...] | None = None
    """Host names, `*.x`, addresses and CIDRs; only with `allowlist`."""
    env: dict[str, str] = Field(default_factory=dict)
    """Templates: `templates.py`."""
    workdir: str | None = None
    """None: the image's own."""
    skills_dir: str | None = None
    mcp_servers: tuple[dict[str, JsonValue], ...] = ()
    healthcheck: Healthcheck | None = None

    @model_validator(mode="before")
    @classmethod
    def _older_spellings(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        table = dict(cast(dict[str, Any], data))
        _mend_size(table, "memory")
        _mend_size(table, "storage")
        allowed = table.pop("allow_internet", None)
        if allowed is not None and not {"network_mode", "allowed_hosts"} & table.keys():
            table["network_mode"] = "public" if allowed else "no-network"
        if isinstance(table.get("os"), str):
            table["os"] = table["os"].lower()
        return table

    @model_validator(mode="after")
    def _hosts_need_allowlist(self) -> Self:
        if self.allowed_hosts is not None and self.network_mode != "allowlist":
            raise ValueError('allowed_hosts needs network_mode = "allowlist"')
        return self


class SolutionConfig(_Table):
    """`[solution]`: for the oracle alone."""

    env: dict[str, str] = Field(default_factory=dict)
    """Templates: `templates.py`."""


class TaskConfig(_Table):
    """A whole `task.toml`."""

    schema_version: str = "1.4"
    source: str | None = None
    artifacts: tuple[Artifact, ...] = ()
    multi_step_reward_strategy: Literal["mean", "final"] | None = None
    task: TaskInfo | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Free; TOML dates are allowed."""
    agent: AgentConfig = AgentConfig()
    verifier: VerifierConfig = VerifierConfig()
    environment: EnvironmentConfig = EnvironmentConfig()
    solution: SolutionConfig = SolutionConfig()
    steps: tuple[dict[str, Any], ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _older_version_key(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        table = dict(cast(dict[str, Any], data))
        version = table.pop("version", None)
        if version is not None:
            table.setdefault("schema_version", version)
        return table
