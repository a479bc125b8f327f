"""Whose a sandbox is, written and read back."""

from hypothesis import given
from hypothesis import strategies as st

from rolldock.sandbox.labels import Ownership, read_labels, write_labels

part = st.none() | st.text(min_size=1)


@given(part, part, part, part)
def test_an_owner_survives_its_labels(
    deployment: str | None, rollout: str | None, run: str | None, attempt: str | None
) -> None:
    """Any values, and any of them absent; each label names its part."""
    owner = Ownership(deployment=deployment, rollout=rollout, run=run, attempt=attempt)
    assert read_labels(write_labels(owner)) == owner


def test_labels_of_others_are_ignored() -> None:
    """A team's own labels, also ones that look like ours."""
    owner = Ownership(deployment="d", attempt="a")
    labels = ["team:x", "rolldock", "rolldock-other:1", *write_labels(owner), ""]
    assert read_labels(labels) == owner


def test_labels_have_a_fixed_form() -> None:
    """They are at the provider: another form would orphan what runs there."""
    owner = Ownership(deployment="d", rollout="e/1", run="r", attempt="a")
    assert write_labels(owner) == [
        "rolldock-deployment:d",
        "rolldock-rollout:e/1",
        "rolldock-run:r",
        "rolldock-attempt:a",
    ]
