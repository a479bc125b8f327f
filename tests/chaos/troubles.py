"""Servers that misbehave: each trouble, where it is injected, and how the rollout has to end."""

import asyncio
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from pydantic import Field

from rolldock.faults.client import FaultClient
from rolldock.faults.model import Action, Answer, Cut, Delay, Drop, Fault, Harm, Late
from rolldock.models.base import Contract
from rolldock.models.failure import Cause
from rolldock.models.result import Stage
from tests.chaos.arena import LAG_SECONDS, Arena
from tests.chaos.cases import Moment
from tests.chaos.endings import cancelled
from tests.chaos.play import reach, reaching, spec_of
from tests.chaos.verdict import Expected, Outcome, judge
from tests.rollouts import alive


class Server(StrEnum):
    """Who misbehaves."""

    SANDBOXD = "sandboxd"
    GATEWAY = "gateway"
    MODEL = "model"


class Trouble(Contract):
    """What goes wrong while one rollout runs."""

    server: Server
    faults: tuple[Fault, ...] = ()
    harm: Harm | None = None
    """Done to its sandbox at `stage`, before the stage's work."""
    stage: Stage = Stage.CREATE_SANDBOX
    cancel: bool = False
    """It is cancelled as soon as the first fault has struck."""
    lag_seconds: float = Field(default=0)
    """How late the provider's list is."""
    expected: Expected = Expected()


async def suffer(arena: Arena, trouble: Trouble) -> Outcome:
    """One rollout under a trouble."""
    await arena.heal()
    started_at = time.monotonic()
    server = _client(arena, trouble.server)
    await arena.sandboxd.lag_listing(trouble.lag_seconds)
    spec = await spec_of(arena, trouble.stage)
    async with reaching(arena, spec):
        reached = await reach(arena, spec, trouble.stage, Moment.BEFORE)
        faults = [await server.add(fault) for fault in trouble.faults]
        if trouble.harm is not None:
            await arena.sandboxd.harm(await _sandbox(arena, spec.id), trouble.harm)
        reached.let_go()
        if trouble.cancel:
            await _struck(server, faults[0])
            await reached.handle.cancel()
    outcome = await judge(arena, spec.id, trouble.expected, started_at)
    unused = [fault for fault in faults if await server.hits(fault) == 0]
    spared = ("a fault was never met",) if unused else ()
    return outcome.model_copy(update={"problems": (*outcome.problems, *spared)})


def _client(arena: Arena, server: Server) -> FaultClient:
    match server:
        case Server.SANDBOXD:
            return arena.sandboxd
        case Server.GATEWAY:
            return arena.gateway
        case Server.MODEL:
            return arena.model


async def _sandbox(arena: Arena, rollout: str) -> str:
    [found] = await alive(arena.client, rollout)
    return found.id


async def _struck(server: FaultClient, fault: str) -> None:
    while await server.hits(fault) == 0:
        await asyncio.sleep(0.01)


def _lost(cause: Cause) -> Expected:
    """One attempt lost to a cause, the next one graded."""
    return Expected(lost_by=(str(cause),))


_CREATE: Final = ("POST", "/api/v1/sandbox")
_DELETE: Final = ("DELETE", "/api/v1/sandbox/[^/]+")
_EVERY: Final = (
    _CREATE,
    _DELETE,
    ("GET", "/api/v1/sandbox"),
    ("POST", "/api/v1/sandbox/background-jobs/status:batchGet"),
    ("POST", "/.*/upload"),
    ("GET", "/.*/download"),
    ("POST", "/.*/command_session.CommandSession/Start"),
)
"""Every request that a rollout makes of the sandbox API."""
_COMPLETION: Final = ("POST", "/v1/chat/completions")


def _once(action: Action, routes: Iterable[tuple[str, str]], times: int = 1) -> tuple[Fault, ...]:
    return tuple(
        Fault(method=method, path=path, action=action, times=times) for method, path in routes
    )


def _api(action: Action, *routes: tuple[str, str], times: int = 1) -> Trouble:
    return Trouble(server=Server.SANDBOXD, faults=_once(action, routes, times))


def _call(server: Server, action: Action, times: int = 1) -> Trouble:
    """The agent's second model call goes wrong: a turn is recorded already."""
    [fault] = _once(action, [_COMPLETION], times)
    return Trouble(server=server, faults=(fault.model_copy(update={"skip": 1}),))


TROUBLES: Final = {
    "sandboxd-429-retry-after": _api(Answer(status=429, retry_after_seconds=1), _CREATE),
    "sandboxd-503-once-each": _api(Answer(status=503), *_EVERY),
    "sandboxd-delay-each": _api(Delay(seconds=0.5), *_EVERY),
    "sandboxd-reply-lost-each": _api(Drop(when="after"), *_EVERY),
    "create-reply-lost": _api(Drop(when="after"), _CREATE),
    "create-late": _api(Late(seconds=1), _CREATE),
    "create-late-cancelled": Trouble(
        server=Server.SANDBOXD,
        faults=_once(Late(seconds=1), [_CREATE], times=9),
        cancel=True,
        expected=cancelled(Stage.CREATE_SANDBOX),
    ),
    "listing-lags": Trouble(server=Server.SANDBOXD, lag_seconds=LAG_SECONDS),
    "listing-lags-reply-lost-cancelled": Trouble(
        server=Server.SANDBOXD,
        faults=_once(Drop(when="after"), [_CREATE]),
        lag_seconds=LAG_SECONDS - 0.5,
        cancel=True,
        expected=cancelled(Stage.CREATE_SANDBOX),
    ),
    "listing-lags-create-late-cancelled": Trouble(
        server=Server.SANDBOXD,
        faults=_once(Late(seconds=1), [_CREATE], times=9),
        lag_seconds=LAG_SECONDS - 0.5,
        cancel=True,
        expected=cancelled(Stage.CREATE_SANDBOX),
    ),
    "sandbox-lost": Trouble(
        server=Server.SANDBOXD,
        harm="lose",
        stage=Stage.AWAIT_AGENT,
        expected=_lost(Cause.SANDBOX_LOST),
    ),
    "sandbox-out-of-memory": Trouble(
        server=Server.SANDBOXD,
        harm="oom",
        stage=Stage.AWAIT_AGENT,
        expected=_lost(Cause.SANDBOX_OOM),
    ),
    "sandbox-disk-full": Trouble(
        server=Server.SANDBOXD,
        harm="disk_full",
        stage=Stage.GRADE,
        expected=_lost(Cause.VERIFIER_FAILED),
    ),
    "deletes-refused": _api(Answer(status=503), _DELETE, times=4),
    "model-429": _call(Server.MODEL, Answer(status=429, retry_after_seconds=1), times=2),
    "model-500": _call(Server.MODEL, Answer(status=500), times=2),
    "model-cut": _call(Server.MODEL, Cut(n_bytes=20)),
    "model-delay": _call(Server.MODEL, Delay(seconds=1.5)),
    "gateway-refuses": _call(Server.GATEWAY, Answer(status=503), times=2),
    "gateway-reply-lost": _call(Server.GATEWAY, Drop(when="after")),
    "gateway-cut": _call(Server.GATEWAY, Cut(n_bytes=20)),
    "gateway-delay": _call(Server.GATEWAY, Delay(seconds=1.5, when="after")),
}
"""Name -> trouble."""
