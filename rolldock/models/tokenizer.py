"""A tokenizer's files as one blob, whose digest endpoints name: the same on every gateway.

Loads no tokenizer; that is `rolldock/gateway/rendering_tokenizer.py`.
"""

from pydantic import Field

from .base import JsonObject, Record


class TokenizerFiles(Record):
    """What a model's directory says of its tokenizer; its JSON is the blob."""

    name_or_path: str = ""
    """The published model whose tokenizer it is, where that is known: some templates differ
    between models of one family by it alone. Never a path of somebody's machine."""
    tokenizer: str = Field(min_length=1)
    """`tokenizer.json`, as it was written."""
    config: JsonObject
    """`special_tokens_map.json` and over it `tokenizer_config.json`, without the template."""
    chat_template: str | None = None
    """`chat_template.jinja`, else the template in the configuration."""
