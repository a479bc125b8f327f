"""From a session's records to what a page shows: branches, news, results beside their calls."""

from pathlib import Path

import pytest

from rolldock.models.base import JsonObject
from rolldock.store import keys
from rolldock.store.store import Store
from rolldock.view.branches import Tree
from rolldock.view.conversation import TurnShown, converse
from rolldock.view.library import Library, Recorded
from rolldock.view.messages import read_message
from rolldock.view.session import show_all, show_branch
from rolldock.view.tokens import tokens_of
from tests.view.records import Talk, assistant, call, result_of, sampled
from tests.view.shelf import Shelf

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def recorded(store: Store, talk: Talk) -> Recorded:
    """What the store has of a session."""
    found = await Library(store).recorded(talk.attempt)
    assert found is not None
    return found


async def test_the_conversation_is_the_newest_branch_that_is_not_auxiliary(shelf: Shelf) -> None:
    """Neither a title call nor an older fork hides it; a segment tells where its branches end."""
    turns = (await recorded(shelf.store, shelf.good)).trace.turns
    tree = Tree(turns)
    assert tree.leaves == [0, 5, 6]
    assert tree.main_end == 6
    assert Tree(turns, {5, 6}).main_end == 4
    assert Tree(turns, range(7)).main_end == 6
    assert tree.path(6) == [1, 2, 4, 6]
    assert tree.best_leaf(1) == 6
    outline = [(one.depth, one.slots, one.first, one.is_end) for one in tree.outline()]
    assert outline == [
        (0, (0,), 0, True),
        (0, (1, 2), 0, False),
        (1, (4, 6), 2, True),
        (1, (5,), 2, True),
    ]


async def test_a_result_stands_with_its_call(shelf: Shelf) -> None:
    """It is taken from the request after the call, and not shown there again."""
    found = await recorded(shelf.store, shelf.good)
    tree = Tree(found.trace.turns)
    shown = converse(found, tree, tree.path(6))
    results = [[each.result.text[:7] for each in turn.calls if each.result] for turn in shown]
    assert results == [["total 1"], ["edited", "3 passe"], [], []]
    assert [[said.role for said in turn.news] for turn in shown] == [
        ["system", "user"],
        [],
        [],
        ["user"],
    ]


async def test_every_branch_is_in_the_whole_once(shelf: Shelf) -> None:
    """An export shows each turn in one place; at a fork results are among the news."""
    found = await recorded(shelf.store, shelf.good)
    shown = await show_all(Library(shelf.store), found)
    turns = [one for branch in shown.branches for one in branch.entries]
    slots = [one.turn.slot if isinstance(one, TurnShown) else -1 for one in turns]
    assert slots == [0, 1, 2, 4, 6, 5, -1]
    forked = turns[3]
    assert isinstance(forked, TurnShown)
    assert [said.answers for said in forked.news] == ["call_2", "call_3"]


async def test_a_history_written_down_again_is_not_shown_again(tmp_path: Path) -> None:
    """An agent that writes its earlier messages in another form adds only what is new."""
    store = Store.open(str(tmp_path))
    talk = Talk(store, "a/b")
    await talk.open()
    await talk.say(None, [{"role": "user", "content": "go"}], assistant("yes"))
    again: list[JsonObject] = [
        {"role": "user", "content": [{"type": "text", "text": "go"}]},
        {"role": "assistant", "content": "yes "},
        {"role": "user", "content": "on"},
    ]
    await talk.say(None, again, assistant("done"))
    found = await recorded(store, talk)
    assert found.trace.turns[1].parent == 0
    assert found.trace.turns[1].n_shared == 0
    shown = converse(found, Tree(found.trace.turns), [0, 1])
    assert [said.text for said in shown[1].news] == ["on"]


async def test_a_live_session_is_read_from_its_log(shelf: Shelf) -> None:
    """Turns as far as they are answered, and the call that is not."""
    found = await recorded(shelf.store, shelf.live)
    assert not found.sealed
    assert [turn.slot for turn in found.trace.turns] == [0, 1]
    assert [one.slot for one in found.open_calls] == [2]
    assert found.trace.rollout == "grpo-7/13/fix-parser/0"


async def test_a_record_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    """A damaged reply and a damaged trace are named; the other turns are shown."""
    store = Store.open(str(tmp_path))
    talk = Talk(store, "a/b")
    await talk.open()
    await talk.say(None, [{"role": "user", "content": "go"}], assistant("yes"))
    broken = await talk.ask()
    await store.create(keys.reply(talk.attempt, broken), b'{"kind": "turn"}')
    await store.create(keys.trace(talk.attempt), b"{")
    found = await recorded(store, talk)
    assert [turn.slot for turn in found.trace.turns] == [0]
    assert len(found.unreadable) == 2
    assert found.unreadable[1].startswith("slot 1: ")


@pytest.mark.parametrize(
    "attempt",
    ["", "../x", "a/b", "%2e%2e", "a" * 65, "\x00", "00000000-0000-4000-8000-000000000000"],
)
async def test_what_is_no_attempt_has_no_session(shelf: Shelf, attempt: str) -> None:
    """No such name ever reaches the store's files."""
    assert await Library(shelf.store).recorded(attempt) is None


async def test_pages_of_a_long_branch_cut_no_result_off(tmp_path: Path) -> None:
    """The last turn of a page has the results that the first one of the next page brought."""
    store = Store.open(str(tmp_path))
    talk = Talk(store, "a/b")
    await talk.open()
    after: int | None = None
    news: list[JsonObject] = [{"role": "user", "content": "go"}]
    for number in range(60):
        id = f"call_{number}"
        after = await talk.say(after, news, assistant(None, call("bash", id, command="ls")))
        news = [result_of(id, f"result {number}")]
    await talk.seal()
    library, found = Library(store), await recorded(store, talk)
    pages = [await show_branch(library, found, None, page) for page in (1, 2, 99)]
    assert [(len(one.branches[0].entries), one.page, one.n_pages) for one in pages] == [
        (50, 1, 2),
        (10, 2, 2),
        (10, 2, 2),
    ]
    last = pages[0].branches[0].entries[-1]
    first = pages[1].branches[0].entries[0]
    assert isinstance(last, TurnShown)
    assert isinstance(first, TurnShown)
    assert last.calls[0].result is not None
    assert last.calls[0].result.text == "result 49"
    assert first.news == ()


async def test_odd_arguments_are_shown() -> None:
    """Numbers of any length as they were written; what nests without end, or is none, as text."""
    number = "123456789012345678901234"
    deep = '{"deep": ' + "[" * 300 + "]" * 300 + "}"
    for written, name, value in (
        (f'{{"n": {number}}}', "n", number),
        (deep, "", deep),
        ('{"n": NaN}', "", '{"n": NaN}'),
    ):
        function: JsonObject = {"name": "bash", "arguments": written}
        said = read_message(assistant(None, {"id": "a", "function": function}))
        (argument,) = said.calls[0].arguments
        assert (argument.name, argument.value) == (name, value)


async def test_tokens_have_their_texts_where_the_reply_gave_them(shelf: Shelf) -> None:
    """Ids and log-probs from the turn, texts from the reply that it was read from."""
    found = await recorded(shelf.store, shelf.good)
    tokens = tokens_of(found.trace.turns[1])
    assert [token.text for token in tokens] == [
        "I",
        " will",
        " read",
        " the",
        " parser",
        " first",
        ".",
    ]
    assert tokens[0].id == 100
    assert tokens[0].logprob == -0.07
    assert tokens[0].tenth == 9
    expected, _ = sampled("a")
    assert tokens_of(found.trace.turns[2]) == []
    assert len(expected.completion_ids) == 1
