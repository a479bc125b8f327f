"""A connection behind another one, to be overridden where they differ. It passes all calls on."""

import asyncio
from collections.abc import Iterable
from typing import Any


class PassingTransport(asyncio.Transport):
    """Does what the transport behind it does."""

    def __init__(self, behind: asyncio.Transport) -> None:
        super().__init__()
        self.behind = behind

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.behind.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self.behind.is_closing()

    def close(self) -> None:
        self.behind.close()

    def abort(self) -> None:
        self.behind.abort()

    def is_reading(self) -> bool:
        return self.behind.is_reading()

    def pause_reading(self) -> None:
        self.behind.pause_reading()

    def resume_reading(self) -> None:
        self.behind.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.behind.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.behind.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        return self.behind.get_write_buffer_size()

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        self.behind.write(data)

    def writelines(self, list_of_data: "Iterable[bytes | bytearray | memoryview[Any]]") -> None:
        # One write: what differs between transports is then in one method.
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return self.behind.can_write_eof()

    def write_eof(self) -> None:
        self.behind.write_eof()
