"""Lists move while they are read: rows come and go between two page requests, and others slip past unseen.

Sage has neither cursors nor snapshots, only a total in every response. If no row came or went, every page has the same
total, and exactly that many different rows were seen. A row that changes places is seen twice or not at all, and the
count falls short. Only a row that comes while another goes leaves the count right. If the read missed a row then, it
saw the one that came. A row that comes in a place already read moves none past the read. So rows with a time, as most
have (records.times), show without a request that none came. Other rows are looked for separately.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from tap_sage_accounting.exceptions import RetriesExhaustedError
from tap_sage_accounting.records.row_decoder import identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tap_sage_accounting.api.pages import Page
    from tap_sage_accounting.records.row_decoder import Item

MAX_SWEEPS = 6
"""How often a list that keeps moving is looked through before its read counts as failed."""
BUCKETS = 1 << 11
"""Arrays of hashes: few enough to cost little, many enough that each stays short."""
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


class SeenRows:
    """What was seen in one pass through a list: a hash of 8 bytes for each row.

    Attributes:
        started: when the first page was served, by Sage's clock; None before.
        pages: pages seen.
        total: rows in the list, as the last page has it; None where Sage does not say.
    """

    def __init__(self) -> None:
        self.started: datetime | None = None
        self.pages = 0
        self.total: int | None = None
        self._is_steady = True
        self._hashes: defaultdict[int, array[int]] = defaultdict(partial(array, "q"))
        self._end = ListEnd()

    def add_page(self, page: Page) -> None:
        """Look at a page of the pass.

        Raises:
            RetriesExhaustedError: the list has no end.
        """
        self._is_steady = self._is_steady and (not self.pages or page.total == self.total)
        self.started = self.started or page.served_at
        self.total = page.total
        self.pages += 1
        self._end.check(self, page, self.add(page.items))

    def add(self, items: Sequence[Item]) -> bytes:
        """Count rows as seen; return their hashes."""
        hashes = _hashes_of(items)
        for value in hashes:
            self._hashes[value % BUCKETS].append(value)
        return hashes.tobytes()

    @property
    def distinct(self) -> int:
        """How many different rows were seen."""
        return sum(map(len, map(set, self._hashes.values())))

    @property
    def is_consistent(self) -> bool:
        """Whether the pass saw as many different rows as the list had all along."""
        return self._is_steady and self.total in (None, self.distinct)

    def looks_like(self, other: SeenRows) -> bool:
        """Return whether two passes saw the same rows under the same total: then it counts rows never listed."""
        if not self._is_steady or self.total != other.total or self._hashes.keys() != other._hashes.keys():
            return False
        return all(set(bucket) == set(other._hashes[number]) for number, bucket in self._hashes.items())

    def unknown(self, items: Sequence[Item]) -> set[str]:
        """Return the identities of the rows that were not seen."""
        found = zip(items, _hashes_of(items), strict=True)
        return {identity(item) for item, value in found if value not in self._hashes.get(value % BUCKETS, ())}


def _hashes_of(items: Sequence[Item]) -> array[int]:
    return array("q", map(hash, map(identity, items)))


class ListEnd:
    """Watches the pages of one pass through a list for its end."""

    def __init__(self) -> None:
        self._rows = 0
        self._first_total: int | None = None
        self._max_pages = MAX_PAGES
        self._count_at = FIRST_COUNT
        self._known: set[int] = set()
        self._repeated = 0

    def check(self, seen: SeenRows, page: Page, hashes: bytes) -> None:
        """Look at the last page that was seen; `hashes` are those of its rows, in their order.

        Raises:
            RetriesExhaustedError: the list has no end.
        """
        if seen.pages == 1 and page.total:
            self._first_total = page.total
            self._max_pages = MAX_GROWTH * page.last + SPARE_PAGES
        self._rows += len(page.items)
        mark = hash(hashes)
        self._repeated = self._repeated + 1 if hashes and mark in self._known else 0
        self._known.add(mark)
        if self._repeated >= MAX_REPEATED_PAGES or self._holds_too_few(seen):
            raise RetriesExhaustedError(
                f"Sage's pages bring nothing new: {self._rows} rows on {seen.pages} pages are {seen.distinct} "
                "different ones, and there is no end. What was read was delivered; report it to Sage if it stays so."
            )
        if seen.pages > self._max_pages:
            total = "no total" if self._first_total is None else f"{self._first_total} rows"
            raise RetriesExhaustedError(
                f"The list has no end: Sage gave {total} at its beginning, and {seen.pages} pages with {self._rows} "
                "rows were not all. What was read was delivered; report it to Sage if it stays so."
            )

    def _holds_too_few(self, seen: SeenRows) -> bool:
        """Return whether most rows of a list without a total came more than once."""
        if self._first_total is not None or seen.pages < self._count_at:
            return False
        self._count_at *= 4
        return self._rows > 2 * seen.distinct
