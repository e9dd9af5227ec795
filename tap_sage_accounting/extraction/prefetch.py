"""Pages of one list, requested ahead of their use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future

    from tap_sage_accounting.api.pages import Page


class PagePrefetcher:
    """Pages of one list, requested ahead of their use; memory holds no more than those.

    Args:
        fetch: returns a page by its number.
        executor: the threads that send requests.
        max_prefetch: returns how many pages may be requested ahead of their use just now, at least one.
        counts_rows: the total counts rows, so that one that is not reached shows that pages are shorter than they say.
    """

    def __init__(
        self,
        fetch: Callable[[int], Page],
        executor: Executor,
        max_prefetch: Callable[[], int],
        *,
        counts_rows: bool = True,
    ) -> None:
        self._counts_rows = counts_rows
        self._fetch = fetch
        self._executor = executor
        self._max_prefetch = max_prefetch
        self._next = 1
        self._requested: dict[int, Future[Page]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for future in list(self._requested.values()):
            future.cancel()

    def _request(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            if number not in self._requested:
                self._requested[number] = self._executor.submit(self._fetch, number)

    def start(self) -> None:
        """Request the first page, and the second if there is one, to have them when they are needed."""
        if not self._requested:
            self._requested[1] = self._executor.submit(self._first)

    def _first(self) -> Page:
        page = self._fetch(1)
        if page.has_more():
            self._request(2, 2)
        return page

    @property
    def awaited(self) -> Future[Page] | None:
        """The page that comes next, if it was requested."""
        return self._requested.get(self._next)

    def __iter__(self) -> Iterator[Page]:
        """Yield every page of the list once, in order, to its end; the next ones are requested before.

        While fewer rows came than Sage counts, another page is requested: pages may be shorter than they say.
        """
        before: Page | None = None
        rows = 0
        self.start()
        while True:
            page = self._requested[self._next].result()
            del self._requested[self._next]
            if page.repeats(before):
                return
            self._next += 1
            rows += len(page.items)
            is_short = self._counts_rows and bool(page.items) and rows < (page.total or 0)
            if more := page.has_more() or is_short:
                self._request(self._next, max(self._next, min(page.last, self._next + self._max_prefetch() - 1)))
            yield page
            if not more:
                return
            before = page if page.number is None else None  # otherwise its number shows; rows take memory
