"""A live reply in a format that is not chat's: parts that begin, grow and end, one by one.

Knows the order of the events, and which of them wait for the store; what they look like is the
format's.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator

import orjson

from rolldock.gateway.completions import Completion
from rolldock.gateway.dialects.base import LiveStream
from rolldock.gateway.dialects.chat_chunks import ChatChunks, Part, Piece
from rolldock.gateway.sse import named_event
from rolldock.models.base import JsonObject


class TranslatedStream(LiveStream):
    """Chat chunks as they come, as another format's events.

    Nothing is sent before there is something to say, so that a failed call can be made again. The
    end of the last part waits with the end of all: some agents run a tool as soon as its call is
    over, and the turn must be on record by then.
    """

    def __init__(
        self, own: Callable[[JsonObject], JsonObject], asked: JsonObject, attempt: str, slot: int
    ) -> None:
        """`own`: as `ChatChunks` takes it; `asked`: the request's body."""
        self.tail = b""
        self._chunks = ChatChunks(own)
        self._asked = asked
        self._attempt = attempt
        self._slot = slot
        self._part: Part | None = None
        self._n_events = 0

    def take(self, data: bytes) -> bytes:
        return self._written(
            event
            for piece in self._chunks.take(data)
            if self._shows(piece)
            for event in self._grown(piece)
        )

    def completion(self) -> Completion:
        completion = self._chunks.completion()
        self.tail = self._written(self._last(completion))
        return completion

    def _grown(self, piece: Piece) -> Iterator[JsonObject]:
        if not self._n_events:
            yield from self._started()
        if piece.part != self._part:
            if self._part is not None:
                yield from self._closed(self._part)
            self._part = piece.part
            yield from self._opened(piece.part)
        if piece.text:
            yield from self._added(piece)

    def _last(self, completion: Completion) -> Iterator[JsonObject]:
        if not self._n_events:
            yield from self._started()
        if self._part is not None:
            yield from self._closed(self._part)
        yield from self._ended(completion)

    def _written(self, events: Iterator[JsonObject]) -> bytes:
        written: list[bytes] = []
        for event in events:
            numbered = self._numbered(event, self._n_events)
            written.append(named_event(str(event["type"]), orjson.dumps(numbered)))
            self._n_events += 1
        return b"".join(written)

    def _shows(self, piece: Piece) -> bool:
        """Whether the format has a place for a piece."""
        return True

    def _numbered(self, event: JsonObject, number: int) -> JsonObject:
        """An event with what the format says about its place in the stream."""
        return event

    @abstractmethod
    def _started(self) -> Iterator[JsonObject]:
        """The events before the first part."""

    @abstractmethod
    def _opened(self, part: Part) -> Iterator[JsonObject]:
        """The events that begin a part."""

    @abstractmethod
    def _added(self, piece: Piece) -> Iterator[JsonObject]:
        """The events of a piece that is not empty."""

    @abstractmethod
    def _closed(self, part: Part) -> Iterator[JsonObject]:
        """The events that end a part."""

    @abstractmethod
    def _ended(self, completion: Completion) -> Iterator[JsonObject]:
        """The events that end the reply."""
