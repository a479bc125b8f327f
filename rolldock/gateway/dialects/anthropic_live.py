"""A chat completion as it comes, as the events of Anthropic's stream."""

from collections.abc import Callable, Iterable, Iterator

from rolldock.gateway.completions import Completion
from rolldock.gateway.dialects.anthropic_input import LiveInput
from rolldock.gateway.dialects.anthropic_reply import (
    begun_call,
    begun_message,
    last_events,
    pieces,
    stop,
    usage_of,
)
from rolldock.gateway.dialects.chat_chunks import Kind, Part, Piece
from rolldock.gateway.dialects.chat_form import reasoning_mark
from rolldock.gateway.dialects.translated_stream import TranslatedStream
from rolldock.models.base import JsonObject


class AnthropicLiveStream(TranslatedStream):
    """One message. How much its prompt has is known, and said, only at its end."""

    def __init__(
        self, own: Callable[[JsonObject], JsonObject], asked: JsonObject, attempt: str, slot: int
    ) -> None:
        super().__init__(own, asked, attempt, slot)
        self._index = -1
        self._has_text = False
        self._input = LiveInput()

    def _shows(self, piece: Piece) -> bool:
        if piece.part.kind is Kind.REFUSAL:
            # As in a whole message: a refusal is its text where it has no other.
            return not self._has_text
        return bool(piece.text) or piece.part.kind is Kind.CALL

    def _started(self) -> Iterator[JsonObject]:
        begun = begun_message(self._attempt, self._slot, self._asked)
        yield {"type": "message_start", "message": begun}

    def _opened(self, part: Part) -> Iterator[JsonObject]:
        self._index += 1
        if part.kind is Kind.CALL:
            self._input = LiveInput()
            call = self._chunks.call(part.number)
            function = call["function"]
            block = begun_call(call, function if isinstance(function, dict) else {})
        elif part.kind is Kind.REASONING:
            block: JsonObject = {"type": "thinking", "thinking": "", "signature": ""}
        else:
            block = {"type": "text", "text": ""}
            self._has_text = self._has_text or part.kind is Kind.TEXT
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def _added(self, piece: Piece) -> Iterator[JsonObject]:
        if piece.part.kind is Kind.CALL:
            yield from self._input_deltas(self._input.add(piece.text))
        elif piece.part.kind is Kind.REASONING:
            yield from self._deltas(pieces("thinking_delta", "thinking", piece.text))
        else:
            yield from self._deltas(pieces("text_delta", "text", piece.text))

    def _closed(self, part: Part) -> Iterator[JsonObject]:
        if part.kind is Kind.CALL:
            yield from self._input_deltas(self._input.rest())
        elif part.kind is Kind.REASONING:
            mark = reasoning_mark(self._attempt, self._slot)
            signature: JsonObject = {"type": "signature_delta", "signature": mark}
            yield from self._deltas([signature])
        yield {"type": "content_block_stop", "index": self._index}

    def _ended(self, completion: Completion) -> Iterator[JsonObject]:
        reason = completion.finish_reason
        stopped = stop(reason, completion.message, completion.body, self._asked)
        yield from last_events(stopped, usage_of(completion.usage))

    def _input_deltas(self, arguments: str) -> Iterator[JsonObject]:
        yield from self._deltas(pieces("input_json_delta", "partial_json", arguments))

    def _deltas(self, deltas: Iterable[JsonObject]) -> Iterator[JsonObject]:
        for delta in deltas:
            yield {"type": "content_block_delta", "index": self._index, "delta": delta}
