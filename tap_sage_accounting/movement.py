"""Lists move while they are read: rows come and go between two page requests, and others slip past unseen.

Sage has neither cursors nor snapshots. What it has is a total in every answer. If no row came or went, every page tells
the same total, and exactly that many different rows were seen: whatever changes places is seen twice or not at all, and
the count falls short. Only a row that comes while another goes leaves the count right. Then the one that came is among
those that were seen: had it come to where the read had already been, nothing would have slipped. So rows that bear a
time tell at no cost that none came, and the rest is looked for separately.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from tap_sage_accounting.paging import Page

MOST_SWEEPS = 6
"""How often a list that keeps moving is looked through before its read counts as failed."""
BUCKETS = 64


def identity(item: dict[str, Any]) -> str:
    """Tell a row from the others of its list: by its id, or by its path where rows have none (exchange rates)."""
    return str(item.get("id") or item.get("$path"))


class Watch:
    """What was seen in one pass through a list: 8 bytes a row.

    Attributes:
        started: when the first page was served, by Sage's clock; None before.
        pages: pages seen.
        total: rows in the list, as the last page told it; None where Sage does not tell.
    """

    def __init__(self) -> None:
        self.started: datetime | None = None
        self.pages = 0
        self.total: int | None = None
        self._steady = True
        self._seen = [array("q") for _ in range(BUCKETS)]
        self._tidy = True

    def note(self, page: Page) -> None:
        """Look at a page of the pass."""
        if self.pages and page.total != self.total:
            self._steady = False
        self.started = self.started or page.served_at
        self.total = page.total
        self.pages += 1
        self.add(page.items)

    def add(self, items: list[dict[str, Any]]) -> None:
        """Take rows for seen that were read besides the pages."""
        for item in items:
            mark = hash(identity(item))
            self._seen[mark % BUCKETS].append(mark)
        self._tidy = False

    def knows(self, item: dict[str, Any]) -> bool:
        """Tell whether a row was seen."""
        self._tidy_up()
        mark = hash(identity(item))
        bucket = self._seen[mark % BUCKETS]
        place = bisect_left(bucket, mark)
        return place < len(bucket) and bucket[place] == mark

    @property
    def distinct(self) -> int:
        """How many different rows were seen."""
        self._tidy_up()
        return sum(map(len, self._seen))

    @property
    def settled(self) -> bool:
        """Whether the pass saw as many different rows as the list had all along."""
        return self._steady and self.total in (None, self.distinct)

    def looks_like(self, other: Watch) -> bool:
        """Tell whether two passes saw the same rows under the same total: then the total counts rows never listed."""
        self._tidy_up()
        other._tidy_up()
        return self._steady and self.total == other.total and self._seen == other._seen

    def _tidy_up(self) -> None:
        """Sort the marks and drop repeated ones, bucket by bucket, so that no copy of them all is made."""
        if not self._tidy:
            for number, bucket in enumerate(self._seen):
                self._seen[number] = array("q", sorted(set(bucket)))
            self._tidy = True
