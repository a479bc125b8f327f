"""A turn: one model call that was answered, stored as what differs from its parent.

The bytes of the request and of the reply can be rebuilt from the turns of a session to their stored
digests: `rolldock/gateway/rebuild.py`. Where re-serialising the JSON does not give the same bytes,
the bytes themselves are a blob.
"""

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from pydantic import Field, GetPydanticSchema, JsonValue
from pydantic_core import core_schema

from .base import JsonObject, Record, UtcTime
from .replay import Divergence, Replayed
from .spec import Sha256

_UNCHECKED: Final = GetPydanticSchema(lambda source, handler: core_schema.any_schema())

ParsedValue: TypeAlias = Annotated[JsonValue, _UNCHECKED]
"""JSON that a parser gave: pydantic's own check of it, item by item, would cost more than all else
that is done to a turn."""
ParsedObject: TypeAlias = Annotated[JsonObject, _UNCHECKED]


class Encoding(StrEnum):
    """How a JSON body was written, so that writing it again gives the same bytes."""

    COMPACT = "compact"
    """`,` and `:` without spaces, UTF-8 unescaped: JavaScript, httpx, orjson."""
    COMPACT_REPR = "compact_repr"
    """Compact, but small and large floats as Python writes them (1e-07, 1e+16): vLLM's replies."""
    SPACED = "spaced"
    """`, ` and `: `, non-ASCII escaped: Python's json.dumps by default."""
    SPACED_UTF8 = "spaced_utf8"
    COMPACT_ASCII = "compact_ascii"
    BLOB = "blob"
    """None of these: the bytes are in the blob of the same digest."""


class Body(Record):
    """A request body less what its parent has: put the fields that are kept apart back to rebuild
    it: `messages` and `tools`, or those that `Native` names."""

    fields: ParsedObject
    """The body with the fields that are kept apart replaced by null, each key in its place."""
    encoding: Encoding
    digest: Sha256
    """Of the full bytes; also the blob's name where the encoding is `blob`."""
    n_bytes: int = Field(ge=0)


class Usage(Record):
    """Tokens as the model server counted them."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cached_tokens: int = Field(default=0, ge=0)


class TokenSource(StrEnum):
    """Where the ids come from; only the engine's and our own rendering are exact."""

    ENGINE = "engine"
    DERIVED = "derived"
    RENDERED = "rendered"


class Tokens(Record):
    """The exact tokens of a turn, less those of the turn it extends.

    `prompt_ids` are what follows the prompt and completion of turn `extends`, or the whole prompt
    where `extends` is None. `completion_ids` and `logprobs` have equal length.
    """

    source: TokenSource
    extends: int | None = Field(default=None, ge=0)
    prompt_ids: tuple[int, ...] = ()
    completion_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    logprobs_mode: str = "unknown"
    """`raw` (before temperature and truncation), `processed`, or `unknown`."""


class Native(Record):
    """The conversation of a request in the agent's own wire format, where that is not chat's."""

    key: str
    """The body's field that holds it: `messages` (Anthropic), `input` (Responses)."""
    n_shared: int = Field(default=0, ge=0)
    """This field's first n items equal the parent request's first n; `items` holds the rest."""
    items: tuple[ParsedValue, ...] = ()
    blobs: dict[str, Sha256] = Field(default_factory=dict[str, Sha256])
    """Other fields of the body that are kept as blobs: `system`, `instructions`, `tools`."""


class Turn(Record):
    """Slot n's model call, from the bytes that the agent sent to those that it got."""

    schema_version: int = 1
    slot: int = Field(ge=0)
    dialect: str
    """The wire format that the agent spoke: `openai.chat`, `anthropic.messages`."""
    upstream: str = "openai.chat"
    """What was spoken to the model server: chat completions, `tokens`, or the agent's own format,
    passed through."""
    parent: int | None = Field(default=None, ge=0)
    """The turn whose messages and reply this request continues; None: a root."""
    n_shared: int = Field(default=0, ge=0)
    """This request's first n messages equal the parent request's first n, to the byte of their
    JSON; `messages` holds the rest."""
    messages: tuple[ParsedValue, ...]
    """In chat form, whatever the agent spoke."""
    native: Native | None = None
    """The same as the agent wrote it; None: it wrote chat completions."""
    tools_digest: Sha256 | None = None
    """The blob with the request's `tools` in chat form; None: it had none."""
    request: Body
    """As received from the agent."""
    sent: Body
    """As sent to the model server."""
    reply: Body
    """As received from the model server; a streamed reply is kept as a blob."""
    message: ParsedObject
    """The assistant message, as the chat format writes it."""
    finish_reason: str
    usage: Usage
    tokens: Tokens | None = None
    """None: the model server gave no ids, or none that can be believed."""
    tokens_missing: str | None = None
    """Why not, where it was asked for ids."""
    sampling: ParsedObject
    """Effective sampling: what the request as sent asked for."""
    endpoint: str
    endpoint_version: int = Field(ge=1)
    policy_version_start: str | None = None
    policy_version_end: str | None = None
    delivered_digest: Sha256 | None = None
    """Of the bytes that go to the agent; None under live delivery."""
    streamed: bool = False
    replayed: Replayed | None = None
    """The recorded turn whose answer this is; None: the model was asked."""
    diverged: Divergence | None = None
    """Where this request differs from the recording, so that the model was asked from here on."""
    started_at: UtcTime
    ended_at: UtcTime
