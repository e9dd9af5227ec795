"""Lists move while they are read: rows come and go between two page requests, and others slip past unseen.

Sage has neither cursors nor snapshots. What it has is a total in every answer. If no row came or went, every page tells
the same total, and exactly that many different rows were seen: whatever changes places is seen twice or not at all, and
the count falls short. Only a row that comes while another goes leaves the count right. Then the one that came is among
those that were seen: had it come to where the read had already been, nothing would have slipped. So rows that bear a
time tell at no cost that none came, and the rest is looked for separately.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.rows import Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tap_sage_accounting.paging import Page
    from tap_sage_accounting.rows import Item

MOST_SWEEPS = 6
"""How often a list that keeps moving is looked through before its read counts as failed."""
MARK = 5
"""Bytes that stand for a row; with the number of its bucket, two of a million rows are alike once in 10,000 lists."""
BUCKET = 256
"""Rows in a bucket, about: few enough to look through, enough to make the buckets themselves a small part."""
LEAST_BUCKETS = 64


def identity(item: Item) -> str:
    """Tell a row from the others of its list: by its id, or by its path where rows have none (exchange rates)."""
    if isinstance(item, Row):
        return str(item.id or item.path)
    return str(item.get("id") or item.get("$path"))


class Watch:
    """What was seen in one pass through a list: about 6 bytes a row.

    Attributes:
        started: when the first page was served, by Sage's clock; None before.
        pages: pages seen.
        total: rows in the list, as the last page told it; None where Sage does not tell.
        distinct: how many different rows were seen.
    """

    def __init__(self) -> None:
        self.started: datetime | None = None
        self.pages = 0
        self.total: int | None = None
        self.distinct = 0
        self._steady = True
        self._seen: list[bytearray] = []

    def note(self, page: Page) -> None:
        """Look at a page of the pass."""
        if self.pages and page.total != self.total:
            self._steady = False
        self.started = self.started or page.served_at
        self.total = page.total
        self.pages += 1
        self.add(page.items)

    def add(self, items: Sequence[Item]) -> None:
        """Take rows for seen that were read besides the pages."""
        if not self._seen:
            self._seen = [bytearray() for _ in range(max(LEAST_BUCKETS, (self.total or 0) // BUCKET))]
        for item in items:
            bucket, mark = self._place(item)
            if not _holds(bucket, mark):
                bucket += mark
                self.distinct += 1

    def knows(self, item: Item) -> bool:
        """Tell whether a row was seen."""
        return bool(self._seen) and _holds(*self._place(item))

    def _place(self, item: Item) -> tuple[bytearray, bytes]:
        rest, number = divmod(hash(identity(item)), len(self._seen))
        return self._seen[number], (rest & _MASK).to_bytes(MARK, "little")

    @property
    def settled(self) -> bool:
        """Whether the pass saw as many different rows as the list had all along."""
        return self._steady and self.total in (None, self.distinct)

    def looks_like(self, other: Watch) -> bool:
        """Tell whether two passes saw the same rows under the same total: then the total counts rows never listed."""
        return self._steady and self.total == other.total and self._marks() == other._marks()

    def _marks(self) -> list[set[bytes]]:
        return [{bytes(bucket[at : at + MARK]) for at in range(0, len(bucket), MARK)} for bucket in self._seen]


_MASK = (1 << 8 * MARK) - 1


def _holds(bucket: bytearray, mark: bytes) -> bool:
    at = bucket.find(mark)
    while at % MARK and at >= 0:  # found across two marks
        at = bucket.find(mark, at + 1)
    return at >= 0
