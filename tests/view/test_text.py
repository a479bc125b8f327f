"""Text of others as markup: escaped, what is hidden written out, long texts divided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolldock.view.text import excerpt, visible, written_out
from tests.view.hostile import ANSI, BIDI, HOSTILE_TEXT


def test_markup_is_shown_as_text() -> None:
    """No character that HTML would obey is left."""
    shown = str(visible("<script>\"&'</script>"))
    assert shown == "&lt;script&gt;&#34;&amp;&#39;&lt;/script&gt;"


def test_an_escape_sequence_is_written_out_as_one() -> None:
    """What a terminal would obey can be told from the text around it."""
    assert str(visible("\x1b[31mred")) == '<span class="hidden-character">\\x1b[31m</span>red'


@pytest.mark.parametrize("text", [ANSI, BIDI, "\x00\x7f\x9b", "\ud800", "a\rb"])
def test_nothing_stays_hidden(text: str) -> None:
    """Controls, directions, tags and lone surrogates come out as printable ASCII."""
    shown = written_out(text)
    assert all(character.isprintable() or character in "\n\t" for character in shown)
    assert shown.encode()


@given(st.text())
def test_markup_never_survives(text: str) -> None:
    """Whatever the text, only our own spans are markup."""
    shown = str(visible(text)).replace('<span class="hidden-character">', "").replace("</span>", "")
    assert not set(shown) & set("<>\"'")


@given(st.text(alphabet="ab\n", max_size=300), st.integers(1, 200))
def test_an_excerpt_loses_nothing_but_what_it_counts(text: str, limit: int) -> None:
    """The parts put together are the text's beginning, and the rest is counted."""
    cut = excerpt(text, limit)
    assert cut.head + cut.rest == text[:limit]
    assert (cut.n_rest, cut.n_cut) == (len(cut.rest), max(0, len(text) - limit))


def test_a_long_text_is_folded_at_a_line() -> None:
    """What is shown at once ends with a line; a short text is whole."""
    cut = excerpt("line\n" * 5000)
    assert cut.head.endswith("\n")
    assert len(cut.head) < 1000
    assert excerpt(HOSTILE_TEXT).rest == ""
