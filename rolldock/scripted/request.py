"""What the server reads of a chat completion request; other fields are accepted and ignored."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rolldock.models.base import JsonObject


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CalledFunction(_Lenient):
    name: str = ""
    arguments: str = ""


class CalledTool(_Lenient):
    function: CalledFunction = CalledFunction()


class Message(_Lenient):
    """One message; its content is a text or a list of parts."""

    role: str
    content: str | list[JsonObject] | None = None
    tool_calls: list[CalledTool] | None = None

    @property
    def text(self) -> str:
        """The content's text parts, joined by line ends."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(str(part["text"]) for part in self.content if "text" in part)


class OfferedFunction(_Lenient):
    name: str
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])


class OfferedTool(_Lenient):
    function: OfferedFunction


class StreamOptions(_Lenient):
    include_usage: bool = False


class ChatRequest(_Lenient):
    """A chat completion request, with vLLM's switches for token ids."""

    model: str = "scripted"
    messages: list[Message] = Field(min_length=1)
    tools: list[OfferedTool] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    logprobs: bool | None = False
    return_token_ids: bool | None = False
    return_tokens_as_token_ids: bool | None = False

    @property
    def opening(self) -> str:
        """All user messages before the first assistant message."""
        texts: list[str] = []
        for message in self.messages:
            if message.role == "assistant":
                break
            if message.role == "user":
                texts.append(message.text)
        return "\n".join(texts)

    @property
    def n_replies(self) -> int:
        """How many turns this conversation has had: its assistant messages."""
        return sum(message.role == "assistant" for message in self.messages)
