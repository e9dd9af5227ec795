"""The report that the finance models print, as a test reads it."""

from __future__ import annotations

import re
from collections import defaultdict
from decimal import Decimal

LOADED = re.compile(r"""https?:|\bsrc=|url\(|@import|<(?:script|link|iframe|object|embed)\b|href="(?!\#)""")
"""What makes a page load something else, or run something."""


class Page:
    """A report.

    Args:
        text: its HTML.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def is_whole_and_needs_nothing_else(self) -> bool:
        """Whether it begins and ends as a page does, and loads and runs nothing."""
        whole = self.text.startswith("<!doctype html>") and self.text.rstrip().endswith("</html>")
        return whole and not LOADED.search(self.text)

    @property
    def undated(self) -> str:
        """All but the time when it was written."""
        return re.sub(r"Written [^.]+ UTC", "", self.text).strip()

    @property
    def figures(self) -> dict[str, dict[str, Decimal]]:
        """Its main figures, by business and name; of those that are shown twice, which must agree, one."""
        found: dict[str, dict[str, Decimal]] = defaultdict(dict)
        for part in re.split(r'<section class="business"', self.text)[1:]:
            [business] = re.findall(r'data-business="([^"]+)"', part)
            for name, amount in re.findall(r'data-figure="([^"]+)">([^<]+)<', part):
                figure = Decimal(amount.replace(",", ""))
                assert found[business].setdefault(name, figure) == figure, (business, name)
        return dict(found)
