"""Text in messages: text from outside made safe for a terminal or a log, and what a person probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def printable(text: str) -> str:
    r"""Escape what is no visible character: line breaks, control sequences, reversed writing, halves of pairs.

    `"Acme\nRun finished"` becomes `"Acme\\nRun finished"`.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = ".") -> str:
    """Return the end of a sentence, with the name that was probably meant, if any is close."""
    import difflib  # noqa: PLC0415 - few runs have a wrong name

    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else otherwise
