"""Tunnel registrations at Prime's API, over `prime_tunnel.TunnelClient`; its errors in our words.

Starts no process: the client library's own `Tunnel` ties frpc to the process that started it, so
only its API client is used here.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Self

import httpx
from prime_tunnel import (
    TunnelAuthError,
    TunnelClient,
    TunnelError,
    TunnelInfo,
    TunnelLimitReachedError,
    TunnelTimeoutError,
)

from rolldock.errors import UnavailableError, UsageError

_GONE: Final = frozenset({"expired", "terminated"})
"""Statuses that a registration never leaves."""
_API_PATH: Final = "/api/v1"
_LABEL: Final = "rolldock-keeper:"
_PER_PAGE: Final = 100
_TIMEOUT_SECONDS: Final = 10.0
"""Of one request; the client asks three times, but a registration once."""


class Registrations:
    """The tunnels of one keeper, at one account.

    Raises:
        UsageError: from every method, when the account's owner has to mend something.
        UnavailableError: from every method, when the API does not answer, or with nonsense.
    """

    def __init__(self, client: TunnelClient, keeper: str) -> None:
        self._client = client
        self._label = f"{_LABEL}{keeper}"

    @classmethod
    @asynccontextmanager
    async def open(
        cls, api_key: str | None, base_url: str | None, keeper: str
    ) -> AsyncGenerator[Self]:
        """A client that is closed at the end.

        Raises:
            UsageError: there is no key.
        """
        try:
            client = TunnelClient(api_key=api_key, timeout=_TIMEOUT_SECONDS)
        except ValueError as error:  # PRIME_CONTEXT names no profile
            raise UsageError(f"the Prime command line's profile cannot be used: {error}") from error
        if not client.api_key:
            raise UsageError(
                "a tunnel needs an account at Prime: set PRIME_API_KEY, or run `prime login`"
            )
        if base_url is not None:
            client.base_url = base_url.rstrip("/").removesuffix(_API_PATH)
        try:
            yield cls(client, keeper)
        finally:
            await client.close()

    async def register(self, port: int) -> TunnelInfo:
        """A new registration, with a URL that was never used before."""
        with self._named("register a tunnel"):
            return await self._client.create_tunnel(
                local_port=port, name="rolldock", labels=[self._label]
            )

    async def status(self, tunnel_id: str) -> str | None:
        """What the API says of a registration, such as `connected`; None: it is gone for good."""
        with self._named(f"look at tunnel {tunnel_id}"):
            found = await self._client.get_tunnel(tunnel_id)
        status = "" if found is None or found.status is None else found.status.lower()
        return None if found is None or status in _GONE else status

    async def deregister(self, tunnel_id: str) -> None:
        """End a registration; one that is gone already is fine."""
        with self._named(f"deregister tunnel {tunnel_id}"):
            await self._client.delete_tunnel(tunnel_id)

    async def own(self) -> list[str]:
        """Ids of this keeper's registrations that are not over: a lost reply may have left one."""
        with self._named("list tunnels"):
            found = await self._client.list_tunnels(labels=[self._label], per_page=_PER_PAGE)
        # The filter is the provider's; what we end must be ours by its own label.
        return [
            one.tunnel_id
            for one in found
            if self._label in one.labels and (one.status or "").lower() not in _GONE
        ]

    @contextmanager
    def _named(self, act: str) -> Generator[None]:
        where = self._client.base_url
        try:
            yield
        except TunnelAuthError as error:
            raise UsageError(
                f"{where} would not {act}: {_line(error)} Set PRIME_API_KEY to a key that may use "
                "tunnels, and see that the account has credit"
            ) from error
        except TunnelLimitReachedError as error:
            raise UsageError(
                f"{where} would not {act}: {_line(error)}: end one that nobody needs "
                "(`prime tunnel list`, `prime tunnel stop ID`)"
            ) from error
        except TunnelTimeoutError as error:
            raise UnavailableError(
                f"{where} did not answer in time when asked to {act}: try again later"
            ) from error
        except TunnelError as error:
            raise UnavailableError(
                f"{where} failed to {act}: {_line(error)}: try again later; a local sandbox server "
                "has no tunnels, so PRIME_API_BASE_URL must not name one"
            ) from error
        except httpx.InvalidURL as error:
            raise UsageError(f"PRIME_API_BASE_URL = {where!r} is no URL: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise UnavailableError(
                f"{where} gave no sensible answer when asked to {act}: "
                "is PRIME_API_BASE_URL the address of Prime's API?"
            ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
