"""One complete read of one list of one business: nothing that was there throughout is missing at its end.

Pages that Sage cannot serve are read in smaller ones, and a list that moved meanwhile is looked through again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, Self

from singer_sdk.exceptions import SkippableAPIError

from tap_sage_accounting.exceptions import (
    NotFoundError,
    RecordNotFoundError,
    RequestTooLargeError,
    RetriesExhaustedError,
)
from tap_sage_accounting.extraction.consistency import MAX_SWEEPS, SeenRows
from tap_sage_accounting.extraction.prefetch import PagePrefetcher
from tap_sage_accounting.records.row_decoder import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future

    from tap_sage_accounting.api.pages import Page
    from tap_sage_accounting.extraction.prefetch import PageBudget, PagesAhead
    from tap_sage_accounting.records.row_decoder import Item


MAX_ATTEMPTS_LARGE_PAGE = 2
"""Attempts at a page that may be too heavy (pages.heavy), before smaller ones are tried."""
SMALLER = (100, 50, 25, 5, 1)
MAX_UNDELIVERABLE = 10
"""Undeliverable records of one list after which Sage counts as not well."""
MAX_SECONDS_WITHOUT_ROWS = 900.0
"""Seconds for which a list may bring nothing, while Sage responds to other requests."""
FEW_ATTEMPTS_AFTER = 3
"""Undeliverable records, and none delivered, after which less time is given to each: Sage is probably not well."""


class Source(Protocol):
    """Where a list comes from; every method may be called from any thread."""

    def page(self, number: int, size: int, *, bare: bool = False, max_attempts: int | None = None) -> Page:
        """Return a page; `bare`: with no more than the ids.

        Raises:
            RequestTooLargeError: Sage responds with a fault each time.
        """

    def record(self, item: Item) -> Item:
        """Return one record by the id that the bare item has.

        Raises:
            RecordNotFoundError: it is gone.
            SkippableAPIError: Sage lists it and refuses it.
            RetriesExhaustedError: Sage does not deliver it.
        """


class ListReader:
    """A read in progress.

    Args:
        source: the list.
        executor: the threads that request pages ahead.
        label: the list in words, for the log.
        pages_ahead: returns how many pages may be requested ahead of their use just now.
        budget: the memory for them, where a list may have more than every list may.
        size: records a page.
        delivered: called with each page when all of its records were taken.

    Attributes:
        seen: the rows that were seen.
        undeliverable: records that Sage lists but does not deliver, by id.
    """

    def __init__(
        self,
        source: Source,
        executor: Executor,
        *,
        label: str,
        pages_ahead: Callable[[], PagesAhead],
        budget: PageBudget | None = None,
        size: int,
        delivered: Callable[[Page], None] | None = None,
    ) -> None:
        self.seen = SeenRows()
        self.undeliverable: list[str] = []
        self._source = source
        self._executor = executor
        self._pages_ahead = pages_ahead
        self._label = label
        self._size = size
        self._delivered = delivered
        self._usable_size = size
        self._not_found: set[str] = set()
        self._delivers = False
        self._failing_since: float | None = None
        self._ahead = PagePrefetcher(self._page, executor, pages_ahead, budget=budget)
        self._logger = logging.getLogger("tap-sage-accounting.reading")

    def start(self) -> Self:
        """Request the first page, to have it when it is needed."""
        self._ahead.start()
        return self

    @property
    def awaited(self) -> Future[Page] | None:
        """The page that comes next, if it was requested."""
        return self._ahead.awaited

    def pages(self) -> Iterator[Page]:
        """Yield every page of the list, in order."""
        with self._ahead as pages:
            for page in pages:
                self.seen.add_page(page)
                yield page
                if self._delivered is not None and not self.undeliverable:
                    self._delivered(page)

    def rows(self) -> Iterator[Item]:
        """Yield every row of the list, then those that slipped from one page to another."""
        for page in self.pages():
            yield from page.items
        yield from self.recover_missed_rows(lambda: False)

    def recover_missed_rows(self, was_replaced: Callable[[], bool]) -> Iterator[Item]:
        """Yield rows that slipped from one page to another while the list was read.

        A read that saw as many different rows as the list counts missed none. The exception is a row that came while
        another went. Then, and without a total (pages.total), the list is read again, ids only, until a pass shows no
        unknown row. A row can only slip past a pass that counts right if another one came meanwhile. That one would
        be unknown.

        Args:
            was_replaced: returns whether rows may have come *and* gone during the read, which totals do not show. A
                read of one page does not call it: no row can slip past.

        Raises:
            RetriesExhaustedError: the list never stood still long enough to be sure.
        """
        seen = self.seen
        if seen.is_consistent and (seen.pages <= 1 or (seen.total is not None and not was_replaced())):
            return
        for _ in range(MAX_SWEEPS):
            if self.undeliverable:
                return  # the bookmark stays, and the next run reads all of this again
            before, seen = seen, SeenRows()
            complete = True
            for page in self._bare_pages():
                seen.add_page(page)
                unknown = self.seen.unknown(page.items)
                if unknown:
                    complete = False
                    yield from self._recovered(page, unknown)
            if complete and seen.is_consistent:
                return
            if complete and seen.looks_like(before):
                self._require_few_hidden(seen)
                return
        raise RetriesExhaustedError(
            f"The list moved during each of {MAX_SWEEPS} passes. What was read was delivered; run again when it is "
            "quieter."
        )

    def _require_few_hidden(self, seen: SeenRows) -> None:
        """Log that a total is wrong; refuse a list that lacks a page or more of it: Sage does not hide as many rows.

        Raises:
            RetriesExhaustedError: it does.
        """
        if (seen.total or 0) - seen.distinct >= self._size:
            raise RetriesExhaustedError(
                f"Sage counts {seen.total} rows but lists {seen.distinct}, each time. What was read was delivered; "
                "report it to Sage if it stays so."
            )
        counted = (self._label, seen.total, seen.distinct)
        if seen.distinct > (seen.total or 0):
            self._logger.warning("%s: Sage counts %s rows but lists %d, each time: all of them were read.", *counted)
        else:
            self._logger.warning(
                "%s: Sage counts %s rows but lists %d, each time: the rest is taken for hidden.", *counted
            )

    def _bare_pages(self) -> Iterator[Page]:
        fetch = partial(self._source.page, size=self._size, bare=True)
        with PagePrefetcher(fetch, self._executor, self._pages_ahead) as pages:
            yield from pages

    def _recovered(self, page: Page, unknown: set[str]) -> Iterator[Item]:
        """Read a page in full for the sake of its unknown rows; those that moved on meanwhile, by their id."""
        items = [item for item in self._page(page.requested).items if identity(item) in unknown]
        left = unknown - {identity(item) for item in items}
        items += [record for item in page.items if identity(item) in left for record in self._record_of(item)]
        self.seen.add(items)
        yield from items

    def _page(self, number: int) -> Page:
        """Request a page in full; when that is too much for Sage, in as many smaller ones as it takes."""
        if self._usable_size == self._size:
            try:
                page = self._source.page(number, self._size, max_attempts=MAX_ATTEMPTS_LARGE_PAGE)
            except RequestTooLargeError as error:
                self._logger.warning("%s Reading the same range in smaller pages.", error)
                self._count_failure(error)
            else:
                self._count_success()
                return page
        return self._in_parts(number, min(self._usable_size, _smaller(self._size)))

    def _in_parts(self, number: int, size: int) -> Page:
        first = (number - 1) * self._size
        parts = list(self._range(first, first + self._size, size))
        if not parts:
            raise RetriesExhaustedError(
                f"Sage delivers none of the rows {first + 1} to {first + self._size}; its responses are in the log "
                "above."
            )
        self._usable_size = min(self._usable_size, max(part.size for part in parts))
        last = parts[-1]
        items = [item for part in parts for item in part.items]
        more = number * self._size < last.total if last.total is not None else last.has_next or bool(items)
        is_end = last.number is not None and last.number < last.requested
        return replace(
            parts[0],
            requested=number,
            number=None if last.number is None else number - (is_end and not items),  # as Sage does beyond the end
            size=self._size,
            items=items,
            total=last.total,
            has_next=more,
            served_by=last.served_by,
            weight=sum(part.weight for part in parts),
        )

    def _range(self, first: int, end: int, size: int) -> Iterator[Page]:
        """Read the rows of some positions, as far as the list goes, in the largest pages that Sage serves."""
        begin = first
        while first < end:
            step = next(each for each in (size, *SMALLER) if each <= size and first % each == 0)
            try:
                for part in self._part(first, end, step):
                    if part.number is not None and part.number < part.requested:
                        yield replace(part, items=[])  # the last page once more: the list ends before this position
                        return
                    yield part
            except NotFoundError:
                if first == begin:
                    raise
                return  # as beyond the last page (pages.beyond_last)
            first += step

    def _part(self, first: int, end: int, size: int) -> Iterator[Page]:
        try:
            part = self._source.page(first // size + 1, size, max_attempts=MAX_ATTEMPTS_LARGE_PAGE)
        except RequestTooLargeError as error:
            self._count_failure(error)
            if size > 1:
                yield from self._range(first, min(first + size, end), _smaller(size))
            else:
                yield from self._single_row(first + 1)
        else:
            self._count_success()
            yield part

    def _single_row(self, position: int) -> Iterator[Page]:
        """Read the record at a position by its id."""
        try:
            is_hurried = len(self.undeliverable) >= FEW_ATTEMPTS_AFTER and not self._delivers
            max_attempts = MAX_ATTEMPTS_LARGE_PAGE if is_hurried else None
            bare = self._source.page(position, 1, bare=True, max_attempts=max_attempts)
        except RequestTooLargeError as error:
            self._add_undeliverable(f"row {position}", error)
        else:
            yield replace(bare, items=[record for item in bare.items for record in self._record_of(item)])

    def _record_of(self, item: Item) -> list[Item]:
        """Request one record by its id; one that Sage cannot deliver is counted.

        A record that is not found was deleted meanwhile, unless it is listed and not found once more.
        """
        name = identity(item)
        try:
            record = self._source.record(item)
        except RecordNotFoundError as error:
            if name in self._not_found:
                self._add_undeliverable(name, error)
            self._not_found.add(name)
        except (SkippableAPIError, RetriesExhaustedError) as error:
            self._add_undeliverable(name, error)
        else:
            self._count_success()
            return [record]
        return []

    def _count_success(self) -> None:
        self._delivers = True
        self._failing_since = None

    def _count_failure(self, error: Exception) -> None:
        """Fail when nothing of the list came for long: many parts take long to fail."""
        self._failing_since = self._failing_since or time.monotonic()
        if time.monotonic() - self._failing_since >= MAX_SECONDS_WITHOUT_ROWS:
            raise RetriesExhaustedError(f"Nothing of the list came for {MAX_SECONDS_WITHOUT_ROWS:.0f} s: {error}")

    def _add_undeliverable(self, name: str, error: Exception) -> None:
        self._logger.error("Sage lists a record that it does not deliver (%s): %s", name, error)
        self.undeliverable.append(name)
        if len(self.undeliverable) >= MAX_UNDELIVERABLE:
            raise RetriesExhaustedError(
                f"Sage delivers too little of this list ({', '.join(self.undeliverable)}): {error}"
            )


def _smaller(size: int) -> int:
    return next((each for each in SMALLER if each < size), 1)
