"""`endpoint add --mode tokens`: the tokenizer is read and tried, the server is asked."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from rolldock.errors import UsageError
from rolldock.gateway.rendering import load_rendering, renderer_for
from rolldock.models.endpoint import EngineMode, LogprobsMode
from rolldock.models.tokenizer import TokenizerFiles
from rolldock.store import endpoints
from rolldock.store.store import Store
from rolldock.trainer.adding import EndpointRequest, add_endpoint
from rolldock.trainer.tokenizers import read_tokenizer
from tests.gateway.tokens_mode.generate_server import MODEL, GenerateServer, Wish
from tests.gateway.tokens_mode.tiny_model import write_tokenizer

SECRET = b"a secret of these tests, long enough"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of this test's own."""
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model's directory."""
    return write_tokenizer(tmp_path / "model")


async def add(store: Store, server: GenerateServer, **more: Any) -> Any:
    """Add the endpoint `e`."""
    asked: dict[str, Any] = {
        "url": server.url,
        "model": MODEL,
        "api_key": None,
        "mode": EngineMode.TOKENS,
        "policy_version": None,
        "renderer": "qwen3",
    }
    return await add_endpoint(store, SECRET, "e", EndpointRequest.model_validate(asked | more))


async def test_adding(store: Store, server: GenerateServer, directory: Path) -> None:
    """The record names tokenizer and renderer; the files are a blob; the same again is no news."""
    added = await add(store, server, tokenizer=directory)
    assert added.tokenizer_digest is not None
    assert (added.renderer, added.token_ids) == ("qwen3", True)
    assert added.logprobs_mode is LogprobsMode.RAW
    blob = await store.get_blob(added.tokenizer_digest)
    assert TokenizerFiles.model_validate_json(blob) == read_tokenizer(directory)
    assert (await add(store, server, tokenizer=directory)).version == added.version
    assert server.calls[0]["sampling_params"]["max_tokens"] == 1


async def test_another_directory_with_the_same_files(
    store: Store, server: GenerateServer, directory: Path, tmp_path: Path
) -> None:
    """The digest is of what the files say, not of where they are."""
    first = await add(store, server, tokenizer=directory)
    second = await add(store, server, tokenizer=write_tokenizer(tmp_path / "copy"))
    assert first.tokenizer_digest == second.tokenizer_digest


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"tokenizer": None}, r"needs the tokenizer of model 'tiny': .* --tokenizer DIR"),
        ({"renderer": None}, r"no renderer is known for model 'tiny': .*--renderer: .*qwen3"),
        ({"renderer": "nobody"}, "there is no renderer 'nobody'"),
        ({"renderer": "glm-5"}, "renderer 'glm-5' cannot use this tokenizer"),
        ({"mode": EngineMode.CHAT}, "--tokenizer and --renderer go with --mode tokens"),
    ],
)
async def test_what_does_not_fit(
    store: Store, server: GenerateServer, directory: Path, more: dict[str, Any], why: str
) -> None:
    """One line with the mend; nothing is written."""
    with pytest.raises(UsageError, match=why):
        await add(store, server, **({"tokenizer": directory} | more))
    assert await endpoints.newest(store, "e") is None


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("tokenizer.json", None, "no tokenizer.json: give --tokenizer"),
        ("tokenizer_config.json", None, "no tokenizer_config.json"),
        ("tokenizer_config.json", "[]", "not a JSON object"),
        ("tokenizer_config.json", "{", "not JSON"),
        ("tokenizer.json", "{}", "cannot use this tokenizer: tokenizer.json:"),
    ],
)
async def test_a_damaged_directory(
    store: Store,
    server: GenerateServer,
    directory: Path,
    name: str,
    content: str | None,
    why: str,
) -> None:
    """The file is named."""
    if content is None:
        (directory / name).unlink()
    else:
        (directory / name).write_text(content)
    with pytest.raises(UsageError, match=why):
        await add(store, server, tokenizer=directory)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (Wish(status=401), r"refuses the key .HTTP 401.: .*--api-key-env"),
        (Wish(status=404, error={"detail": "Not Found"}), "HTTP 404 .*or use mode chat"),
        (Wish(status=500, error={"error": "oh"}), "HTTP 500 for model 'tiny': "),
        (Wish(spoil={"token_ids": None}), "answers without token ids and their log-probs"),
    ],
)
async def test_a_server_that_takes_no_tokens(
    store: Store, server: GenerateServer, directory: Path, wish: Wish, why: str
) -> None:
    """A server without the route, or without ids, is refused when it is added."""
    server.wishes.append(wish)
    with pytest.raises(UsageError, match=why):
        await add(store, server, tokenizer=directory)


async def test_nobody_there(store: Store, server: GenerateServer, directory: Path) -> None:
    """An address where nothing answers is one line."""
    with pytest.raises(UsageError, match=r"no model server answers at http://127\.0\.0\.1:1/inf"):
        await add(store, server, tokenizer=directory, url="http://127.0.0.1:1/v1")


def test_a_published_model_has_its_renderer() -> None:
    """Its name is enough, and is kept with the tokenizer, by which some templates differ."""
    assert renderer_for("Qwen/Qwen3-8B") == "qwen3"


def test_templates_in_the_configuration(directory: Path) -> None:
    """Older models keep their template there, or several by name; the file of its own wins."""
    config = directory / "tokenizer_config.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps({**said, "chat_template": "inline"}))
    assert read_tokenizer(directory).chat_template != "inline"
    (directory / "chat_template.jinja").unlink()
    assert read_tokenizer(directory).chat_template == "inline"
    named = [{"name": "rag", "template": "no"}, {"name": "default", "template": "yes"}]
    config.write_text(json.dumps({**said, "chat_template": named}))
    assert read_tokenizer(directory).chat_template == "yes"
    config.write_text(json.dumps(said))
    assert read_tokenizer(directory).chat_template is None


async def test_a_template_that_refuses(directory: Path) -> None:
    """What a template raises, and that there is none, is said in one line."""
    files = read_tokenizer(directory)
    refusing = "{{ raise_exception('only users speak') }}"
    for template, why in (
        (refusing, "only users speak"),
        ("{% if", "the chat template says"),
        (None, "no chat_template"),
    ):
        changed = files.model_copy(update={"chat_template": template})
        rendering = await asyncio.to_thread(load_rendering, changed, "default")
        with pytest.raises(UsageError, match=why):
            rendering.whole([{"role": "user", "content": "x"}], None)
