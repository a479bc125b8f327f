"""What a message says, as text: for lists and exports that show no parts."""

import json

from pydantic import JsonValue


def message_text(content: JsonValue) -> str:
    """A message's content as text; a part that is none stands as `[image_url, 1234 bytes]`."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return json.dumps(content, ensure_ascii=False)


def _part(part: JsonValue) -> str:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type", "part") if isinstance(part, dict) else "part"
    return f"[{kind}, {len(json.dumps(part))} bytes]"
