"""The API's client against the stand-in: what each refusal becomes, and whose tunnels are ours."""

import pytest

from rolldock.errors import UnavailableError, UsageError
from rolldock.tunnel.registrations import Registrations
from tests.tunnel.service import KEY, TunnelService


@pytest.mark.parametrize(
    ("status", "detail", "kind", "words"),
    [
        (401, "Unauthorized", UsageError, "Set PRIME_API_KEY"),
        (402, "Payment required", UsageError, "account has credit"),
        (400, "Maximum number of tunnels (10) reached", UsageError, "prime tunnel list"),
        (429, "Too many requests", UnavailableError, "Too many requests: try again later"),
        (500, "boom", UnavailableError, "boom: try again later"),
        (404, "no such path", UnavailableError, "PRIME_API_BASE_URL must not name one"),
    ],
)
async def test_what_a_refusal_becomes(
    service: TunnelService, status: int, detail: str, kind: type[Exception], words: str
) -> None:
    """It names the API and says who mends what, in one line."""
    service.refusal = (status, detail)
    async with Registrations.open(KEY, service.url, "k") as registrations:
        with pytest.raises(kind) as raised:
            await registrations.register(8700)
    said = str(raised.value)
    assert words in said
    assert service.url in said
    assert "\n" not in said


async def test_nobody_at_the_address() -> None:
    """An API that cannot be reached is unavailable, by its address."""
    async with Registrations.open(KEY, "http://127.0.0.1:1/api/v1", "k") as registrations:
        with pytest.raises(
            UnavailableError, match=r"http://127\.0\.0\.1:1 failed to look at tunnel"
        ):
            await registrations.status("t-1")


async def test_something_else_at_the_address(service: TunnelService) -> None:
    """A server that answers, but not as the API does, is unavailable too."""
    async with Registrations.open(KEY, f"{service.url}/elsewhere", "k") as registrations:
        with pytest.raises(UnavailableError, match="failed to register a tunnel"):
            await registrations.register(8700)


async def test_a_registration_and_its_end(service: TunnelService) -> None:
    """It is pending, is listed for its keeper alone, and is gone after its end, twice ended."""
    async with (
        Registrations.open(KEY, service.url, "mine") as mine,
        Registrations.open(KEY, service.url, "theirs") as theirs,
    ):
        made = await mine.register(8700)
        await theirs.register(8700)
        assert await mine.status(made.tunnel_id) == "pending"
        assert await mine.own() == [made.tunnel_id]
        await mine.deregister(made.tunnel_id)
        await mine.deregister(made.tunnel_id)
        assert await mine.status(made.tunnel_id) is None
        assert await mine.own() == []
        assert len(await theirs.own()) == 1
