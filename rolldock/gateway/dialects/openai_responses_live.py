"""A chat completion as it comes, as the events of a Responses stream."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue

from rolldock.gateway.completions import Completion
from rolldock.gateway.dialects.chat_chunks import Kind, Part, Piece
from rolldock.gateway.dialects.openai_responses_events import (
    arguments_added,
    first_events,
    item_closed,
    item_events,
    item_opened,
    last_event,
    numbered,
    part_added,
    part_closed,
    part_opened,
)
from rolldock.gateway.dialects.openai_responses_output import (
    begun_response,
    call_item,
    ended_response,
    item_status,
    message_item,
    reasoning_item,
    reasoning_part,
    refusal_part,
    text_part,
)
from rolldock.gateway.dialects.translated_stream import TranslatedStream
from rolldock.models.base import JsonObject

_CONTENT: Final = {
    Kind.REASONING: reasoning_part,
    Kind.TEXT: text_part,
    Kind.REFUSAL: refusal_part,
}


class ResponsesLiveStream(TranslatedStream):
    """One response. What sampling the session sets is not known here: it says none."""

    def __init__(
        self, own: Callable[[JsonObject], JsonObject], asked: JsonObject, attempt: str, slot: int
    ) -> None:
        super().__init__(own, asked, attempt, slot)
        self._begun: JsonObject = {}
        self._items: list[JsonObject] = []
        self._content: list[JsonValue] = []
        """Of the last item, the parts that are whole."""
        self._texts: list[str] = []
        """Of the last part."""

    def _numbered(self, event: JsonObject, number: int) -> JsonObject:
        return numbered(event, number)

    def _started(self) -> Iterator[JsonObject]:
        created = self._chunks.created
        self._begun = begun_response(
            self._attempt,
            self._slot,
            self._asked,
            created if isinstance(created, int) else int(datetime.now(UTC).timestamp()),
            sampling={},
        )
        yield from first_events(self._begun)

    def _opened(self, part: Part) -> Iterator[JsonObject]:
        self._texts = []
        if part.kind is not Kind.CALL and self._items and self._items[-1]["type"] == "message":
            return
        yield from self._item_closed("completed")
        self._content = []
        self._items.append(self._item(part))
        yield item_opened(self._items[-1], len(self._items) - 1)

    def _added(self, piece: Piece) -> Iterator[JsonObject]:
        if piece.part.kind is Kind.CALL:
            yield from arguments_added(piece.text, self._inside())
            return
        part = _CONTENT[piece.part.kind]("")
        if not self._texts:
            yield part_opened(part, self._inside_content())
        self._texts.append(piece.text)
        yield from part_added(part, piece.text, self._inside_content())

    def _closed(self, part: Part) -> Iterator[JsonObject]:
        """The item may have another part: it ends when the next one begins."""
        if self._texts:
            whole = _CONTENT[part.kind]("".join(self._texts))
            yield from part_closed(whole, self._inside_content())
            self._content.append(whole)
        self._items[-1] = {**self._item(part), "id": self._items[-1]["id"]}

    def _ended(self, completion: Completion) -> Iterator[JsonObject]:
        reason = completion.finish_reason
        yield from self._item_closed(item_status(reason))
        if not self._items:
            self._items.append(message_item(self._attempt, self._slot, [text_part("")]))
            self._items[-1]["status"] = item_status(reason)
            yield from item_events(self._items[-1], 0)
        usage, said = completion.usage, completion.body
        yield last_event(ended_response(self._begun, self._items, reason, usage, said))

    def _item(self, part: Part) -> JsonObject:
        """The item of a part, with what is whole of it."""
        if part.kind is Kind.CALL:
            call = self._chunks.call(part.number)
            return call_item(call, self._attempt, self._slot, part.number)
        if part.kind is Kind.REASONING:
            return reasoning_item(self._attempt, self._slot, self._content)
        return message_item(self._attempt, self._slot, self._content, part.number)

    def _item_closed(self, status: str) -> Iterator[JsonObject]:
        if self._items:
            item = self._items[-1]
            if "status" in item:
                item["status"] = status
            yield from item_closed(item, len(self._items) - 1)

    def _inside(self) -> JsonObject:
        return {"output_index": len(self._items) - 1, "item_id": self._items[-1]["id"]}

    def _inside_content(self) -> JsonObject:
        return {**self._inside(), "content_index": len(self._content)}
