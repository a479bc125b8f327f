"""OpenAI's chat completions: the format in which scripts are played. Bodies are in `wire.py`."""

import json
from collections.abc import Iterator

from rolldock.models.base import JsonObject

from .play import Played
from .request import ChatRequest
from .wire import body, chunks, complete
from .wire_format import WireFormat


class ChatCompletions(WireFormat):
    """`POST /v1/chat/completions`."""

    path = "/v1/chat/completions"

    def read(self, raw: bytes) -> ChatRequest:
        return ChatRequest.model_validate_json(raw)

    def whole(self, request: ChatRequest, reply: Played) -> JsonObject:
        return body(complete(request, reply))

    def stream(self, request: ChatRequest, reply: Played) -> Iterator[bytes]:
        options = request.stream_options
        include_usage = options is not None and options.include_usage
        for chunk in chunks(complete(request, reply), include_usage=include_usage):
            yield f"data: {json.dumps(chunk)}\n\n".encode()
        yield b"data: [DONE]\n\n"
