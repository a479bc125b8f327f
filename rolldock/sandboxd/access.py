"""Who may call: the deployment's key for the control plane, a token for each sandbox's gateway."""

import hmac
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web

from rolldock.models.base import JsonObject

GATEWAY_PREFIX: Final = "/api/v1/gateway"
_USER_NAMESPACE: Final = "local"
_TOKEN_LIFETIME: Final = timedelta(hours=24)
"""Only a hint for the client's cache: the token is good as long as its sandbox."""


class Access:
    """Makes and checks tokens. Nothing is stored: a restarted server knows them again."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def may_control(self, request: web.Request) -> bool:
        """Whether the request carries the key."""
        return _carries(request, self._api_key)

    def may_use(self, request: web.Request, sandbox_id: str) -> bool:
        """Whether the request carries the sandbox's token."""
        return _carries(request, self._token(sandbox_id))

    def gateway_auth(self, request: web.Request, sandbox_id: str) -> JsonObject:
        """The API's `gatewayAuth`, with the address at which this very request reached us."""
        return {
            "gateway_url": f"{request.url.origin()}{GATEWAY_PREFIX}",
            "user_ns": _USER_NAMESPACE,
            "job_id": sandbox_id,
            "token": self._token(sandbox_id),
            "expires_at": (datetime.now(UTC) + _TOKEN_LIFETIME).isoformat(),
        }

    def _token(self, sandbox_id: str) -> str:
        return hmac.digest(self._api_key.encode(), sandbox_id.encode(), "sha256").hex()


def _carries(request: web.Request, secret: str) -> bool:
    given = request.headers.get("Authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {secret}".encode())
