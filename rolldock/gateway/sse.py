"""Server-sent events: bytes in pieces to whole events, and data to event bytes."""

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


def _data(event: bytes) -> bytes:
    lines = (line for line in event.split(b"\n") if line.startswith(b"data:"))
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)


def event(data: bytes) -> bytes:
    """One event with this data, which has no line breaks."""
    return b"data: " + data + b"\n\n"


def named_event(name: str, data: bytes) -> bytes:
    """One event of a named kind."""
    return b"event: " + name.encode() + b"\n" + event(data)
