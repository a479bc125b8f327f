"""What may differ between two runs, and what may not: the declared patterns, and where they end."""

import time

import pytest

from rolldock.gateway.replaying.volatile import (
    BY_FORM,
    IGNORED_FIELDS,
    IN_PLACE,
    without_volatile,
)

PAIRS = [
    ("date", "on 2026-11-23", "on 2027-01-02"),
    ("date", "2026-11-23T19:13:30.123Z", "2026-11-24T01:02:03.9Z"),
    ("date", "Mon Nov 23 19:13:30 UTC 2026", "Tue Dec  1 09:00:00 UTC 2026"),
    ("date", "Today is Monday, November 23, 2026.", "Today is Tuesday, May 4, 2027."),
    ("date", "11/23/2026", "1/2/2027"),
    ("uuid", "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "6fa459ea-ee8a-3ca4-894e-db77e160355e"),
    ("hex id", "commit 3f2a1bc", "commit 9e8d7c6b5a"),
    ("hex id", "Chunk ID: d1790a", "Chunk ID: 123456"),
    ("call id", "toolu_01AbCdEfGh", "toolu_99ZyXwVuTs"),
    ("temporary path", "/tmp/tmpab12cd34/x", "/tmp/tmpzz98yy76/x"),
    ("temporary path", "/tmp/tmp.aBcD12eFgH", "/tmp/tmp.Zz98Yy76Xx"),
    ("address", "<object at 0x7f12ab34cd56>", "<object at 0x55d0aa00bb11>"),
    ("reasoning", "rolldock:1b4e28ba-2fa1:3", "rolldock:6fa459ea-ee8a:4"),
    ("token", "KEY=eyJhbGci.eyJzdWIi.c2ln-1", "KEY=eyJhbGci.eyJleHAi.c2ln-2"),
    ("time", "at 19:13", "at 7:05 PM"),
    ("time", "root 12 Nov 23 19:13 a.txt", "root 12 Dec  1 08:00 a.txt"),
    ("duration", "1 passed in 0.12s", "1 passed in 1.03s"),
    ("duration", "real 0m0.004s", "real 0m1.250s"),
    ("duration", "Wall time: 0.1 seconds", "Wall time: 2.5 seconds"),
    ("pid", "[1] 12345", "[1] 77"),
    ("pid", "pid 411 died", "pid 97 died"),
    ("port", "http://localhost:8123/", "http://localhost:40991/"),
    ("port", "listening on port 8000", "listening on port 9123"),
]


@pytest.mark.parametrize(("name", "then", "now"), PAIRS)
def test_a_declared_difference(name: str, then: str, now: str) -> None:
    """Both texts come out the same, under the pattern of that name."""
    assert without_volatile(then, in_place=True) == without_volatile(now, in_place=True)
    assert f"<{name}>" in without_volatile(now, in_place=True)
    by_form = {kind.name for kind in BY_FORM}
    same = without_volatile(then, in_place=False) == without_volatile(now, in_place=False)
    assert same is (name in by_form)


@pytest.mark.parametrize(
    "text",
    [
        "It is five past twelve and 31 seconds.",
        "12 files, 345 lines, 0 errors",
        "/tmp/notes.txt and /tmp/hello",
        "exit code 137",
        "the year 2026",
        "version 1.2.3",
        "a cafe and a facade",
        "chapter 3",
        "process the list of 12 items",
    ],
)
def test_what_is_kept(text: str) -> None:
    """Words and plain numbers mean something."""
    assert without_volatile(text, in_place=True) == text


def test_every_declaration_has_its_reason() -> None:
    """A pattern without a reason could not be judged by who adds the next one."""
    for kind in (*BY_FORM, *IN_PLACE):
        assert kind.reason
    assert all(IGNORED_FIELDS.values())
    assert len({kind.name for kind in (*BY_FORM, *IN_PLACE)}) == len((*BY_FORM, *IN_PLACE))


N_HOSTILE = 20_000

HOSTILE = [
    "-eyJ" * N_HOSTILE,
    "eyJa." * N_HOSTILE,
    "/tmp/-" + "1" * N_HOSTILE + "_",
    "a1" * N_HOSTILE + "_",
    *(f"{word}{' ' * N_HOSTILE}x" for word in ("took", "pid", "process id", "session id", "port")),
    "took_" + "1" * N_HOSTILE + "_",
    "[1]" + "\n" * N_HOSTILE,
    "Jan 1" + " " * N_HOSTILE,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:10].strip())
def test_no_text_holds_a_gateway_up(text: str) -> None:
    """What an agent says is searched in a time that grows with its length, and no faster."""
    began = time.process_time()
    without_volatile(text, in_place=True)
    assert time.process_time() - began < 1
