"""What every exception of the SDK means, built with the SDK's classes and real HTTP responses."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final

import httpx
import prime_sandboxes
import pytest
from aiohttp import web
from prime_sandboxes import APIError, CommandTimeoutError, SandboxNotRunningError
from pydantic import BaseModel, ValidationError

from rolldock.errors import StageError, TransientStageError, UsageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.faults import sandbox_faults, stage_error, status_of

if TYPE_CHECKING:
    from tests.sandbox.conftest import Provider

OTHERWISE: Final = Cause.SETUP_FAILED
TRANSIENT: Final = (OTHERWISE, True)

MEANINGS: Final = {
    "APIError": TRANSIENT,
    "APITimeoutError": TRANSIENT,
    "BatchStatusUnsupportedError": TRANSIENT,
    "CommandTimeoutError": TRANSIENT,
    "DownloadTimeoutError": TRANSIENT,
    "PaymentRequiredError": (Cause.PAYMENT_REQUIRED, False),
    "SandboxFileNotFoundError": TRANSIENT,
    "SandboxFileTooLargeError": TRANSIENT,
    "SandboxImagePullError": (Cause.IMAGE_UNAVAILABLE, False),
    "SandboxNotRunningError": (Cause.SANDBOX_LOST, False),
    "SandboxOOMError": (Cause.SANDBOX_OOM, False),
    "SandboxTimeoutError": (Cause.SANDBOX_EXPIRED, False),
    "TimeoutError": TRANSIENT,
    "UnauthorizedError": (Cause.UNAUTHORIZED, False),
    "UploadTimeoutError": TRANSIENT,
}
"""Every exception that the SDK exports -> cause, and whether the same try may succeed later."""


def exported() -> dict[str, type[Exception]]:
    """The SDK's public exception classes by name."""
    found = vars(prime_sandboxes).items()
    return {
        name: value
        for name, value in found
        if inspect.isclass(value) and issubclass(value, Exception)
    }


def made(kind: type[Exception]) -> Exception:
    """An instance, with the arguments that its constructor wants."""
    if issubclass(kind, SandboxNotRunningError):
        return kind("sbx1")
    if issubclass(kind, APIError):
        return kind("something broke")
    return kind("sbx1", "a command or a path", 3)


def meaning(error: Exception) -> tuple[Cause, bool]:
    """Cause, and whether it is transient."""
    found = stage_error(error, OTHERWISE)
    return found.cause, isinstance(found, TransientStageError)


def test_no_exception_of_the_sdk_is_without_a_meaning() -> None:
    """A class that a later SDK adds or removes has to be thought about here."""
    assert exported().keys() == MEANINGS.keys()


@pytest.mark.parametrize("name", sorted(MEANINGS))
async def test_each_exception_of_the_sdk_has_its_meaning(name: str) -> None:
    """Raised where the SDK raises it, it leaves as the stage error that it stands for."""
    with pytest.raises(StageError) as raised:
        async with sandbox_faults(OTHERWISE):
            raise made(exported()[name])
    found = (raised.value.cause, isinstance(raised.value, TransientStageError))
    assert found == MEANINGS[name]
    assert str(raised.value)


def answered(status: int, headers: dict[str, str] | None = None, path: str = "/x") -> APIError:
    """What the SDK raises for a response: its text, with the response only in the chain."""
    request = httpx.Request("POST", f"http://127.0.0.1/api/v1{path}")
    response = httpx.Response(status, headers=headers, request=request, json={"detail": "because"})
    try:
        try:
            response.raise_for_status()
        except httpx.HTTPStatusError:
            # As in the SDK: no `from`, the response is only the context.
            raise APIError(f"HTTP {status}: because")  # noqa: B904
    except APIError as error:
        return error
    raise AssertionError("the status is no error")


@pytest.mark.parametrize(
    ("status", "cause", "transient"),
    [
        (400, OTHERWISE, False),
        (401, OTHERWISE, False),
        (403, OTHERWISE, False),
        (404, OTHERWISE, False),
        (408, OTHERWISE, True),
        (409, OTHERWISE, True),
        (422, Cause.SANDBOX_REFUSED, False),
        (429, OTHERWISE, True),
        (500, OTHERWISE, True),
        (502, OTHERWISE, True),
        (503, OTHERWISE, True),
    ],
)
def test_a_status_in_the_chain_decides(status: int, cause: Cause, transient: bool) -> None:
    """What the request itself is to blame for is final; the rest may pass."""
    error = answered(status)
    assert status_of(error) == status
    assert meaning(error) == (cause, transient)


def test_a_refused_image_is_named() -> None:
    """A 422 that speaks of the image has a cause of its own."""
    error = answered(422)
    error.args = ("HTTP 422: no such image",)
    assert meaning(error) == (Cause.IMAGE_UNAVAILABLE, False)


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
)
def test_retry_after_is_passed_on(value: str, seconds: float | None) -> None:
    """In seconds, where the server said so; a date that has passed is now."""
    found = stage_error(answered(429, {"retry-after": value}), OTHERWISE)
    assert isinstance(found, TransientStageError)
    assert found.retry_after_seconds == seconds


def test_access_to_an_unknown_sandbox_means_that_it_is_lost() -> None:
    """The SDK asks for access before each command and file: its 404 is not the file's."""
    assert meaning(answered(404, path="/sandbox/sbx1/auth")) == (Cause.SANDBOX_LOST, False)


async def test_a_refused_connection_is_transient() -> None:
    """A server that is being restarted is asked again."""
    try:
        async with httpx.AsyncClient() as client:
            await client.get("http://127.0.0.1:1/")
    except httpx.ConnectError as cause:
        error = APIError("Request failed: ConnectError")
        error.__cause__ = cause
        assert meaning(error) == TRANSIENT


async def test_our_own_errors_pass_through() -> None:
    """What has a name already keeps it."""
    with pytest.raises(UsageError, match="mine"):
        async with sandbox_faults(OTHERWISE):
            raise UsageError("mine")


async def test_a_bug_is_not_dressed_up() -> None:
    """An exception that the SDK does not raise leaves as it is."""
    with pytest.raises(KeyError):
        async with sandbox_faults(OTHERWISE):
            raise KeyError("bug")


class _Answer(BaseModel):
    id: str


async def test_an_answer_of_another_shape_is_transient() -> None:
    """A proxy that answers for the provider is asked again."""
    with pytest.raises(TransientStageError) as raised:
        async with sandbox_faults(OTHERWISE):
            _Answer.model_validate({})
    assert isinstance(raised.value.__cause__, ValidationError)


async def test_an_answer_that_is_no_json_is_transient(
    provider: "Provider", sandboxes: Sandboxes
) -> None:
    """The SDK lets the decoder's error through; we do not."""

    async def html(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>be back soon</html>", content_type="text/html")

    provider.instead["GET /api/v1/sandbox/sbx1"] = html
    with pytest.raises(TransientStageError):
        await sandboxes.status("sbx1")


async def test_a_dead_api_is_transient(provider: "Provider", sandboxes: Sandboxes) -> None:
    """Nothing listens: an API that is being restarted."""
    sandboxes.sdk.client.base_url = "http://127.0.0.1:1"
    with pytest.raises(TransientStageError):
        await sandboxes.alive()


async def test_a_file_that_is_not_there_is_none_and_a_sandbox_is_lost(
    provider: "Provider", sandboxes: Sandboxes
) -> None:
    """Two different 404s of one download."""
    known = provider.make({"name": "n", "labels": []})["id"]
    assert await sandboxes.download(known, "/absent", OTHERWISE) is None
    with pytest.raises(StageError) as raised:
        await sandboxes.download("sbx404", "/absent", OTHERWISE)
    assert raised.value.cause is Cause.SANDBOX_LOST


@pytest.fixture
async def silence() -> AsyncIterator[str]:
    """The address of a server that accepts connections and never answers."""
    taken: list[asyncio.StreamWriter] = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"http://{host}:{port}"
    for writer in taken:
        writer.close()
    server.close()
    await server.wait_closed()


Call = Callable[[Sandboxes, str], Awaitable[object]]

CALLS: Final[dict[str, Call]] = {
    "command": lambda sandboxes, id: sandboxes.run(
        id, "true", timeout_seconds=30, otherwise=OTHERWISE
    ),
    "upload": lambda sandboxes, id: sandboxes.upload(id, "/x", b"x", OTHERWISE),
    "download": lambda sandboxes, id: sandboxes.download(id, "/x", OTHERWISE),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_swallowed_cancel_comes_out_as_one(
    provider: "Provider", sandboxes: Sandboxes, silence: str, call: str
) -> None:
    """The SDK turns a cancel under its gateway calls into APIError; we turn it back."""
    provider.url = silence
    known = provider.make({"name": "n", "labels": []})["id"]
    calling = asyncio.ensure_future(CALLS[call](sandboxes, known))
    auth = f"POST /api/v1/sandbox/{known}/auth"
    while auth not in provider.requests:
        await asyncio.sleep(0.01)
    await asyncio.wait({calling}, timeout=0.2)
    calling.cancel()
    await asyncio.wait({calling}, timeout=5)
    assert calling.cancelled()


async def test_a_cancel_under_the_api_itself_comes_out_as_one(
    sandboxes: Sandboxes, silence: str
) -> None:
    """The same for a plain request."""
    sandboxes.sdk.client.base_url = silence
    calling = asyncio.ensure_future(sandboxes.alive())
    await asyncio.wait({calling}, timeout=0.2)
    calling.cancel()
    await asyncio.wait({calling}, timeout=5)
    assert calling.cancelled()


async def test_a_timeout_around_a_call_is_a_timeout(
    provider: "Provider", sandboxes: Sandboxes, silence: str
) -> None:
    """`asyncio.timeout` cancels too, and gets its own back."""
    provider.url = silence
    known = provider.make({"name": "n", "labels": []})["id"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await CALLS["command"](sandboxes, known)


async def test_a_command_that_runs_too_long_is_transient(
    provider: "Provider", sandboxes: Sandboxes, silence: str
) -> None:
    """Its own time limit is no cancel of ours."""
    provider.url = silence
    known = provider.make({"name": "n", "labels": []})["id"]
    with pytest.raises(TransientStageError) as raised:
        await sandboxes.run(known, "true", timeout_seconds=1, otherwise=OTHERWISE)
    assert isinstance(raised.value.__cause__, CommandTimeoutError)
