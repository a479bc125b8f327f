"""The routes: check the token, find the session and the wire format, delegate.

The token is checked before anything else is said, so that nothing can be learnt without one.
"""

import asyncio
import logging
from typing import Final

import orjson
from aiohttp import web

from rolldock.errors import UnavailableError, UsageError
from rolldock.faults.admin import install
from rolldock.gateway.config import GatewayConfig
from rolldock.gateway.delivery import StreamDelivery, deliver_whole, watch_writes
from rolldock.gateway.dialects.base import JSON_TYPE, AgentRequest, Dialect
from rolldock.gateway.dialects.registry import BY_COUNT_PATH, BY_PATH, dialect_of, native_of
from rolldock.gateway.endpoints import Endpoints
from rolldock.gateway.json_bodies import BodyError, parse
from rolldock.gateway.live_session import LiveSession
from rolldock.gateway.refusals import RefusedError
from rolldock.gateway.sessions import Sessions
from rolldock.gateway.tokens import session_of
from rolldock.models.spec import Purpose

_log = logging.getLogger(__name__)

HEALTH_PATH: Final = "/healthz"
_MODELS_PATHS: Final = frozenset({"/v1/models", "/models"})
_BEARER: Final = "bearer "


class Server:
    """One gateway's HTTP face."""

    def __init__(
        self, config: GatewayConfig, secret: bytes, sessions: Sessions, endpoints: Endpoints
    ) -> None:
        self._config = config
        self._secret = secret
        self._sessions = sessions
        self._endpoints = endpoints

    def application(self) -> web.Application:
        """The application: every path is answered by us."""
        app = web.Application(client_max_size=self._config.max_body_bytes)
        if self._config.faults:
            install(app)
        for path in (HEALTH_PATH, *sorted(_MODELS_PATHS), *BY_PATH, *BY_COUNT_PATH):
            app.router.add_route("*", path, self.handle)
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request; whatever fails is an error in the format's shape."""
        dialect = dialect_of(request.path, request.headers)
        try:
            return await self._route(request, dialect)
        except RefusedError as refused:
            return _refusal(dialect, refused)
        except BodyError as error:
            return _refusal(dialect, RefusedError(400, "invalid_body", str(error)))
        except UnavailableError as error:
            _log.warning("%s", error)
            message = "the gateway's store does not answer: try again"
            return _refusal(dialect, RefusedError(503, "unavailable", message, "rolldock_error"))
        except ConnectionError:
            return web.Response(status=499)
        except Exception:  # the one capture point: a fault of ours must not look like a hang
            _log.exception("%s %s", request.method, request.path)
            message = "the gateway failed"
            return _refusal(dialect, RefusedError(500, "internal", message, "rolldock_error"))

    async def _route(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        if request.path == HEALTH_PATH:
            return _json(200, b'{"status":"ok"}')
        keys = (session_of(self._secret, token) for token in _tokens(request))
        attempt = next((found for found in keys if found is not None), None)
        if attempt is None:
            message = "the API key is no valid session token: it is missing, forged or expired"
            raise RefusedError(401, "invalid_api_key", message)
        is_models = request.path in _MODELS_PATHS
        is_known = request.path in BY_PATH or request.path in BY_COUNT_PATH
        if not (is_models or is_known):
            raise RefusedError(404, "unknown_path", f"no such path: {request.path[:200]}")
        if request.method != ("GET" if is_models else "POST"):
            message = f"{request.path} does not take {request.method}"
            raise RefusedError(405, "method_not_allowed", message)
        session = await self._sessions.get(attempt)
        dialect = await self._handled_as(dialect, session)
        if is_models:
            return _json(200, orjson.dumps(dialect.models(await self._model_of(session))))
        if request.path in BY_COUNT_PATH:
            body = await parse(await self._body(request))
            return _json(200, orjson.dumps(dialect.count(body)))
        return await self._complete(request, dialect, session)

    async def _handled_as(self, dialect: Dialect, session: LiveSession) -> Dialect:
        """The agent's format, passed through where the session may and the model server speaks it.

        Raises:
            UnavailableError: the store does not answer.
        """
        native = native_of(dialect)
        if session.player is not None:
            # As it was recorded, whatever the endpoint has become.
            was_native = native is not None and native.name in session.player.formats
            return native if native is not None and was_native else dialect
        if native is None or session.record.purpose is not Purpose.EVAL:
            return dialect
        try:
            endpoint = await self._endpoints.newest(session.record.endpoint)
        except UsageError:
            # There is none: the call says so, and records it.
            return dialect
        return native if native.format in endpoint.native else dialect

    async def _model_of(self, session: LiveSession) -> str:
        """The model as the agent may know it; a replay's is the recorded one."""
        if session.player is not None and session.player.model is not None:
            return session.player.model
        return (await self._endpoints.newest(session.record.endpoint)).model

    async def _complete(
        self, request: web.Request, dialect: Dialect, session: LiveSession
    ) -> web.StreamResponse:
        asked = await self._read(request, dialect)
        admission = await session.admit(dialect, asked, watch_writes(request))
        if asked.stream:
            hold = session.record.hold_seconds
            keep_alive = self._config.keep_alive_seconds
            delivery = StreamDelivery(request, admission.call, dialect, hold, keep_alive)
            delivered = await delivery.run()
        else:
            delivered = await deliver_whole(request, admission.call)
        if delivered.complete:
            session.mark_delivered(admission.slot)
        return delivered.response

    async def _read(self, request: web.Request, dialect: Dialect) -> AgentRequest:
        raw = await self._body(request)
        return dialect.parse(raw, await parse(raw), request.headers)

    async def _body(self, request: web.Request) -> bytes:
        limit = self._config.max_body_bytes
        if request.content.is_eof():
            # It came with its headers: there is nothing to wait for.
            return await _read_body(request, limit)
        try:
            async with asyncio.timeout(self._config.body_seconds):
                return await _read_body(request, limit)
        except TimeoutError:
            message = f"the body did not arrive within {self._config.body_seconds:g} s"
            raise RefusedError(408, "body_timeout", message) from None


async def _read_body(request: web.Request, limit: int) -> bytes:
    """Not `request.read()`, which keeps the body for as long as the request lives."""
    too_large = RefusedError(413, "body_too_large", f"the body exceeds {limit} bytes")
    if (request.content_length or 0) > limit:
        raise too_large
    if request.content.at_eof():
        # There is none, or a fault that came before us has read it.
        return await request.read()
    pieces: list[bytes] = []
    left = limit
    while piece := await request.content.readany():
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise too_large
    return b"".join(pieces)


def _tokens(request: web.Request) -> list[str]:
    """What may be the session's token: clients put an API key into either header, or both."""
    header = request.headers.get("Authorization", "")
    bearer = header[len(_BEARER) :].strip() if header[: len(_BEARER)].lower() == _BEARER else ""
    return [bearer, request.headers.get("x-api-key", "")]


def _refusal(dialect: Dialect, refused: RefusedError) -> web.Response:
    return _json(refused.status, dialect.refusal(refused))


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": JSON_TYPE})
