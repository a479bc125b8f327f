"""How the session log writes the records of slots: as their models would write themselves."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rolldock.gateway.session_log import SessionLog
from rolldock.models.base import Record
from rolldock.models.session import REPLY, EndReason, TurnClaim, TurnError, TurnReply
from rolldock.models.turn import Body, Encoding, Native, Tokens, TokenSource, Turn, Usage
from rolldock.store import keys
from rolldock.store.store import Store

ATTEMPT = "an-attempt"
NOW = datetime(2026, 11, 23, 22, 1, 2, 30, tzinfo=UTC)
WHOLE_SECOND = datetime(2026, 11, 23, 22, 1, 2, tzinfo=UTC)
DIGEST = "0123456789abcdef" * 4


def a_turn() -> Turn:
    """One with something in every kind of field."""
    body = Body(
        fields={
            "model": "m",
            "temperature": 1.0,
            "big": 2**53 + 1,
            "small": 1e-9,
            "messages": None,
        },
        encoding=Encoding.COMPACT_ASCII,
        digest=DIGEST,
        n_bytes=12,
    )
    return Turn(
        slot=3,
        dialect="anthropic.messages",
        messages=({"role": "user", "content": 'é "quoted" \U0001f600 \x7f \u2028 \n'}, [], 0.1),
        native=Native(key="messages", items=({"a": [True, None]},), blobs={"system": DIGEST}),
        request=body,
        sent=body,
        reply=body,
        message={"role": "assistant", "content": None},
        finish_reason="stop",
        usage=Usage(input_tokens=1),
        tokens=Tokens(
            source=TokenSource.ENGINE, prompt_ids=(1, 2), completion_ids=(3,), logprobs=(-0.0625,)
        ),
        sampling={"top_p": 1e22},
        endpoint="e",
        endpoint_version=1,
        started_at=WHOLE_SECOND,
        ended_at=NOW,
    )


def later(turn: Turn) -> TurnReply | TurnError:
    """The turn as a later version may have written it: with fields that are not known here."""
    fields = {**turn.model_dump(mode="json"), "added": {"later": [1]}}
    return REPLY.validate_python({"kind": "turn", "turn": fields, "beside": "it"})


@pytest.mark.parametrize(
    "reply",
    [
        TurnReply(turn=a_turn()),
        later(a_turn()),
        TurnError(slot=1, status=502, message="lost", body={"a": 1}, started_at=NOW, ended_at=NOW),
    ],
)
async def test_a_reply_is_written_as_its_model_writes_itself(
    tmp_path: Path, reply: TurnReply | TurnError
) -> None:
    """To the byte, unknown fields included; and it is read back as it was."""
    store = Store.open(str(tmp_path))
    log = SessionLog(store, ATTEMPT)
    await log.answer(0, reply)
    await same(store, keys.reply(ATTEMPT, 0), reply)
    assert await log.reply(0) == reply


async def test_a_claim_is_written_as_its_model_writes_itself(tmp_path: Path) -> None:
    """To the byte, END too."""
    store = Store.open(str(tmp_path))
    log = SessionLog(store, ATTEMPT)
    claim = TurnClaim(gateway="g", request_digest=DIGEST, claimed_at=NOW)
    await log.claim(0, claim)
    await same(store, keys.claim(ATTEMPT, 0), claim)
    await same(store, keys.claim(ATTEMPT, 1), await log.end(EndReason.STOPPED, by="stop_agent"))


async def same(store: Store, name: str, record: Record) -> None:
    """A record in the store is what its model would write."""
    assert await store.get(name) == record.model_dump_json().encode()
