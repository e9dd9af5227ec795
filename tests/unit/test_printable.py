from __future__ import annotations

import pytest

from tap_sage_accounting.printable import printable


@pytest.mark.parametrize("text", ["Harbour Café", "株式会社", "C:\\books", "1 € = 0,85 £", ""])
def test_visible_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Acme\nRun finished", "Acme\\nRun finished"),
        ("Acme\r\t", "Acme\\r\\t"),
        ("\x1b]0;a title\x07", "\\x1b]0;a title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("new\u2028line, \u202ereversed", "new\\u2028line, \\u202ereversed"),
        ("half a pair \ud83d", "half a pair \\ud83d"),
        ("\x00\x7f", "\\x00\\x7f"),
    ],
)
def test_what_would_move_a_terminal_or_forge_a_line_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
