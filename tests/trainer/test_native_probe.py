"""`endpoint add --native`: the server is asked in each format that it is said to speak."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rolldock.errors import UsageError
from rolldock.models.endpoint import Endpoint
from rolldock.store.store import Store
from rolldock.trainer.adding import EndpointRequest, add_endpoint
from tests.gateway.native_bodies import NativePlan
from tests.gateway.native_server import KEY, NativeServer

SECRET = b"a secret of this test, long enough to sign with"


@pytest.fixture
async def server() -> AsyncIterator[NativeServer]:
    """A server that speaks agents' formats."""
    made = NativeServer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of this test's own."""
    return Store.open(str(tmp_path / "store"))


async def add(
    store: Store, server: NativeServer, native: list[str] | None, model: str = "m"
) -> Endpoint:
    """Add an endpoint whose server is said to speak these formats."""
    formats = None if native is None else tuple(native)
    asked = EndpointRequest(url=server.url, model=model, api_key=KEY, native=formats)
    return await add_endpoint(store, SECRET, "policy", asked)


async def test_what_it_speaks(store: Store, server: NativeServer) -> None:
    """Each format is tried once, with the key where the format has it; the endpoint keeps them for
    the same model, until it is added with others or with another model."""
    both = ["openai.responses", "anthropic.messages", "openai.responses"]
    added = await add(store, server, both)
    assert added.native == ("anthropic.messages", "openai.responses")
    native = [call for call in server.calls if not call.path.endswith("/chat/completions")]
    assert sorted(call.path for call in native) == ["/v1/messages", "/v1/responses"]
    assert (await add(store, server, None)).version == added.version
    assert (await add(store, server, [])).native == ()
    assert (await add(store, server, ["openai.responses"])).native == ("openai.responses",)
    assert (await add(store, server, None, model="another")).native == ()


async def test_a_format_that_nobody_knows(store: Store, server: NativeServer) -> None:
    """An unknown name is refused with those that there are."""
    with pytest.raises(UsageError, match=r"'gemini' is unknown: .* anthropic\.messages, openai\.r"):
        await add(store, server, ["gemini"])


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (NativePlan(status=404, error={"detail": "Not Found"}), "answers HTTP 404: .*Not Found"),
        (NativePlan(write=lambda _: b"[]"), "does not answer as anthropic.messages does"),
        (NativePlan(write=lambda _: b'{"choices":[]}'), "it is no message with content"),
    ],
)
async def test_a_format_that_it_does_not_speak(
    store: Store, server: NativeServer, plan: NativePlan, why: str
) -> None:
    """What the server does not speak cannot be claimed: the error says what it answered."""
    server.plans.append(plan)
    with pytest.raises(UsageError, match=f"/v1/messages .*{why}.*leave out --native"):
        await add(store, server, ["anthropic.messages"])


async def test_a_server_that_is_not_there(store: Store, server: NativeServer) -> None:
    """Nobody at the URL is a usage error that names it."""
    await server.stop()
    with pytest.raises(UsageError, match=r"no model server answers at http://127"):
        await add(store, server, ["anthropic.messages"])
