"""Records are read tolerantly, contracts strictly, times with their zone."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from rolldock.models.result import Artifact, IndexEntry, Status, StopReason
from rolldock.models.session import CLAIM, REPLY, EndClaim, Session, TurnClaim, TurnError
from rolldock.models.spec import AgentRef, RolloutSpec, TaskRef
from rolldock.models.stages import Pace

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DIGEST = "0" * 64


def test_a_record_keeps_what_it_does_not_know() -> None:
    """Fields of a later version survive reading and writing."""
    written = Artifact(name="a", digest=DIGEST, n_bytes=1).model_dump() | {"kind": "log"}
    assert Artifact.model_validate(written).model_dump() == written


def test_a_contract_refuses_what_it_does_not_know() -> None:
    """A typing error in an input is an error."""
    with pytest.raises(ValidationError, match="heartbeat"):
        Pace.model_validate({"heartbeat": 3})


def test_records_are_frozen() -> None:
    """What was read cannot be changed by accident."""
    artifact = Artifact(name="a", digest=DIGEST, n_bytes=1)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(artifact, "name", "b")  # noqa: B010  # the type checker refuses the plain form


def test_a_time_without_a_zone_is_refused() -> None:
    """All times are UTC, and say so."""
    with pytest.raises(ValidationError, match="needs a time zone"):
        EndClaim.model_validate(
            {"reason": "stopped", "by": "x", "claimed_at": datetime(2026, 1, 2)}
        )


def test_a_claim_is_told_by_its_kind() -> None:
    """A turn's claim and END share a name in the store, and are told apart when read."""
    turn = TurnClaim(gateway="g", request_digest=DIGEST, claimed_at=NOW)
    end = EndClaim.model_validate({"reason": "stopped", "by": "stop_agent", "claimed_at": NOW})
    assert CLAIM.validate_json(turn.model_dump_json()) == turn
    assert CLAIM.validate_json(end.model_dump_json()) == end


def test_a_recorded_error_is_told_from_a_turn() -> None:
    """Reading a reply gives back the error that was written."""
    error = TurnError(slot=3, status=502, message="no", started_at=NOW, ended_at=NOW)
    assert REPLY.validate_json(error.model_dump_json()) == error


def test_a_session_record_keeps_later_fields() -> None:
    """The gateway may be older than the worker that opened the session."""
    session = Session(
        attempt="a", rollout="r", endpoint="e", expires_at=NOW, created_at=NOW
    ).model_dump(mode="json")
    assert Session.model_validate(session | {"budget": 1}).model_dump()["budget"] == 1


def test_an_index_entry_survives_its_json() -> None:
    """Lists show what the result said."""
    entry = IndexEntry(
        rollout="a/b",
        experiment="e",
        task="t",
        agent="nop",
        status=Status.FAILED,
        stop_reason=StopReason.INFRASTRUCTURE,
        ended_at=NOW,
    )
    assert IndexEntry.model_validate_json(entry.model_dump_json()) == entry


def test_a_spec_survives_its_json() -> None:
    """What goes into history comes out of it."""
    spec = RolloutSpec(
        id="a", task=TaskRef(name="t", digest=DIGEST), agent=AgentRef(name="nop"), group="g"
    )
    assert RolloutSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("attempts", [0, 11])
def test_a_spec_bounds_its_attempts(attempts: int) -> None:
    """At least one attempt, at most ten."""
    with pytest.raises(ValidationError, match="attempts"):
        RolloutSpec(
            id="a",
            task=TaskRef(name="t", digest=DIGEST),
            agent=AgentRef(name="nop"),
            attempts=attempts,
        )
