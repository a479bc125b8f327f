"""Tokens of the scripted model: one per UTF-8 byte, so that ids are exact and need no tokenizer.

Rendering is append-only: the prompt of a conversation that continues a turn starts with exactly
that turn's prompt and completion, as long as the agent sends back what it got.
"""

import json
from typing import Any, Final, cast

from .play import Call, Played
from .request import ChatRequest, Message

_START: Final = "\x02"
_END: Final = "\x03"


def prompt_ids(request: ChatRequest) -> list[int]:
    """Ids of the whole prompt, up to where the model begins to speak."""
    tools = [tool.model_dump() for tool in request.tools or ()]
    header = f"{_START}tools\n{json.dumps(tools)}{_END}" if tools else ""
    rendered = header + "".join(_render(message) for message in request.messages)
    return encode(f"{rendered}{_START}assistant\n")


def completion_ids(reply: Played) -> list[int]:
    """Ids of a reply, its end token included."""
    return encode(completion_text(reply))


def completion_text(reply: Played) -> str:
    """A reply as the model's own tokens spell it."""
    return (reply.text or "") + render_calls(reply.calls) + _END


def render_calls(calls: tuple[Call, ...]) -> str:
    """Tool calls as text, their arguments normalised: agents write the JSON anew."""
    return "".join(f"\n<call>{call.name} {_normal(call.arguments)}</call>" for call in calls)


def encode(text: str) -> list[int]:
    """A text's bytes."""
    return list(text.encode("utf-8", "surrogatepass"))


def logprob_entries(ids: list[int], *, as_ids: bool) -> list[dict[str, Any]]:
    """One entry per id, in OpenAI's shape; the values depend on id and place alone."""
    return [
        {
            "token": f"token_id:{token}" if as_ids else chr(token),
            "logprob": -((place * 7 + token) % 50 + 1) / 64,
            "bytes": [token],
            "top_logprobs": [],
        }
        for place, token in enumerate(ids)
    ]


def _render(message: Message) -> str:
    called = tuple(
        Call(name=tool.function.name, arguments=tool.function.arguments)
        for tool in message.tool_calls or ()
    )
    return f"{_START}{message.role}\n{message.text}{render_calls(called)}{_END}"


def _normal(arguments: str) -> str:
    try:
        value = cast(object, json.loads(arguments))
    except ValueError:
        return arguments
    return json.dumps(value, sort_keys=True)
