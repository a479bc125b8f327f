"""The report of where two requests differ: the first place that matters, readable at any length."""

from pydantic import JsonValue

from rolldock.gateway.replaying.difference import Difference, first_difference
from rolldock.models.base import JsonObject


def body(*messages: JsonValue, **fields: JsonValue) -> JsonObject:
    """A request with these messages."""
    return {"messages": [*messages], **fields}


def difference(recorded: JsonObject, asked: JsonObject) -> Difference:
    """The difference of two requests that differ."""
    found = first_difference(recorded, asked)
    assert found is not None
    return found


def test_what_is_volatile_is_no_difference() -> None:
    """Nor are the ids of tool calls, or who asks."""
    call: JsonObject = {"type": "tool_use", "id": "mine-1", "name": "ls", "input": {}}
    other: JsonObject = {**call, "id": "mine-2"}
    then = body({"content": [call]}, {"content": "on 2026-11-23"}, user="a", model="m")
    now = body({"content": [other]}, {"content": "on 2027-01-02"}, user="b", model="n")
    assert first_difference(then, now) is None


def test_a_difference_by_form_alone_is_found_last() -> None:
    """Where only places in the recording were unclear, what is volatile in place is shown."""
    found = difference(body({"content": "port 8001"}), body({"content": "port 8002"}))
    assert (found.field, found.recorded, found.asked) == (
        "messages[0].content",
        "port 8001",
        "port 8002",
    )


def test_tools_and_system_prompt_come_first() -> None:
    """A difference there explains the rest."""
    found = difference(body("a", system="one"), body("b", system="two"))
    assert (found.field, found.recorded, found.asked) == ("system", "one", "two")


def test_a_message_more_or_less() -> None:
    """What only one of them has is shown, and absent in the other."""
    more = difference(body("a"), body("a", {"role": "user"}))
    assert (more.field, more.recorded) == ("messages[1]", None)
    assert more.asked is not None
    assert "user" in more.asked
    less = difference(body("a", "b"), body("a"))
    assert (less.field, less.recorded, less.asked) == ("messages[1]", "b", None)


def test_long_texts_are_cut_around_the_difference() -> None:
    """Lines and pages of any length leave a report of a few thousand characters."""
    page = "\n".join(f"line number {n} of this page" for n in range(5000))
    line = "word " * 50_000
    for text in (page, line):
        middle = len(text) // 2
        found = difference(body(text), body(f"{text[:middle]}CHANGED{text[middle:]}"))
        assert found.asked is not None
        assert "CHANGED" in found.asked
        assert len(found.asked) < 500
        assert "CHANGED" in found.diff
        assert len(found.diff) <= 4000
