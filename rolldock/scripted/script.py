"""Scripts: conversations written down as JSON files, and which of them a request belongs to.

A script answers every conversation whose first user messages contain its `match`. Which turn is
next is not decided here but counted from the request, in `play.py`.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rolldock.errors import UsageError
from rolldock.models.base import JsonObject


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolCall(_Strict):
    """A call of a tool by its name, as written."""

    name: str = Field(min_length=1)
    arguments: JsonObject = Field(default_factory=dict)


class ErrorReply(_Strict):
    """An HTTP error instead of a reply."""

    status: int = Field(ge=400, le=599)
    message: str = "scripted error"
    code: str | None = None


class ScriptTurn(_Strict):
    """One reply of the model: a text, a shell command or tool calls, or an error."""

    say: str | None = None
    """Text; it may stand beside `run` or `calls`."""
    run: str | None = None
    """A shell command, sent to whatever shell tool the request offers."""
    calls: tuple[ToolCall, ...] = ()
    error: ErrorReply | None = None
    delay_seconds: float = Field(default=0, ge=0)
    """How long the server waits before its response headers."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        acts = (self.run is not None) + bool(self.calls) + (self.error is not None)
        if acts > 1:
            raise ValueError("a turn has only one of run, calls and error")
        if acts == 0 and self.say is None:
            raise ValueError("a turn needs one of say, run, calls and error")
        return self


class Script(_Strict):
    """A conversation: turn k answers a request that has k assistant messages."""

    match: str = Field(min_length=1)
    """A substring of the conversation's first user messages."""
    model: str | None = None
    """Only for requests that ask for this model; None: for any."""
    turns: tuple[ScriptTurn, ...] = Field(min_length=1)


def load_scripts(directory: Path) -> dict[str, Script]:
    """Read every `*.json` of a directory; the keys are the file names without their ending.

    Raises:
        UsageError: no such directory, no script in it, or a script that cannot be read.
    """
    if not directory.is_dir():
        raise UsageError(f"no such directory: {directory}: give --scripts a directory of *.json")
    scripts = {path.stem: _load(path) for path in sorted(directory.glob("*.json"))}
    if not scripts:
        raise UsageError(f"no *.json in {directory}: a scripted server needs at least one script")
    return scripts


def _load(path: Path) -> Script:
    try:
        return Script.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"script {path}: {where}: {first['msg']}") from error


def find_script(scripts: dict[str, Script], model: str, opening: str) -> Script | None:
    """The script for a conversation: one for its model first, then the longest `match`."""
    matching = [
        script
        for script in scripts.values()
        if script.match in opening and script.model in (None, model)
    ]
    return max(
        matching, key=lambda script: (script.model is not None, len(script.match)), default=None
    )
