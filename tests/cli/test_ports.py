"""Which ports a stack takes, with real sockets."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.ports import choose
from rolldock.errors import UsageError

ALL = tuple(Port)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def options(home: Path, ports: dict[Port, int] | None = None) -> StackOptions:
    return StackOptions(home=home, agent_cache=home, ports=ports or {}, auto_ports=True)


def test_a_port_in_use_is_named(tmp_path: Path, taken: int) -> None:
    """The message has the port, what it is for and the flag that mends it."""
    wanted = options(tmp_path, {Port.GATEWAY: taken})
    with pytest.raises(UsageError, match=rf"port {taken} .*the gateway.*--gateway-port"):
        choose(wanted, ALL, tmp_path / "ports.json")


def test_free_ports_are_kept_for_next_time(tmp_path: Path) -> None:
    """The same home gets the same ports again, each purpose its own."""
    kept = tmp_path / "ports.json"
    first = choose(options(tmp_path), ALL, kept)
    assert len(set(first.values())) == len(ALL)
    assert choose(options(tmp_path), ALL, kept) == first


def test_a_kept_port_that_was_taken_is_replaced(tmp_path: Path) -> None:
    """Only the port that somebody else has now changes."""
    kept = tmp_path / "ports.json"
    first = choose(options(tmp_path), ALL, kept)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", first[Port.SANDBOXD]))
        listener.listen()
        second = choose(options(tmp_path), ALL, kept)
    changed = {port for port in ALL if first[port] != second[port]}
    assert changed == {Port.SANDBOXD}


def test_only_what_is_wanted_is_chosen(tmp_path: Path) -> None:
    """Without scripts no port is taken for the scripted model server."""
    wanted = tuple(port for port in Port if port is not Port.SCRIPTED)
    assert set(choose(options(tmp_path), wanted, tmp_path / "ports.json")) == set(wanted)
