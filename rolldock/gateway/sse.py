"""Server-sent events: bytes in pieces to whole events, and data to event bytes."""

import re
from typing import Final

DONE: Final = b"[DONE]"
KEEP_ALIVE: Final = b": keep-alive\n\n"


class EventReader:
    """Collects pieces of a stream into the data of whole events; comments are dropped."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that this piece completes."""
        lines = (self._rest + piece).replace(b"\r\n", b"\n")
        *events, self._rest = lines.split(b"\n\n")
        found = [_data(event) for event in events]
        return [data for data in found if data]


class RawEvents:
    """Collects pieces of a stream into whole events with every byte of them, comments too."""

    _END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")

    def __init__(self) -> None:
        self.rest = b""
        """What no blank line has ended yet."""

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that this piece completes; joined with `rest` they are all that came."""
        text = self.rest + piece
        ends = [found.end() for found in self._END.finditer(text)]
        self.rest = text[ends[-1] :] if ends else text
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def data_of(event: bytes) -> bytes:
    """The data of one whole event; empty for a comment."""
    return _data(event.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))


def _data(event: bytes) -> bytes:
    lines = (line for line in event.split(b"\n") if line.startswith(b"data:"))
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)


def event(data: bytes) -> bytes:
    """One event with this data, which has no line breaks."""
    return b"data: " + data + b"\n\n"


def named_event(name: str, data: bytes) -> bytes:
    """One event of a named kind."""
    return b"event: " + name.encode() + b"\n" + event(data)
