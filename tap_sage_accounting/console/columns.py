"""Texts in the columns of a terminal."""

from __future__ import annotations

import textwrap
from unicodedata import east_asian_width

WIDTH = 80
"""Columns of a terminal."""
FILLER = "\ue000"
"""Takes the second column of a wide character while lines are measured; no printable text has it."""


def wrapped(text: str, indent: str = "", *, first: str = "") -> list[str]:
    """Wrap a text; characters that a terminal shows in two columns count twice.

    Args:
        text: what to wrap, printable.
        indent: what the second and later lines begin with.
        first: what the first line begins with.
    """
    wide = "".join(each + FILLER if east_asian_width(each) in "WF" else each for each in text)
    width = WIDTH if wide == text else WIDTH - 1  # one may be cut from its filler
    lines = textwrap.wrap(wide, width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)
    return [line.replace(FILLER, "") for line in lines] or [""]
