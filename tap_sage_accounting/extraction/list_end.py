"""The end of a list that does not come to one: pages that bring nothing new, and more of them than there can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.exceptions import RetriesExhaustedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_sage_accounting.api.pages import Page

MAX_REPEATED_PAGES = 10
"""Pages in a row with the rows of earlier pages. One such page is common: as many rows as it holds came before it."""
MAX_GROWTH = 2
"""How many times as long as it was at first a list may get while it is read."""
SPARE_PAGES = 50
"""Pages more, for short lists. A reader passes over rows far faster than they can be entered or imported."""
FIRST_COUNT = 20
"""Pages of a list without a total after which its different rows are counted; after four times as many again."""
MAX_PAGES = 50_000
"""Pages of a list without a total: ten million rows."""


class ListEnd:
    """Watches the pages of one pass through a list for its end.

    Args:
        distinct: counts the different rows seen.
    """

    def __init__(self, distinct: Callable[[], int]) -> None:
        self._distinct = distinct
        self._pages = 0
        self._rows = 0
        self._first_total: int | None = None
        self._max_pages = MAX_PAGES
        self._count_at = FIRST_COUNT
        self._known: set[int] = set()
        self._repeated = 0

    def check(self, page: Page, hashes: bytes) -> None:
        """Look at a page whose rows were counted among the different ones.

        Args:
            page: the page.
            hashes: those of its rows, in their order.

        Raises:
            RetriesExhaustedError: the list has no end.
        """
        if not self._pages and page.total:
            self._first_total = page.total
            self._max_pages = MAX_GROWTH * page.last + SPARE_PAGES
        self._pages += 1
        self._rows += len(page.items)
        mark = hash(hashes)
        self._repeated = self._repeated + 1 if hashes and mark in self._known else 0
        self._known.add(mark)
        if self._repeated >= MAX_REPEATED_PAGES or self._holds_too_few():
            raise RetriesExhaustedError(
                f"Sage's pages bring nothing new: {self._rows} rows on {self._pages} pages are {self._distinct()} "
                "different ones, and there is no end. What was read was delivered; report it to Sage if it stays so."
            )
        if self._pages > self._max_pages:
            total = "no total" if self._first_total is None else f"{self._first_total} rows"
            raise RetriesExhaustedError(
                f"The list has no end: Sage gave {total} at its beginning, and {self._pages} pages with {self._rows} "
                "rows were not all. What was read was delivered; report it to Sage if it stays so."
            )

    def _holds_too_few(self) -> bool:
        """Return whether most rows of a list without a total came more than once."""
        if self._first_total is not None or self._pages < self._count_at:
            return False
        self._count_at *= 4
        return self._rows > 2 * self._distinct()
