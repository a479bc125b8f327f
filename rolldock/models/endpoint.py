"""A model server as users name it: one record per version, the key encrypted."""

from enum import StrEnum

from pydantic import Field

from .base import Record, UtcTime
from .spec import Name


class EngineMode(StrEnum):
    """`chat`: the server applies the template. `tokens`: the gateway renders exact ids."""

    CHAT = "chat"
    TOKENS = "tokens"


class IdsFrom(StrEnum):
    """How a server that gives token ids gives them."""

    ENGINE = "engine"
    """`return_token_ids`: the reply holds those of the prompt and of the completion (vLLM)."""
    LLAMA_CPP = "llama_cpp"
    """The completion's stand in its log-probs, the prompt's are derived by `/apply-template` and
    `/tokenize`."""


class LogprobsMode(StrEnum):
    """Which distribution a server's log-probs are of."""

    RAW = "raw"
    """The model's own, before temperature, truncation and penalties."""
    PROCESSED = "processed"
    """The one that was sampled from."""
    UNKNOWN = "unknown"


class SamplingNames(StrEnum):
    """The names by which a server takes sampling parameters."""

    NONE = "none"
    """None beside the temperature, or not known."""
    OPENAI = "openai"
    VLLM = "vllm"
    """OpenAI's, and what vLLM and SGLang add."""
    LLAMA_CPP = "llama_cpp"


class Endpoint(Record):
    """Version N of an endpoint. A change is a new record; the newest one counts."""

    name: Name
    version: int = Field(ge=1)
    replicas: tuple[str, ...] = Field(min_length=1)
    """Base URLs that end before `/chat/completions`, e.g. http://127.0.0.1:8000/v1; a session
    sticks to one by hash."""
    model: str = Field(min_length=1)
    """The model's name at the server, which replaces whatever the agent asks for."""
    api_key: str | None = None
    """Encrypted under the deployment's secret; None: the server wants no key."""
    mode: EngineMode = EngineMode.CHAT
    tokenizer_digest: str | None = None
    """The blob with the files of its tokenizer, in mode `tokens`."""
    renderer: str | None = None
    """What renders its conversations then: a name of the `renderers` package."""
    token_ids: bool | None = None
    """Whether the server returned token ids and log-probs when it was probed; None: not probed."""
    ids_from: IdsFrom = IdsFrom.ENGINE
    """Where they come from, if it gives any."""
    logprobs_mode: LogprobsMode = LogprobsMode.UNKNOWN
    sampling_names: SamplingNames = SamplingNames.NONE
    native: tuple[str, ...] = ()
    """The agents' wire formats that it speaks itself beside chat completions, of
    `anthropic.messages` and `openai.responses`: an evaluation session passes them through."""
    policy_version: str | None = None
    paused: bool = False
    """Calls wait in the gateway; those that are open go on."""
    pause_version: int = Field(default=0, ge=0)
    """The version that began the newest pause; 0: never paused."""
    drained_version: int = Field(default=0, ge=0)
    """No call that began under an earlier version than this is open any more."""
    created_at: UtcTime

    @property
    def pause(self) -> int:
        """The version that began the pause which this record is part of."""
        return self.pause_version or self.version
