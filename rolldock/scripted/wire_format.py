"""What the server asks of a wire format: read a request, write a reply whole or streamed, refuse.

Every request is read as a chat completion's, so that no format has a say in which conversation is
played and where it stands.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

from pydantic import ValidationError

from rolldock.models.base import JsonObject

from .play import Played
from .request import ChatRequest
from .script import ErrorReply

_BEARER: Final = "Bearer "


class UnreadableError(Exception):
    """Raised when a body is no request of its format; it carries the HTTP answer."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(reply.message)
        self.reply = reply


class WireFormat(ABC):
    """One wire format."""

    path: ClassVar[str]
    demanded_headers: ClassVar[tuple[str, ...]] = ()
    """Headers without which a request is refused."""

    @abstractmethod
    def read(self, raw: bytes) -> ChatRequest:
        """The request as a chat completion's.

        Raises:
            ValidationError: it is no request of this format.
            UnreadableError: it asks for what this server does not have.
        """

    @abstractmethod
    def whole(self, request: ChatRequest, reply: Played) -> JsonObject:
        """The body of a reply that is not streamed."""

    @abstractmethod
    def stream(self, request: ChatRequest, reply: Played) -> Iterator[bytes]:
        """The server-sent events of a streamed one."""

    def error(self, reply: ErrorReply) -> JsonObject:
        """The body of an error; unless a format says otherwise, as OpenAI writes it."""
        kind = "invalid_request_error" if reply.status < 500 else "server_error"
        return {
            "error": {
                "message": reply.message,
                "type": kind,
                "param": None,
                "code": reply.code,
            }
        }

    def api_key(self, headers: Mapping[str, str]) -> str:
        """The key that a request bears; empty: none."""
        given = headers.get("Authorization", "")
        return given.removeprefix(_BEARER) if given.startswith(_BEARER) else ""


def invalid(error: ValidationError) -> ErrorReply:
    """The answer to a body that is no request of its format: where it is wrong, and why."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    return ErrorReply(status=400, message=f"{where}: {first['msg']}")
