"""Text from outside, as it may appear on a terminal or in a log."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Escape what is no visible character: line breaks, control sequences, reversed writing, halves of pairs.

    `"Acme\nRun finished"` becomes `"Acme\\nRun finished"`.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
