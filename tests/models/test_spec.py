"""Identities as they are checked: rollout ids and names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rolldock.models.spec import Name, RolloutId

ID: TypeAdapter[str] = TypeAdapter(RolloutId)
NAME: TypeAdapter[str] = TypeAdapter(Name)


@pytest.mark.parametrize(
    "value", ["a", "grpo-7/12/hello-world/0", "a@b", "A.b_c-d/..e", "...", "x" * 200]
)
def test_what_may_be_a_rollout_id(value: str) -> None:
    """Letters, digits, `._/@-`, up to 200, in parts that are not empty, `.` or `..`."""
    assert ID.validate_python(value) == value


@pytest.mark.parametrize(
    "value",
    ["", "/", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "a b", "a\n", "ä", "a%2F", "~a"],
)
def test_what_may_not_be_a_rollout_id(value: str) -> None:
    """Whatever would be another path, another id or no text is refused, and the value is named."""
    with pytest.raises(ValidationError, match="is not a rollout id") as refused:
        ID.validate_python(value)
    assert repr(value) in str(refused.value)


def test_an_id_of_201_characters_is_too_long() -> None:
    """The limit is exact."""
    with pytest.raises(ValidationError, match="1 to 200"):
        ID.validate_python("x" * 201)


@given(st.text(max_size=250))
def test_a_rollout_id_never_leaves_its_directory(value: str) -> None:
    """No accepted id has a part that a path would read as another place."""
    try:
        accepted = ID.validate_python(value)
    except ValidationError:
        return
    assert accepted.isascii()
    assert not set(accepted.split("/")) & {"", ".", ".."}


@pytest.mark.parametrize("value", ["Qwen/Qwen3-4B", "gpt-4o:mini", "a+b", "x" * 128])
def test_what_may_be_a_name(value: str) -> None:
    """Names of models at hubs are names."""
    assert NAME.validate_python(value) == value


@pytest.mark.parametrize("value", ["", "a b", "a~b", "x" * 129, "ä"])
def test_what_may_not_be_a_name(value: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValidationError, match="is not a name"):
        NAME.validate_python(value)
