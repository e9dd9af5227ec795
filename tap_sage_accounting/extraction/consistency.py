"""Lists move while they are read: rows come and go between two page requests, and others slip past unseen.

Sage has neither cursors nor snapshots. What it has is a total in every answer. If no row came or went, every page tells
the same total, and exactly that many different rows were seen: whatever changes places is seen twice or not at all, and
the count falls short. Only a row that comes while another goes leaves the count right. Then the one that came is among
those that were seen: had it come to where the read had already been, nothing would have slipped. So rows that bear a
time tell at no cost that none came, and the rest is looked for separately.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from tap_sage_accounting.extraction.list_end import ListEnd
from tap_sage_accounting.records.identity import identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from tap_sage_accounting.api.pages import Page
    from tap_sage_accounting.records.row_decoder import Item

MOST_SWEEPS = 6
"""How often a list that keeps moving is looked through before its read counts as failed."""
MARK = 6
"""Bytes that stand for a row; two of a million rows are alike once in 500 lists, which costs a second look."""
REST = MARK - 1
"""Bytes of a mark after its first one."""
MOST_FORESEEN = 10_000_000
"""Rows for which room is made on the word of a total."""
BUCKET = 256
"""Marks in a bucket, about: few enough to look through."""


class SeenRows:
    """What was seen in one pass through a list: 6 bytes a row.

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
        self._seen = 0
        self._firsts = bytearray()
        self._rests = bytearray()
        self._buckets: list[bytearray] = []
        self._end = ListEnd(lambda: self.distinct)

    def note(self, page: Page) -> None:
        """Look at a page of the pass.

        Raises:
            RetriesExhaustedError: the list has no end.
        """
        if not self.pages:
            self._make_room(min(page.total or 0, MOST_FORESEEN))
        elif page.total != self.total:
            self._steady = False
        self.started = self.started or page.served_at
        self.total = page.total
        self.pages += 1
        self._end.check(page, bytes(self.add(page.items)))

    def add(self, items: Sequence[Item]) -> bytearray:
        """Take rows for seen; return what stands for them."""
        firsts, rests = _marks_of(items)
        end = self._seen + len(items)
        self._firsts[self._seen : end] = firsts
        self._rests[REST * self._seen : REST * end] = rests
        self._seen = end
        if self._buckets:
            self._sort(firsts, rests)
        return rests

    @property
    def distinct(self) -> int:
        """How many different rows were seen."""
        return sum(map(len, self._parts()))

    @property
    def is_consistent(self) -> bool:
        """Whether the pass saw as many different rows as the list had all along."""
        return self._steady and self.total in (None, self.distinct)

    def looks_like(self, other: SeenRows) -> bool:
        """Tell whether two passes saw the same rows under the same total: then the total counts rows never listed."""
        if not self._steady or self.total != other.total or set(self._seen_firsts()) != set(other._seen_firsts()):
            return False
        return all(mine == theirs for mine, theirs in zip(self._parts(), other._parts(), strict=True))

    def unknown(self, items: Sequence[Item]) -> set[str]:
        """Name the rows that were not seen."""
        if not self._buckets:
            self._buckets = [bytearray() for _ in range(1 + self._seen // BUCKET)]
            self._sort(self._seen_firsts(), self._rests)
        marks = _whole(*_marks_of(items))
        return {
            identity(item) for item, mark in zip(items, marks, strict=True) if not _holds(self._bucket_of(mark), mark)
        }

    def _make_room(self, rows: int) -> None:
        """Take the memory for all marks at once: growing bit by bit would leave holes behind."""
        self._firsts = bytearray(rows)
        self._rests = bytearray(REST * rows)

    def _seen_firsts(self) -> memoryview:
        return memoryview(self._firsts)[: self._seen]

    def _parts(self) -> Iterator[set[bytes]]:
        """Yield the different marks, those with the same first byte together: a set takes ten times their bytes."""
        firsts, rests, seen = self._firsts, self._rests, self._seen
        for first in sorted(set(self._seen_firsts())):
            part = set()
            at = firsts.find(first)
            while at >= 0:
                part.add(bytes(rests[REST * at : REST * (at + 1)]))
                at = firsts.find(first, at + 1, seen)
            yield part

    def _sort(self, firsts: bytearray | memoryview, rests: bytearray) -> None:
        for mark in _whole(firsts, rests):
            self._bucket_of(mark).extend(mark)

    def _bucket_of(self, mark: bytes) -> bytearray:
        return self._buckets[int.from_bytes(mark, "little") % len(self._buckets)]


def _marks_of(items: Sequence[Item]) -> tuple[bytearray, bytearray]:
    """Cut the marks of rows out of their hashes, which have 8 bytes: the first bytes, and the rests."""
    hashes = bytearray(array("q", map(hash, map(identity, items))).tobytes())
    rests = bytearray(REST * len(items))
    for place in range(REST):
        rests[place::REST] = hashes[1 + place :: 8]
    return hashes[::8], rests


def _whole(firsts: bytearray | memoryview, rests: bytearray) -> Iterator[bytes]:
    return (bytes((first, *rests[REST * at : REST * (at + 1)])) for at, first in enumerate(firsts))


def _holds(bucket: bytearray, mark: bytes) -> bool:
    at = bucket.find(mark)
    while at % MARK and at >= 0:  # found across two marks
        at = bucket.find(mark, at + 1)
    return at >= 0
