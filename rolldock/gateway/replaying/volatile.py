"""What differs between two runs of one agent and means nothing: the only places where a request may
differ from the recorded one and still get its answer.

Here they are declared, each with its reason; a difference that no line here names is a divergence.
How requests are compared is in `fingerprints.py`.

Agents say what these patterns search, and all sessions of a gateway wait meanwhile: the time that
one takes must grow no faster than the text.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DAY: Final = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*"
_CLOCK: Final = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?"
_ZONE: Final = r"(?:Z|[A-Z]{3,4}|[+-]\d{2}:?\d{2})"
_ISO_DATE: Final = r"\d{4}-\d{2}-\d{2}"
_ISO_CLOCK: Final = r"\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
_SHORT_CLOCK: Final = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?"
_UNIT: Final = r"(?:ns|[µu]s|ms|s|secs?|seconds?|mins?|minutes?|hours?)"
_SHORT_UNIT: Final = r"(?:ns|[µu]s|ms|s)"
_IS: Final = r"\s*(?:[:=]\s*)?"
"""Between a name and its value."""


class Volatile(NamedTuple):
    """One kind of text that a run makes up anew."""

    name: str
    """Stands in its place: `<name>`."""
    pattern: re.Pattern[str]
    reason: str


BY_FORM: Final = (
    Volatile(
        "reasoning",
        re.compile(r"rolldock:[0-9a-zA-Z-]{1,64}:[0-9]{1,9}"),
        "our mark for a turn's reasoning names the session, which is another in every attempt",
    ),
    Volatile(
        "token",
        re.compile(r"(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]+"),
        "the agent's API key is signed for one session; programs print their environment",
    ),
    Volatile(
        "call id",
        re.compile(r"\b(?:call|toolu|chatcmpl|msg|resp|rs|fc|item|ses|prt)_?[_-][A-Za-z0-9]{8,}\b"),
        "ids of tool calls, messages and replies are drawn by the agent, or by us per session",
    ),
    Volatile(
        "uuid",
        re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"),
        "drawn at random: conversations, requests, sandboxes, attempts",
    ),
    Volatile(
        "address",
        re.compile(r"\b0x[0-9a-fA-F]{6,16}\b"),
        "where an object lies in memory, as interpreters print it",
    ),
    Volatile(
        "temporary path",
        re.compile(
            r"(?<=/tmp/)tmp[._-]?[A-Za-z0-9_]{6,12}\b"
            r"|(?<=/tmp/)[\w.]*-(?=[A-Za-z0-9]*\d[A-Za-z0-9]{3})[A-Za-z0-9]+\b"
            r"|(?<=/tmp/)[\w-]*\.[A-Za-z0-9]{6,12}(?![\w.])"
        ),
        "the random name that mkstemp and its like give a file; names in words are kept",
    ),
    Volatile(
        "hex id",
        re.compile(
            r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,128}\b|(?<=\bChunk ID: )[0-9a-f]{6}\b"
        ),
        "commits carry the time of their making; sessions, containers and the pieces of output "
        "that Codex names are drawn at random",
    ),
    Volatile(
        "date",
        re.compile(
            rf"\b{_ISO_DATE}(?:[T ]{_ISO_CLOCK}(?: ?{_ZONE})?)?\b"
            rf"|\b{_DAY},? {_MONTH} +\d{{1,2}},?(?: {_CLOCK}(?: [AP]M)?(?: {_ZONE})?)? \d{{4}}\b"
            rf"|\b(?:{_DAY},? )?{_MONTH} \d{{1,2}}, \d{{4}}\b"
            rf"|\b(?:{_DAY},? )?\d{{1,2}} {_MONTH} \d{{4}}(?: {_CLOCK}(?: {_ZONE})?)?\b"
            r"|\b\d{1,2}/\d{1,2}/\d{4}\b"
        ),
        "a replay runs on another day; agents put the date into their system prompts",
    ),
)
"""Told by their form alone, wherever they stand."""

IN_PLACE: Final = (
    Volatile(
        "time",
        re.compile(
            rf"\b(?:{_MONTH} +\d{{1,2}} +)?{_SHORT_CLOCK}\b"
            rf"|\b{_MONTH} +\d{{1,2}}\b|\b1[6-9]\d{{8}}(?:\.\d+|\d{{3}})?\b"
        ),
        "clocks, listings of files, and seconds or milliseconds since 1970",
    ),
    Volatile(
        "duration",
        re.compile(
            rf"\b(?:\d+m ?)?(?:\d+\.\d+ ?{_UNIT}|\d+ ?{_SHORT_UNIT})\b"
            rf"|\b(?:in|after|took) \d+ {_UNIT}\b"
            r"|(?i:\b(?:duration|elapsed|took|wall[ _]time)\w*)"
            rf"(?:\b\"?{_IS}\d+(?:\.\d+)?\b|(?<=\d)(?:\.\d+)?\b)"
        ),
        "how long a command took; whole seconds in words are kept, but for `in 3 seconds`",
    ),
    Volatile(
        "pid",
        re.compile(
            rf"(?i:\bp?pid\"?{_IS}|\bprocess(?: group)?(?: id)?{_IS}"
            r"|\bsession id:?\s*)\d+\b"
            r"|(?m:^\[\d+\]\s+)\d{2,7}\b"
        ),
        "numbers of processes and of shell sessions, by the words that stand before them",
    ),
    Volatile(
        "port",
        re.compile(
            rf"(?i:\b(?:localhost|\d{{1,3}}(?:\.\d{{1,3}}){{3}}|\[::1?\]):|\bport\"?{_IS})\d{{2,5}}\b"
        ),
        "ports that the system chose, by the host or the word that stands before them",
    ),
)
"""Told by what stands around them, and often something else: looked past only where the request
has its place in the recording already, and one recorded turn alone can be meant."""

IGNORED_FIELDS: Final[Mapping[str, str]] = {
    "model": "a name of the agent's: the session decides which model answers",
    "stream_options": "whether a stream counts tokens changes no answer",
    "metadata": "says who asks: Claude Code names its session there",
    "client_metadata": "the same, as Codex writes it",
    "prompt_cache_key": "names the conversation to the server's cache; Codex draws it at random",
    "user": "says who asks",
    "safety_identifier": "says who asks",
}
"""Fields of a request that say nothing of what the model is to answer."""

CALL_ID_FIELDS: Final = frozenset({"tool_call_id", "tool_use_id", "call_id"})
"""Hold a tool call's id, whatever it looks like: an agent may draw its own."""

ITEMS_WITH_ID: Final = frozenset(
    {
        *("function", "tool_use", "server_tool_use"),
        *("message", "reasoning", "function_call", "function_call_output"),
        *("custom_tool_call", "custom_tool_call_output", "local_shell_call"),
    }
)
"""Types of items whose `id` is such an id too."""


def without_volatile(text: str, *, in_place: bool) -> str:
    """A text with a placeholder for all that is volatile; `in_place`: also what only its
    surroundings tell."""
    for kind in (*BY_FORM, *IN_PLACE) if in_place else BY_FORM:
        text = kind.pattern.sub(f"<{kind.name}>", text)
    return text
