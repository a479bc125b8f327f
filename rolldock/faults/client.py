"""The client of a server that injects faults. It works against all of them."""

from types import TracebackType
from typing import Final, Self

import httpx
from pydantic import TypeAdapter

from rolldock.errors import UnavailableError, UsageError
from rolldock.faults.model import (
    ADMIN_PATH,
    JOURNAL_PATH,
    Fault,
    FaultsState,
    Harm,
    HarmRequest,
    JournalEntry,
    ListingRequest,
)
from rolldock.models.base import Contract

_TIMEOUT_SECONDS: Final = 30.0
_JOURNAL: Final = TypeAdapter(list[JournalEntry])


class FaultClient:
    """Tells one server what to do wrong; used as an async context manager.

    Every method raises UnavailableError where the server does not answer, and UsageError where it
    refuses: faults are off there, or the request is wrong.
    """

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        """`base_url`: the server's origin, without a path; `api_key`: for sandboxd."""
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def add(self, fault: Fault) -> str:
        """Add a fault. Returns its id."""
        reply = await self._call("POST", ADMIN_PATH, fault)
        return str(reply.json()["id"])

    async def state(self) -> FaultsState:
        """All faults with their hits, and how many requests have come by route."""
        reply = await self._call("GET", ADMIN_PATH)
        return FaultsState.model_validate_json(reply.content)

    async def hits(self, fault_id: str) -> int:
        """How many requests a fault has been applied to."""
        for kept in (await self.state()).faults:
            if kept.id == fault_id:
                return kept.hits
        raise UsageError(f"no fault {fault_id}: it was removed, or its server was restarted")

    async def remove(self, fault_id: str) -> None:
        """Remove one fault."""
        await self._call("DELETE", f"{ADMIN_PATH}/{fault_id}")

    async def clear(self) -> None:
        """Remove all faults; a lag of sandboxd's listing stays."""
        await self._call("DELETE", ADMIN_PATH)

    async def harm(self, sandbox_id: str, kind: Harm) -> None:
        """sandboxd: do this to a running sandbox; returns once it is done."""
        await self._call("POST", f"{ADMIN_PATH}/sandboxes/{sandbox_id}", HarmRequest(kind=kind))

    async def lag_listing(self, seconds: float) -> None:
        """sandboxd: show a sandbox in lists only so long after its create; 0 ends it."""
        await self._call("POST", f"{ADMIN_PATH}/listing", ListingRequest(lag_seconds=seconds))

    async def journal(self) -> list[JournalEntry]:
        """The scripted model server: every model call that reached the model, oldest first."""
        reply = await self._call("GET", JOURNAL_PATH)
        return _JOURNAL.validate_json(reply.content)

    async def _call(self, method: str, path: str, body: Contract | None = None) -> httpx.Response:
        content = None if body is None else body.model_dump_json()
        try:
            reply = await self._http.request(method, path, content=content)
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise UnavailableError(
                f"{self._http.base_url}: {said}: is the server running?"
            ) from error
        if reply.is_error:
            raise UsageError(
                f"{method} {reply.url} answered {reply.status_code}: {reply.text[:300]}"
            )
        return reply
