"""A tokenizer as renderers want it, over the `tokenizers` library and the files of the endpoint.

Has what renderers call, and nothing else of what `transformers` offers.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import JsonValue
from tokenizers import Tokenizer

from rolldock.models.base import JsonObject
from rolldock.models.tokenizer import TokenizerFiles

_SPECIAL_TOKENS: Final = ("bos_token", "eos_token", "unk_token", "pad_token")

_Messages: TypeAlias = Sequence[Mapping[str, Any]]


class FilesTokenizer:
    """Text to ids and back.

    Raises:
        ValueError: from the constructor, when the files make no tokenizer.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(files.tokenizer)
        except Exception as error:  # the library raises bare Exceptions of its Rust half
            raise ValueError(f"tokenizer.json: {error}") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._special = _special_tokens(files.config)
        self.name_or_path = files.name_or_path
        self.chat_template = files.chat_template
        self.unk_token_id = self._id("unk_token")
        self.bos_token_id = self._id("bos_token")
        self.eos_token_id = self._id("eos_token")
        added = self._tokenizer.get_added_tokens_decoder().values()
        self.all_special_tokens = [token.content for token in added if token.special]

    def encode(self, text: str, *_: Any, add_special_tokens: bool = False, **__: Any) -> list[int]:
        """The ids of a text; special tokens that it spells are those tokens."""
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(
        self, token_ids: Sequence[int], *_: Any, skip_special_tokens: bool = False, **__: Any
    ) -> str:
        """The text of ids; those that the tokenizer does not have are left out."""
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=skip_special_tokens)

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int | None] | None:
        """The id of a token, or of each; that of the unknown token where there is none."""
        if isinstance(tokens, str):
            return self._one_id(tokens)
        return [self._one_id(token) for token in tokens]

    def apply_chat_template(
        self,
        messages: _Messages,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        return_dict: bool = False,
        **variables: Any,
    ) -> list[int]:
        """The ids of a conversation by the model's own template.

        Raises:
            ValueError: there is no template, or it refuses the conversation.
        """
        try:
            text = self._compiled.render(
                **self._special,
                **variables,
                messages=messages,
                tools=tools,
                add_generation_prompt=add_generation_prompt,
            )
        except TemplateError as error:
            raise ValueError(f"the chat template says: {error}") from None
        return self.encode(text)

    @cached_property
    def _compiled(self) -> Template:
        if self.chat_template is None:
            raise ValueError("there is no chat_template.jinja beside the tokenizer")
        return _environment().from_string(self.chat_template)

    def _one_id(self, token: str) -> int | None:
        found = self._tokenizer.token_to_id(token)
        return self.unk_token_id if found is None else found

    def _id(self, name: str) -> int | None:
        token = self._special.get(name)
        return None if token is None else self._tokenizer.token_to_id(token)


def _special_tokens(config: JsonObject) -> dict[str, str]:
    """The named tokens of a configuration, which are text or objects that hold it."""
    found: dict[str, str] = {}
    for name in _SPECIAL_TOKENS:
        value: JsonValue = config.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            found[name] = text
    return found


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as chat templates are written for: see `transformers`' chat_template_utils."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    made.filters["tojson"] = _to_json
    # Its type names the built-in ones alone.
    made.globals["raise_exception"] = _raise  # pyright: ignore[reportArgumentType]
    return made


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise TemplateError(message)
