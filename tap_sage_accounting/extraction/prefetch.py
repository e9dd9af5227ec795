"""Pages of one list, requested ahead of their use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future
    from types import TracebackType

    from tap_sage_accounting.api.pages import Page


class PagePrefetcher:
    """Pages of one list, requested ahead of their use; memory holds no more than those.

    Args:
        fetch: asks for a page by its number.
        executor: the threads that ask.
        max_prefetch: tells how many pages may be asked for ahead of their use just now, at least one.
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
        self._coming: dict[int, Future[Page]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for future in list(self._coming.values()):
            future.cancel()

    def _ask(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            if number not in self._coming:
                self._coming[number] = self._executor.submit(self._fetch, number)

    def start(self) -> None:
        """Ask for the first page, and for the second if there is one, to have them when their turn comes."""
        if not self._coming:
            self._coming[1] = self._executor.submit(self._first)

    def _first(self) -> Page:
        page = self._fetch(1)
        if page.has_more():
            self._ask(2, 2)
        return page

    @property
    def awaited(self) -> Future[Page] | None:
        """The page that comes next, if it was asked for."""
        return self._coming.get(self._next)

    def __iter__(self) -> Iterator[Page]:
        """Yield every page of the list once, in order, to its end; the ones after it are asked for before.

        While fewer rows came than Sage counts, another page is asked for: pages may be shorter than they say.
        """
        before: Page | None = None
        rows = 0
        self.start()
        while True:
            page = self._coming[self._next].result()
            del self._coming[self._next]
            if page.repeats(before):
                return
            self._next += 1
            rows += len(page.items)
            is_short = self._counts_rows and bool(page.items) and rows < (page.total or 0)
            if more := page.has_more() or is_short:
                self._ask(self._next, max(self._next, min(page.last, self._next + self._max_prefetch() - 1)))
            yield page
            if not more:
                return
            before = page if page.number is None else None  # otherwise its number tells; rows take memory
