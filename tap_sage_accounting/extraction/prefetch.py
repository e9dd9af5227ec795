"""Pages of one list, requested ahead of their use."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self
from weakref import ref

from tap_sage_accounting.exceptions import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future

    from tap_sage_accounting.api.pages import Page

BYTES_AHEAD = 22 << 20
"""Bytes of pages that a run holds ahead of their use, for all lists: fifteen pages of invoices, or 130 of entries.

With 16 MiB, lists of five pages waited for their turn with 32 requests in flight, and took twice as long. With 32 MiB,
a run took 122 MB of memory before a target that reads slowly.
"""
OWN_BYTES = 16 << 20
"""Bytes of pages that the list which is being read may hold in addition."""

KEPT = 0.9
"""The part of an expected size that is kept after a smaller page: lists of all sizes follow one another."""


class PagesAhead(NamedTuple):
    """How many pages of a list may be requested ahead of their use.

    Attributes:
        least: fewer only where pages are large.
        most: as many as there is room for.
    """

    least: int
    most: int


class PageBudget:
    """The memory for pages ahead of their use, which all lists of a run share; safe to use from any thread.

    Attributes:
        first_page: bytes that the first page of a list is expected to have; 0 before any came.
    """

    def __init__(self, size: int = BYTES_AHEAD) -> None:
        self.first_page = 0
        self._left = size
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], bool]] = deque()

    def expect(self, size: int) -> None:
        """Expect first pages as large as one that came; smaller ones bring that down bit by bit."""
        self.first_page = max(size, int(KEPT * self.first_page))

    @property
    def has_room(self) -> bool:
        """Whether more lists may be started: there is room, and no list waits for it."""
        return self._left > 0 and not self._waiting

    def wait(self, request_more: Callable[[], bool]) -> None:
        """Let a list wait for room; it is called when there is some, and returns whether that was enough."""
        self._waiting.append(request_more)

    def serve(self) -> None:
        """Let lists that wait for room request more pages, in the order in which they began to wait."""
        while self._waiting and self._left > 0 and self._waiting[0]():
            self._waiting.popleft()

    def take(self, size: int) -> None:
        """Take room for a page, whether there is any or not."""
        with self._lock:
            self._left -= size

    def reserve(self, size: int) -> bool:
        """Reserve room for a page of a size, in bytes; return whether there was."""
        with self._lock:
            is_room = size <= self._left
            self._left -= size if is_room else 0
        return is_room

    def release(self, size: int) -> None:
        """Give room back."""
        with self._lock:
            self._left += size


class PagePrefetcher:
    """Pages of one list, requested ahead of their use; memory holds no more than those.

    Args:
        fetch: returns a page by its number.
        executor: the threads that send requests.
        ahead: returns how many pages may be requested ahead of their use just now.
        budget: the memory for those beyond what every list may have; None for none of them.
        counts_rows: the total counts rows, so that one that is not reached shows that pages are shorter than they say.
    """

    def __init__(
        self,
        fetch: Callable[[int], Page],
        executor: Executor,
        ahead: Callable[[], PagesAhead],
        *,
        budget: PageBudget | None = None,
        counts_rows: bool = True,
    ) -> None:
        self._counts_rows = counts_rows
        self._fetch = fetch
        self._executor = executor
        self._ahead = ahead
        self._budget = budget or PageBudget(0)
        self._next = 1
        self._requested: dict[int, Future[Page]] = {}
        self._reserved: dict[int, int] = {}
        self._lock = threading.Lock()
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        for future in list(self._requested.values()):
            future.cancel()
        for number in list(self._reserved):
            self._release(number)

    def __del__(self) -> None:
        """Give the room back of a list that was never looked at, because a read failed before."""
        self.__exit__()

    def start(self) -> None:
        """Request the first page, and those that follow it as far as there is room, to have them when needed."""
        if not self._requested:
            self._reserved[1] = self._budget.first_page
            self._budget.take(self._budget.first_page)
            self._requested[1] = self._executor.submit(self._first)

    def _first(self) -> Page:
        page = self._fetch_ahead(1)
        self._budget.expect(page.weight)
        if page.has_more() and not self._request(2, page, least=0):
            self._budget.wait(partial(_request_before_its_turn, ref(self), replace(page, items=[])))
        return page

    def request_before_its_turn(self, page: Page) -> bool:
        """Request pages for which there was no room; return whether none is left to request so."""
        return self._is_over or self._next > 1 or self._request(2, page, least=0)

    def _request(self, first: int, page: Page, least: int | None = None) -> bool:
        """Request pages from the first on: those that every list may have, and more where there is room for such pages.

        Return whether there was room for all.

        Args:
            first: a page's number.
            page: one of the list, which shows where that ends and how large its pages are.
            least: how many in any case; None for as many as the run allows just now.
        """
        ahead = self._ahead()
        if least is None:
            least = max(1, min(ahead.least, OWN_BYTES // max(1, page.weight)))
        for number in range(first, min(max(page.last, first), first - 1 + max(least, ahead.most)) + 1):
            if number in self._requested:
                continue
            if number >= first + least:
                if not self._budget.reserve(page.weight):
                    return False
                self._reserved[number] = page.weight
            self._requested[number] = self._executor.submit(self._fetch_ahead, number)
        return True

    def _fetch_ahead(self, number: int) -> Page:
        page = self._fetch(number)
        with self._lock:
            if number in self._reserved:  # for a page as large as another one
                self._budget.release(self._reserved[number] - page.weight)
                self._reserved[number] = page.weight
        return page

    def _release(self, number: int) -> None:
        with self._lock:
            self._budget.release(self._reserved.pop(number, 0))

    @property
    def awaited(self) -> Future[Page] | None:
        """The page that comes next, if it was requested."""
        return self._requested.get(self._next)

    def __iter__(self) -> Iterator[Page]:
        """Yield every page of the list once, in order, to its end; the next ones are requested before.

        While fewer rows came than Sage counts, another page is requested: pages may be shorter than they say. So is one
        after a full page, as long as no page named a next one (pages.next): the total alone may be too low.

        Raises:
            NotFoundError: there is no such page, although Sage counts or names it; any other is beyond the end
                (pages.beyond_last).
        """
        before: Page | None = None
        rows = 0
        names_next, is_counted = False, True
        self.start()
        while True:
            try:
                page = self._requested[self._next].result()
            except NotFoundError:
                if is_counted:
                    raise
                return
            del self._requested[self._next]
            self._release(self._next)
            if page.repeats(before):
                return
            self._next += 1
            rows += len(page.items)
            is_short = self._counts_rows and bool(page.items) and rows < (page.total or 0)
            names_next = names_next or page.has_next
            is_counted = is_short or page.has_next or page.requested < page.last
            is_full = self._counts_rows and not names_next and len(page.items) >= page.size
            if more := page.has_more() or is_short or is_full:
                self._request(self._next, page)
            yield page
            if not more:
                return
            before = page if page.number is None else None  # otherwise its number shows; rows take memory


def _request_before_its_turn(waiting: ref[PagePrefetcher], page: Page) -> bool:
    """Request pages of a list that waited for room, unless nobody looks at it any more: waiting does not keep it."""
    pages = waiting()
    return pages is None or pages.request_before_its_turn(page)
