"""Text that is shown, never obeyed."""

import pytest

from rolldock.cli.text import plain


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b2J", "\\x9b2J"),
        ("over\rwrite", "over\\x0dwrite"),
        ("\u202eoops", "\\u202eoops"),
        ("tab\tand\nline\r\n", "tab\tand\nline\n"),
        ("grün [bold]x[/bold] 漢", "grün [bold]x[/bold] 漢"),
    ],
)
def test_control_characters_are_written_out(given: str, shown: str) -> None:
    """Terminal escapes become visible text; letters, markup and line ends stay as they are."""
    assert plain(given) == shown
