"""The protobuf messages of `command_session.CommandSession`, by hand.

The service has a handful of small messages; the generated module is private to the SDK and brings
all of it with it. Fields that this server does not use are skipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5

SIGTERM: Final = 15
SIGKILL: Final = 9


class MalformedMessageError(ValueError):
    """Raised when bytes are not the message that they should be."""


@dataclass(frozen=True)
class Command:
    """`CommandSpec`."""

    program: str = ""
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict[str, str])
    directory: str | None = None
    user: str | None = None


@dataclass(frozen=True)
class StartRequest:
    """`StartRequest`."""

    command: Command
    stdin: bool
    session_uuid: str | None
    wants_terminal: bool


@dataclass(frozen=True)
class Selector:
    """`CommandSessionSelector`: a session by its uuid or its process id."""

    pid: int | None = None
    session_uuid: str | None = None


@dataclass(frozen=True)
class InputRequest:
    """`SendInputRequest`."""

    selector: Selector
    data: bytes
    input_uuid: str | None


@dataclass(frozen=True)
class SignalRequest:
    """`SendSignalRequest`."""

    selector: Selector
    signal: int
    signal_uuid: str | None


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise MalformedMessageError("truncated number")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values; fixed-width fields come as bytes."""
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _read_varint(data, position)
            yield key >> 3, value
            continue
        if kind == _LENGTH:
            length, position = _read_varint(data, position)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise MalformedMessageError(f"wire type {kind}")
        if position + length > len(data):
            raise MalformedMessageError("truncated field")
        yield key >> 3, data[position : position + length]
        position += length


def _last(data: bytes) -> dict[int, int | bytes]:
    """The last value of each field, as protobuf reads fields that are not repeated."""
    return dict(_fields(data))


def _bytes(value: int | bytes | None) -> bytes:
    if value is None:
        return b""
    if isinstance(value, int):
        raise MalformedMessageError("a number where bytes were expected")
    return value


def _text(value: int | bytes | None) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise MalformedMessageError("text that is not UTF-8") from None


def _number(value: int | bytes | None) -> int:
    if isinstance(value, bytes):
        raise MalformedMessageError("bytes where a number was expected")
    return value or 0


def _optional_text(fields: dict[int, int | bytes], number: int) -> str | None:
    return _text(fields[number]) if number in fields else None


def _read_command(data: bytes) -> Command:
    last = _last(data)
    environment: dict[str, str] = {}
    arguments: list[str] = []
    for number, value in _fields(data):
        if number == 2:
            arguments.append(_text(value))
        elif number == 3:
            entry = _last(_bytes(value))
            environment[_text(entry.get(1))] = _text(entry.get(2))
    return Command(
        program=_text(last.get(1)),
        arguments=tuple(arguments),
        environment=environment,
        directory=_optional_text(last, 4),
        user=_optional_text(last, 5),
    )


def read_start(data: bytes) -> StartRequest:
    """Decode a `StartRequest`."""
    fields = _last(data)
    return StartRequest(
        command=_read_command(_bytes(fields.get(1))),
        stdin=bool(_number(fields.get(4))),
        session_uuid=_optional_text(fields, 5),
        wants_terminal=2 in fields,
    )


def _read_selector(data: bytes) -> Selector:
    fields = _last(data)
    return Selector(
        pid=_number(fields[1]) if 1 in fields else None, session_uuid=_optional_text(fields, 3)
    )


def read_connect(data: bytes) -> Selector:
    """Decode a `ConnectRequest`."""
    return _read_selector(_bytes(_last(data).get(1)))


def read_input(data: bytes) -> InputRequest:
    """Decode a `SendInputRequest`."""
    fields = _last(data)
    content = _last(_bytes(fields.get(2)))
    return InputRequest(
        selector=_read_selector(_bytes(fields.get(1))),
        data=_bytes(content.get(1)),
        input_uuid=_optional_text(fields, 3),
    )


def read_signal(data: bytes) -> SignalRequest:
    """Decode a `SendSignalRequest`."""
    fields = _last(data)
    return SignalRequest(
        selector=_read_selector(_bytes(fields.get(1))),
        signal=_number(fields.get(2)),
        signal_uuid=_optional_text(fields, 3),
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(content)) + content


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def started(pid: int) -> bytes:
    """A Start or Connect response that says the process runs."""
    return _message(1, _message(1, _integer(1, pid)))


def output(is_stderr: bool, data: bytes) -> bytes:
    """A Start or Connect response with output."""
    return _message(1, _message(2, _message(2 if is_stderr else 1, data)))


def ended(exit_code: int) -> bytes:
    """A Start or Connect response that says the process ended. Exit codes are 0 to 255."""
    status = f"exit status {exit_code}".encode()
    # A sint32 is sent doubled (zigzag).
    end = _integer(1, exit_code * 2) + _integer(2, 1) + _message(3, status)
    return _message(1, _message(3, end))


def _command(command: Command) -> bytes:
    parts = [_message(1, command.program.encode())]
    parts += [_message(2, argument.encode()) for argument in command.arguments]
    for name, value in command.environment.items():
        parts.append(_message(3, _message(1, name.encode()) + _message(2, value.encode())))
    if command.directory is not None:
        parts.append(_message(4, command.directory.encode()))
    if command.user is not None:
        parts.append(_message(5, command.user.encode()))
    return b"".join(parts)


def session_list(sessions: list[tuple[Command, int, str | None]]) -> bytes:
    """A `ListResponse`: command, process id and uuid of each session."""
    entries: list[bytes] = []
    for command, pid, session_uuid in sessions:
        entry = _message(1, _command(command)) + _integer(2, pid)
        entry += _message(4, session_uuid.encode()) if session_uuid is not None else b""
        entries.append(_message(1, entry))
    return b"".join(entries)
