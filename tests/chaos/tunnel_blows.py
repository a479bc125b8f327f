"""The tunnel dies, stalls or is deregistered while an agent works: it has called the model through
the tunnel, and calls it again once the tunnel is well."""

import asyncio
import os
import signal
import time
from enum import StrEnum
from typing import Final

from rolldock.models.failure import Cause
from rolldock.models.result import Stage
from rolldock.models.tunnel import PublishedTunnel
from rolldock.sandbox.client import Sandboxes
from tests.chaos.arena import ENDPOINT, Arena
from tests.chaos.play import reaching
from tests.chaos.tunnel import Tunnel
from tests.chaos.verdict import Expected, Outcome, judge
from tests.eventually import eventually
from tests.tunnel.keepers import CHECK_SECONDS
from tests.tunnel.waiting import LET_GO, LONG_WAIT, waiting

_PAUSE_SECONDS: Final = CHECK_SECONDS + 1.5
"""Longer than a loss may go unseen."""
_CALLS: Final = 2
"""Of an agent that is graded."""


class TunnelBlow(StrEnum):
    """What happens to the tunnel."""

    KILL = "kill-tunnel"
    """kill -9 of `rolldock tunnel`; frpc lives on, another keeper is started."""
    PAUSE = "pause-tunnel"
    """`rolldock tunnel` is stopped for long, then resumed."""
    KILL_FRPC = "kill-frpc"
    """kill -9 of frpc, which connects again only after the agent has failed of it."""
    DEREGISTER = "deregister-tunnel"
    """The registration is gone at the service; frpc lives on and notices nothing."""


_COSTLY: Final = (TunnelBlow.KILL_FRPC, TunnelBlow.DEREGISTER)
"""Blows that cost the attempt; of the others the agent need not know."""


async def strike_tunnel(arena: Arena, blow: TunnelBlow) -> Outcome:
    """One blow to the tunnel, and what came of it for a rollout and for the tunnel."""
    await arena.heal()
    tunnel = arena.tunnel
    assert tunnel is not None, "this arena has no tunnel"
    before, n_visits = await tunnel.up(), tunnel.service.visits.total()
    started_at = time.monotonic()
    spec = await arena.client.spec(LONG_WAIT, agent="bash", endpoint=ENDPOINT)
    await arena.client.start(spec)
    settings = arena.client.settings
    async with Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as sandboxes:
        async with reaching(arena, spec):
            first, sandbox = await waiting(arena.client, sandboxes, spec.id)
        async with reaching(arena, spec):
            if blow is TunnelBlow.KILL_FRPC:
                await _kill_frpc(arena, tunnel, sandboxes, spec.id, sandbox)
            else:
                await _strike(tunnel, blow, before)
            after = await tunnel.up()
        async with reaching(arena, spec):
            lost = first if blow in _COSTLY else ""
            last, _ = await waiting(arena.client, sandboxes, spec.id, lost, LET_GO)
    expected = Expected(lost_by=(str(Cause.TUNNEL_LOST),) if lost else ())
    outcome = await judge(arena, spec.id, expected, started_at)
    problems = [*outcome.problems, *_breaches(tunnel, blow, before, after)]
    if not lost and last != first:
        problems.append("the agent was gone when the tunnel was well again")
    if tunnel.service.visits.total() < n_visits + _CALLS:
        problems.append("the agent's calls did not go through the tunnel")
    return outcome.model_copy(update={"problems": tuple(problems)})


async def _strike(tunnel: Tunnel, blow: TunnelBlow, published: PublishedTunnel) -> None:
    if blow is TunnelBlow.KILL:
        await tunnel.keepers.end(tunnel.keeper, signal.SIGKILL)
    elif blow is TunnelBlow.PAUSE:
        tunnel.keeper.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            tunnel.keeper.send_signal(signal.SIGCONT)
    else:
        tunnel.service.deregister(_tunnel_id(published))
        await tunnel.keepers.gone(published.url)


async def _kill_frpc(
    arena: Arena, tunnel: Tunnel, sandboxes: Sandboxes, rollout: str, sandbox: str
) -> None:
    """Frpc dies while the agent makes no call, and is away when it makes the next one."""
    tunnel.service.turns_frpc_away = True
    try:
        os.kill(tunnel.keepers.frpc().pid, signal.SIGKILL)
        await sandboxes.run(sandbox, LET_GO, timeout_seconds=10, otherwise=Cause.INTERNAL)
        await eventually(
            lambda: any(
                report.failed and report.stage is Stage.AWAIT_AGENT
                for report in arena.holds.of(rollout)
            )
        )
    finally:
        tunnel.service.turns_frpc_away = False


def _breaches(
    tunnel: Tunnel, blow: TunnelBlow, before: PublishedTunnel, after: PublishedTunnel
) -> list[str]:
    """What does not hold of the tunnel."""
    breaches: list[str] = []
    if (after.url != before.url) is not (blow is TunnelBlow.DEREGISTER):
        breaches.append(f"the tunnel was at {before.url} and is at {after.url}")
    if tunnel.service.live() != [_tunnel_id(after)]:
        breaches.append(f"registered: {tunnel.service.live()}, published: {after.tunnel_id}")
    return breaches


def _tunnel_id(published: PublishedTunnel) -> str:
    assert published.tunnel_id is not None, "a published tunnel has a registration"
    return published.tunnel_id
