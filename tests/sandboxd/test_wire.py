"""The hand-written protobuf against the SDK's generated one, and against noise."""

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st
from prime_sandboxes.rpc_command_session import (
    build_command_session_connect_request,
    build_command_session_send_input_request,
    build_command_session_send_signal_request,
    build_command_session_start_request,
)

from rolldock.sandboxd import wire

_TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=300)


@given(
    command=_TEXT,
    directory=st.none() | _TEXT,
    env=st.dictionaries(_TEXT, _TEXT, max_size=5),
    user=st.none() | st.just("ada"),
    stdin=st.booleans(),
)
def test_start_is_read_as_the_sdk_writes_it(
    command: str, directory: str | None, env: dict[str, str], user: str | None, stdin: bool
) -> None:
    """Every field of a start request survives."""
    message = build_command_session_start_request(
        command=command, working_dir=directory, env=env, user=user, stdin=stdin, session_uuid="u"
    )
    expected = wire.Command("/bin/bash", ("-c", command), env, directory, user)
    start = wire.read_start(message.SerializeToString())
    assert start == wire.StartRequest(expected, stdin, "u", wants_terminal=False)


@given(data=st.binary(max_size=300), signal=st.sampled_from(("terminate", "kill")))
def test_controls_are_read_as_the_sdk_writes_them(
    data: bytes, signal: Literal["terminate", "kill"]
) -> None:
    """Connect, input and signal requests survive."""
    selector = wire.Selector(session_uuid="s")
    connect = build_command_session_connect_request(session_uuid="s")
    assert wire.read_connect(connect.SerializeToString()) == selector
    sent = build_command_session_send_input_request(session_uuid="s", data=data, input_uuid="i")
    assert wire.read_input(sent.SerializeToString()) == wire.InputRequest(selector, data, "i")
    order = build_command_session_send_signal_request(
        session_uuid="s", signal=signal, signal_uuid="g"
    )
    number = wire.SIGTERM if signal == "terminate" else wire.SIGKILL
    assert wire.read_signal(order.SerializeToString()) == wire.SignalRequest(selector, number, "g")


@given(data=st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    """Bytes that are no message raise the one error for that, or are read as something."""
    for read in (wire.read_start, wire.read_connect, wire.read_input, wire.read_signal):
        try:
            read(data)
        except wire.MalformedMessageError:
            continue
