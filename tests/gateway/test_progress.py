"""A session's progress: every reply is read once, also by whoever goes on with the looking."""

from datetime import UTC, datetime
from pathlib import Path

from rolldock.gateway.progress import Progress, SessionProgress
from rolldock.gateway.session_log import SessionLog
from rolldock.models.base import JsonObject
from rolldock.models.session import TurnClaim, TurnError, TurnReply
from rolldock.models.turn import Usage
from rolldock.store.backend import Backend
from rolldock.store.directory import Directory
from rolldock.store.store import Store
from tests.recording import NOW, make_turn

USAGE = Usage(input_tokens=100, output_tokens=7)


class Counting(Directory):
    """A directory that counts what is read of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: list[str] = []

    async def get(self, name: str) -> bytes | None:
        """As the directory's."""
        self.read.append(name)
        return await super().get(name)

    @property
    def n_replies(self) -> int:
        """Replies that were read so far."""
        return sum(name.endswith(".reply") for name in self.read)


def opened(backend: Backend) -> SessionLog:
    """The session's log as another process sees it."""
    return SessionLog(Store(backend, "here"), "attempt")


async def claim(log: SessionLog, slot: int) -> None:
    """Begin a call."""
    digest = "0" * 64
    assert await log.claim(
        slot, TurnClaim(gateway="g", request_digest=digest, claimed_at=datetime.now(UTC))
    )


async def answer(log: SessionLog, slot: int, *calls: JsonObject) -> None:
    """End a call with a turn."""
    message: JsonObject = {"role": "assistant", "content": "", "tool_calls": [*calls]}
    turn = make_turn(slot, None, message=message, usage=USAGE)
    await log.answer(slot, TurnReply(turn=turn))


def called(name: str, arguments: str) -> JsonObject:
    """A tool call."""
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}


async def test_every_reply_is_read_once(tmp_path: Path) -> None:
    """New turns are added up, open calls asked for again, and an idle session costs no read."""
    backend = Counting(tmp_path)
    writing, reading = opened(backend), opened(backend)
    progress = SessionProgress(reading)
    await reading.ended()
    assert await progress.look() == Progress()
    await claim(writing, 0)
    await answer(writing, 0, called("bash", '{"command": "ls"}'))
    await claim(writing, 1)
    await reading.ended()
    seen = await progress.look()
    assert (seen.turns, seen.unanswered, seen.slots) == (1, (1,), 2)
    assert seen.last_tool_call == 'bash {"command": "ls"}'
    await answer(writing, 1, called("edit", "x" * 500))
    seen = await progress.look()
    assert (seen.turns, seen.input_tokens, seen.output_tokens) == (2, 200, 14)
    assert seen.last_tool_call is not None
    assert len(seen.last_tool_call) < 150
    before = backend.n_replies
    assert before == 3
    assert [await progress.look() for _ in range(10)] == [seen] * 10
    assert backend.n_replies == before


async def test_the_next_one_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    """What a heartbeat carried is known: of a long session only what came after it is read."""
    backend = Counting(tmp_path)
    writing = opened(backend)
    for slot in range(40):
        await claim(writing, slot)
        if slot != 5:
            await answer(writing, slot)
    error = TurnError(slot=5, status=500, message="no", started_at=NOW, ended_at=NOW)
    first = opened(backend)
    await first.ended()
    progress = SessionProgress(first)
    await progress.look()
    carried = Progress.model_validate_json((await progress.look()).model_dump_json())
    assert (carried.turns, carried.unanswered, carried.slots) == (39, (5,), 40)
    await writing.answer(5, error)
    second = opened(backend)
    await second.ended()
    before = backend.n_replies
    seen = await SessionProgress(second, carried).look()
    assert (seen.turns, seen.errors, seen.unanswered, seen.slots) == (39, 1, (), 40)
    assert backend.n_replies == before + 1
