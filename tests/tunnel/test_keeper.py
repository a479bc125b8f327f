"""`rolldock tunnel` as a user runs it: what dies, what lives on, what is published."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.tunnel.conftest import ask
from tests.tunnel.keepers import CHECK_SECONDS, Keepers
from tests.tunnel.service import TunnelService


async def test_a_request_reaches_the_server(keepers: Keepers, server: int) -> None:
    """A large body goes through the published URL and back, twenty at once too; no file of the
    state directory is anybody else's to read."""
    await keepers.up(server)
    url = await keepers.url()
    body = os.urandom(1_000_000)
    assert await ask(url, body) == (200, b"got " + body)
    answers = await asyncio.gather(*(ask(url, b"%d" % n) for n in range(20)))
    assert answers == [(200, b"got %d" % n) for n in range(20)]
    state = keepers.home / "tunnel"
    assert state.stat().st_mode & 0o777 == 0o700
    files = sorted(path.name for path in state.iterdir())
    assert files == ["frpc.json", "frpc.log", "frpc.toml", "keeper", "lock", "registration.json"]
    assert {(state / name).stat().st_mode & 0o777 for name in files} == {0o600}


async def test_kill_9_of_the_keeper_leaves_the_tunnel_up(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """The URL works without a keeper, and the next one keeps the same frpc on, unpublished anew."""
    first = await keepers.up(server)
    before, frpc = await keepers.published(), keepers.frpc()
    await keepers.end(first, signal.SIGKILL)
    assert await ask(await keepers.url(), b"alone") == (200, b"got alone")
    await keepers.up(server)
    assert keepers.frpc() == frpc
    assert keepers.is_alive(frpc)
    assert await keepers.published() == before
    assert await ask(await keepers.url(), b"again") == (200, b"got again")
    assert len(service.logins) == 1


@pytest.mark.slow
async def test_an_frpc_that_was_not_written_down_is_found(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """A keeper that died between start and record leaves an frpc that the next one keeps on."""
    first = await keepers.up(server)
    frpc = keepers.frpc()
    await keepers.end(first, signal.SIGKILL)
    (keepers.home / "tunnel" / "frpc.json").unlink()
    await keepers.up(server)
    assert keepers.frpc() == frpc
    assert len(service.logins) == 1


@pytest.mark.slow
async def test_the_tunnel_is_adopted_while_the_api_is_down(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """A keeper that starts during an outage of the API keeps on what works, and says so once."""
    first = await keepers.up(server)
    url = await keepers.url()
    await keepers.end(first, signal.SIGKILL)
    service.refusal = (503, "maintenance")
    await keepers.up(server)
    await eventually(lambda: "maintenance" in keepers.said())
    assert await ask(url) == (200, b"got ")
    service.refusal = None
    await eventually(lambda: "all is well again" in keepers.said())
    assert await keepers.url() == url
    assert keepers.said().count("maintenance") == 1


async def test_kill_9_of_frpc_starts_it_again(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """Another process serves the same registration, so the URL stays; the gap is published."""
    await keepers.up(server)
    before, frpc = await keepers.published(), keepers.frpc()
    service.turns_frpc_away = True
    os.kill(frpc.pid, signal.SIGKILL)
    assert before is not None
    await keepers.interrupted(before.url)
    assert (await ask(before.url))[0] == 404
    service.turns_frpc_away = False
    await keepers.connected(before.url)
    assert keepers.frpc() != frpc
    assert len(set(service.logins)) == 1
    assert await ask(before.url, b"back") == (200, b"got back")
    after = await keepers.published()
    assert after is not None
    assert after.version == before.version + 2


async def test_an_frpc_that_was_cut_off_is_no_secret(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """It connects again by itself; that calls were lost meanwhile is published afterwards."""
    await keepers.up(server)
    before, frpc = await keepers.published(), keepers.frpc()
    assert before is not None
    assert before.tunnel_id is not None
    service.controls[before.tunnel_id].close()

    async def again() -> bool:
        after = await keepers.published()
        return after is not None and after.version == before.version + 2

    await eventually(again)
    await keepers.connected(before.url)
    assert keepers.frpc() == frpc
    assert len(service.logins) == 2


@pytest.mark.slow
async def test_both_killed_come_back_at_the_same_url(keepers: Keepers, server: int) -> None:
    """A machine that was started anew has neither process, and gets its URL again."""
    first = await keepers.up(server)
    before, frpc = await keepers.published(), keepers.frpc()
    await keepers.end(first, signal.SIGKILL)
    os.kill(frpc.pid, signal.SIGKILL)
    await keepers.up(server)
    assert before is not None
    assert await keepers.url() == before.url
    await keepers.connected(before.url)
    assert await ask(before.url) == (200, b"got ")


async def test_a_deregistered_tunnel_gets_a_new_url(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """While frpc notices nothing, the loss and then another URL are published in time."""
    await keepers.up(server)
    before, frpc = await keepers.published(), keepers.frpc()
    assert before is not None
    assert before.tunnel_id is not None
    service.deregister(before.tunnel_id)
    lost_at = time.monotonic()
    assert keepers.is_alive(frpc)
    assert (await ask(before.url))[0] == 404

    async def renewed() -> bool:
        return await keepers.url() not in {before.url, None}

    await eventually(renewed)
    assert time.monotonic() - lost_at < CHECK_SECONDS + 1
    after = await keepers.published()
    assert after is not None
    assert after.version == before.version + 2, "the loss itself was published too"
    assert await ask(after.url, b"new") == (200, b"got new")
    assert not keepers.is_alive(frpc)
    assert service.live() == [after.tunnel_id]
    assert f"tunnel {before.url} is lost" in keepers.said()


@pytest.mark.slow
async def test_a_tunnel_lost_between_two_keepers_is_published_as_lost(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """The next keeper does not trust what the last one wrote."""
    first = await keepers.up(server)
    before, frpc = await keepers.published(), keepers.frpc()
    assert before is not None
    assert before.tunnel_id is not None
    await keepers.end(first, signal.SIGKILL)
    os.kill(frpc.pid, signal.SIGKILL)
    service.deregister(before.tunnel_id)
    await keepers.up(server)
    after = await keepers.published()
    assert after is not None
    # The interruption, the loss, the new one.
    assert (after.version, after.url != before.url) == (before.version + 3, True)
    assert await ask(after.url) == (200, b"got ")


@pytest.mark.slow
async def test_while_no_tunnel_can_be_had_none_is_published(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """A loss is known at once, although the new registration is refused for a while."""
    await keepers.up(server)
    published = await keepers.published()
    assert published is not None
    assert published.tunnel_id is not None
    service.deregister(published.tunnel_id)
    service.controls[published.tunnel_id].close()  # frpc logs in again and is refused

    async def lost() -> bool:
        service.refusal = (400, "Maximum number of tunnels (1) reached")
        return await keepers.url() is None

    await eventually(lost)
    await eventually(lambda: "Maximum number" in keepers.said())
    service.refusal = None

    async def renewed() -> bool:
        return await keepers.url() is not None

    await eventually(renewed)
    assert await ask(await keepers.url()) == (200, b"got ")


async def test_ctrl_c_ends_and_deregisters(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """frpc is gone, the account has no tunnel, workers read that there is none; SIGTERM as well."""
    for number in (signal.SIGINT, signal.SIGTERM):
        keeper = await keepers.up(server)
        frpc = keepers.frpc()
        assert await keepers.end(keeper, number) == 0
        assert not keepers.is_alive(frpc)
        assert service.live() == []
        assert await keepers.url() is None
        left = {path.name for path in (keepers.home / "tunnel").iterdir()}
        assert left == {"frpc.log", "keeper", "lock"}


@pytest.mark.slow
async def test_a_second_keeper_is_refused(keepers: Keepers, server: int) -> None:
    """One home has one tunnel."""
    await keepers.up(server)
    second = keepers.start(server)
    await eventually(lambda: second.poll() is not None)
    assert second.returncode == 2
    assert "is kept in" in keepers.said().splitlines()[-1]


@pytest.mark.slow
async def test_a_registration_that_nobody_wrote_down_is_ended(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """A keeper that lost everything but its name leaves no tunnel behind at the account."""
    first = await keepers.up(server)
    frpc = keepers.frpc()
    await keepers.end(first, signal.SIGKILL)
    os.kill(frpc.pid, signal.SIGKILL)
    (keepers.home / "tunnel" / "registration.json").unlink()
    await keepers.up(server)
    published = await keepers.published()
    assert published is not None
    assert service.live() == [published.tunnel_id]


@pytest.mark.slow
async def test_the_gateway_moved(keepers: Keepers, server: int, service: TunnelService) -> None:
    """A keeper that is told another port keeps the URL and starts frpc for the new one."""
    first = await keepers.up(1)
    url = await keepers.url()
    await keepers.end(first, signal.SIGKILL)
    await keepers.up(server)
    assert await keepers.url() == url
    assert await ask(url, b"moved") == (200, b"got moved")
    assert len(service.logins) == 2


@pytest.mark.slow
async def test_a_long_log_is_emptied(keepers: Keepers, server: int) -> None:
    """frpc's log does not fill the disk, and the tunnel goes on."""
    await keepers.up(server)
    log: Path = keepers.home / "tunnel" / "frpc.log"
    with log.open("ab") as file:
        file.write(b"a line of no meaning\n" * 250_000)
    await eventually(lambda: log.stat().st_size < 1_000_000)
    assert await ask(await keepers.url()) == (200, b"got ")


@pytest.mark.slow
async def test_of_two_homes_the_later_has_the_word(
    keepers: Keepers, server: int, service: TunnelService, tmp_path: Path
) -> None:
    """The first says so and publishes again once the second has ended."""
    await keepers.up(server)
    first_url = await keepers.url()
    elsewhere = tmp_path / "elsewhere"
    variables = keepers.variables | {"ROLLDOCK_HOME": str(elsewhere)}
    rivals = Keepers(elsewhere, keepers.store, variables, tmp_path / "rival.log")
    rival = await rivals.up(server)
    try:
        assert await keepers.url() != first_url
        await eventually(lambda: "end one of both" in keepers.said())
        assert await rivals.end(rival, signal.SIGINT) == 0
    finally:
        rival.kill()

    async def first_again() -> bool:
        return await keepers.url() == first_url

    await eventually(first_again)
    assert await ask(first_url) == (200, b"got ")
