"""The renderer of an endpoint: conversations to exact token ids, completions back to messages.

The `renderers` package knows the models' formats; here it is loaded, kept and spoken to. Nothing
is sent to a model server.
"""

import asyncio
import importlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar, cast

from pydantic import JsonValue, ValidationError

from rolldock.errors import UsageError
from rolldock.gateway.patience import patiently
from rolldock.gateway.rendering_messages import (
    MessageStyle,
    ParsedCompletion,
    RenderedMessage,
    from_completion,
    to_render,
    tools_of,
)
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import Endpoint
from rolldock.models.tokenizer import TokenizerFiles
from rolldock.store.store import Store

_log = logging.getLogger(__name__)

TEMPLATE: Final = "default"
"""The renderer that applies the model's own template, and reads no tool calls."""

_STYLES: Final = {
    "gpt-oss": MessageStyle(developer=True, tool_names=True),
    "gemma4": MessageStyle(developer=True, tool_names=True),
    "deepseek-v4": MessageStyle(developer=True),
}
_KEPT: Final = 8
"""Tokenizers in memory: one takes tens of MiB."""
_FAULTS: Final = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError)
"""What renderers raise over a conversation or a tokenizer that is not theirs."""

Result = TypeVar("Result")


class _Rendered(Protocol):
    token_ids: list[int]


class _Renderer(Protocol):
    """What of `renderers.Renderer` is used."""

    def render_ids(
        self,
        messages: list[RenderedMessage],
        *,
        tools: list[JsonObject] | None,
        add_generation_prompt: bool,
    ) -> list[int]: ...

    def bridge_to_next_turn(
        self,
        previous_prompt_ids: list[int],
        previous_completion_ids: list[int],
        new_messages: list[RenderedMessage],
        *,
        tools: list[JsonObject] | None,
    ) -> _Rendered | None: ...

    def parse_response(
        self, token_ids: list[int], *, tools: list[JsonObject] | None, prompt_ids: list[int]
    ) -> ParsedCompletion: ...

    def get_stop_token_ids(self) -> list[int]: ...


class Rendering:
    """A renderer with its tokenizer. Its methods hold no lock and may run in any thread."""

    def __init__(self, renderer: _Renderer, name: str, decode: Callable[[list[int]], str]) -> None:
        self._renderer = renderer
        self._decode = decode
        self._name = name
        self._style = _STYLES.get(name, MessageStyle())
        self.stop_ids = list(dict.fromkeys(renderer.get_stop_token_ids()))

    def whole(
        self, messages: Sequence[JsonValue], tools: list[JsonObject] | None
    ) -> tuple[int, ...]:
        """The prompt of a conversation, up to where the model begins to speak.

        Raises:
            UsageError: it has what this model's format cannot express; the text names it.
        """
        self._check_tools(tools)
        made = to_render(messages, self._style)
        render = self._renderer.render_ids
        ids = self._asked(lambda: render(made, tools=tools, add_generation_prompt=True))
        return tuple(ids)

    def continued(
        self,
        prompt_ids: Sequence[int],
        completion_ids: Sequence[int],
        messages: Sequence[JsonValue],
        n_known: int,
        tools: list[JsonObject] | None,
    ) -> tuple[int, ...] | None:
        """The prompt of a conversation of which an earlier turn has the first `n_known` messages.

        Begins with exactly that turn's prompt and completion. None: this format cannot be
        continued there, and the conversation has to be rendered whole.

        Raises:
            UsageError: as `whole`.
        """
        self._check_tools(tools)
        new = to_render(messages, self._style)[n_known:]
        before = (list(prompt_ids), list(completion_ids))
        bridge = self._renderer.bridge_to_next_turn
        found = self._asked(lambda: bridge(*before, new, tools=tools))
        if found is None:
            return None
        known = [*before[0], *before[1]]
        # A completion that goes on behind the end of its turn would be cut by the renderer.
        return tuple(found.token_ids) if found.token_ids[: len(known)] == known else None

    def message(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], chat: JsonObject
    ) -> JsonObject:
        """What a completion says, in chat form; `chat` is the request.

        One that the renderer fails on is a text: the model may say anything.
        """
        ids = list(completion_ids)
        try:
            parsed = self._renderer.parse_response(
                ids, tools=tools_of(chat), prompt_ids=list(prompt_ids)
            )
        except _FAULTS as error:
            _log.warning("a completion stays text, renderer %s fails on it: %r", self._name, error)
            text = self._decode([token for token in ids if token not in self.stop_ids])
            return {"role": "assistant", "content": text}
        return from_completion(parsed, chat)

    def _check_tools(self, tools: list[JsonObject] | None) -> None:
        if tools and self._name == TEMPLATE:
            raise UsageError(
                f"tools: renderer {TEMPLATE!r} reads no tool calls: add the endpoint with the "
                "--renderer of its model, or with mode chat"
            )

    def _asked(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except _FAULTS as error:
            said = " ".join(str(error).split())
            message = f"renderer {self._name!r} cannot render this conversation: {said}"
            raise UsageError(message) from error


class Renderings:
    """The renderings that this process has needed, loaded once per tokenizer and renderer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loaded: dict[tuple[str, str], Rendering] = {}
        self._loading: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, endpoint: Endpoint) -> Rendering:
        """The rendering of an endpoint.

        Raises:
            UsageError: it names no tokenizer, or one that cannot be had or used.
            UnavailableError: the store does not answer.
        """
        digest, renderer = endpoint.tokenizer_digest, endpoint.renderer
        if digest is None or renderer is None:
            raise UsageError(
                f"endpoint {endpoint.name} is of mode tokens and has no tokenizer: add it again "
                "with --tokenizer DIR"
            )
        key = (digest, renderer)
        async with self._loading[key]:
            if key not in self._loaded:
                self._loaded[key] = await self._load(endpoint.name, digest, renderer)
                for oldest in list(self._loaded)[:-_KEPT]:
                    del self._loaded[oldest]
            return self._loaded[key]

    async def _load(self, name: str, digest: str, renderer: str) -> Rendering:
        try:
            blob = await patiently(lambda: self._store.get_blob(digest))
            files = TokenizerFiles.model_validate_json(blob)
        except (KeyError, ValidationError) as error:
            raise UsageError(
                f"endpoint {name}: its tokenizer {digest[:12]} is not in the store, or damaged: "
                "add the endpoint again with --tokenizer DIR"
            ) from error
        return await asyncio.to_thread(load_rendering, files, renderer)


def load_rendering(files: TokenizerFiles, renderer: str) -> Rendering:
    """A renderer over a tokenizer. Takes a second or two, and tens of MiB.

    Raises:
        UsageError: the extra is not installed, no such renderer, or the tokenizer is not its.
    """
    package = _package()
    # After the check: it needs the extra, too.
    from rolldock.gateway.rendering_tokenizer import FilesTokenizer

    config = _config(package, renderer)
    try:
        tokenizer = FilesTokenizer(files)
        made = package.create_renderer(tokenizer, config)
        return Rendering(cast(_Renderer, made), renderer, tokenizer.decode)
    except (*_FAULTS, ImportError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"renderer {renderer!r} cannot use this tokenizer: {said}") from error


def renderer_for(model: str) -> str:
    """The renderer of a published model.

    Raises:
        UsageError: it is not known by this name.
    """
    known: dict[str, str] = _package().base.MODEL_RENDERER_MAP
    if model in known:
        return known[model]
    raise UsageError(f"no renderer is known for model {model!r}: {_mend()}")


def is_published(model: str) -> bool:
    """Whether a model's name is one that renderers know."""
    return model in cast(dict[str, str], _package().base.MODEL_RENDERER_MAP)


def _config(package: Any, renderer: str) -> Any:
    """A renderer's settings: earlier reasoning stays in the prompt, as it was sampled.

    Else some formats drop it at a new user message, and no earlier turn is a prefix any more.
    """
    try:
        config = package.config_from_name(renderer)
        if config is None:
            raise ValueError(renderer)
    except ValueError:
        raise UsageError(f"there is no renderer {renderer!r}: {_mend()}") from None
    return config if renderer == TEMPLATE else type(config)(thinking_retention="all")


def _mend() -> str:
    known: dict[str, str] = _package().base.MODEL_RENDERER_MAP
    names = ", ".join(sorted({*known.values(), TEMPLATE}))
    return (
        f"name one with --renderer: {names} ({TEMPLATE!r} applies the model's template, reads no "
        "tool calls and begins a new sample with each turn)"
    )


def _package() -> Any:
    """The `renderers` package, which is an extra and slow to import."""
    try:
        importlib.import_module("tokenizers")
        return importlib.import_module("renderers")
    except ImportError as error:
        raise UsageError(
            f"mode tokens needs the package {error.name!r}: install rolldock[tokens]"
        ) from None
