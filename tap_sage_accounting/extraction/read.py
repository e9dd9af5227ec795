"""One read of one list of one business, from its first page to its bookmark."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from tap_sage_accounting.declaration import CREATED_AT, UPDATED_AT
from tap_sage_accounting.exceptions import KeylessRecordError, UndeliverableError
from tap_sage_accounting.extraction.deletions import deletions_of
from tap_sage_accounting.extraction.reread import Reread
from tap_sage_accounting.extraction.resume import ResumableRead
from tap_sage_accounting.records.row_decoder import Row
from tap_sage_accounting.run.checkpoints import Delivery
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.run.state_parts import BOOKMARK, INTERRUPTED, REPLICATION_KEY
from tap_sage_accounting.timestamps import instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from concurrent.futures import Future

    from tap_sage_accounting.api.endpoint import Endpoint
    from tap_sage_accounting.api.pages import Page
    from tap_sage_accounting.api.request import Request
    from tap_sage_accounting.declaration import StreamDeclaration
    from tap_sage_accounting.extraction.list_reader import ListReader
    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.extraction.scheduler import Batches
    from tap_sage_accounting.records.row_decoder import Item

QUIET_BOOKMARK = timedelta(days=1)
"""How far behind the start of a read the bookmark of a list is kept in which nothing changes.

Nearer, a wrong clock could move it past a change. Farther, rows that share one moment are read again for longer."""


class BusinessRead:
    """One read of one list of one business, from its first page to its bookmark."""

    def __init__(self, plan: ReadPlan) -> None:
        self._plan = plan
        parts = plan.stream.parts
        self._readers = ResumableRead(plan).readers() if plan.is_resumable else [plan.reader(part) for part in parts]
        self._deletions = deletions_of(plan, [reader.seen for reader in self._readers])
        self._reread = Reread(plan)
        self._newest: str | None = None
        self._keyless = 0
        for reader in self._readers:
            reader.start()
        self._deletions.start()
        self._reread.start()

    @staticmethod
    def first_requests(endpoint: Endpoint, stream: type[StreamDeclaration], state: Mapping[str, Any]) -> list[Request]:
        """List requests with which a read begins for certain: the first pages, unless it goes on where one ended."""
        return [] if INTERRUPTED in state else [endpoint.narrowed(part).first_page for part in stream.parts]

    @property
    def awaited(self) -> Future[Any] | None:
        """The page that the next batch waits for, None where it waits for none that was requested."""
        return next((page for reader in self._readers if (page := reader.awaited) is not None), None)

    def batches(self) -> Batches:
        """Yield all records, what was deleted, and what moved from page to page meanwhile.

        Raises:
            UndeliverableError: Sage lists records that it does not deliver; the bookmark stays where it is.
        """
        deletions, reread = self._deletions, self._reread
        delivery = Delivery(self._plan.services.checkpoints, deletions)
        for page in chain.from_iterable(map(self._pages, self._readers)):
            self._watch(page)
            yield delivery.of(page.items, self._records(page.items))
        for page in reread.pages():
            yield delivery.of(page.items, reread.compared(self._records(page.items)))
        readers = [*self._readers, *reread.readers]
        yield deletions.reported()
        was_replaced = partial(deletions.was_replaced, self._newest)
        for row in chain.from_iterable(reader.recover_missed_rows(was_replaced) for reader in readers):
            yield delivery.of([row], self._records([row]))
        deletions.find_missing()
        _require_all(readers, self._keyless + deletions.keyless)
        delivery.finish(self._finish)

    def _pages(self, reader: ListReader) -> Iterator[Page]:
        """Yield the pages of a part of the list; the first one says how many rows there will be."""
        pages = reader.pages()
        for first in pages:
            if first.total:
                self._plan.services.report.expect(self._plan.stream.name, first.total)
            yield first
            yield from pages

    def _watch(self, page: Page) -> None:
        """Compare the number of rows, the first and the last one with what is assumed of Sage."""
        if not page.items:
            return
        plan, contradict = self._plan, self._plan.endpoint.client.observations.add
        if page.has_next and len(page.items) < page.size:
            contradict("pages.full")
        changed, first, last = (
            value if isinstance(value := row.get(name), str) else None
            for row, name in ((page.items[0], UPDATED_AT), (page.items[0], CREATED_AT), (page.items[-1], CREATED_AT))
        )
        if plan.since is not None and changed and changed < instant(plan.since):
            contradict("changes.inclusive")
        if plan.is_resumable and first and last and first > last:
            contradict("pages.sort")

    def _records(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the records that rows become, and look at each."""
        rows, deletions = self._plan.rows, self._deletions
        passthrough, observes = rows.passthrough, deletions.observes
        business_id = UNSET if rows.business_id is None else rows.business_id
        newest = self._newest
        record: Item
        for row in items:
            if passthrough and isinstance(row, Row):
                record = row
                record.business_id = business_id
            else:
                try:
                    record = rows.convert(row)
                except KeylessRecordError:
                    self._keyless += 1
                    continue
            changed_at = record.get(UPDATED_AT)
            if changed_at is not None and (newest is None or changed_at > newest):
                self._newest = newest = changed_at
            if observes:
                deletions.observe(row, record)
            yield record

    def _finish(self) -> None:
        """Put into the state what a read found out that delivered everything."""
        with stop_signals.deferred():  # a state that is half of this read and half of the last one would be wrong
            self._deletions.finish()
            self._reread.finish()
            self._plan.state.pop(INTERRUPTED, None)
            self._move_bookmark()
            self._record_moment()

    def _move_bookmark(self) -> None:
        """Set the bookmark to the newest change seen, never past the start of the read.

        What changed after its page was served has a later time than the start, and is read next time. Where nothing
        new came, the bookmark follows a day behind: then clocks that are wrong by less do no harm. Where no row came at
        all, it stays. That costs no request more, and the list may not be as empty as Sage says.
        """
        started, newest, state = self._deletions.started, self._newest, self._plan.state
        if started is None or not self._plan.is_incremental:
            return
        bookmark = state.get(BOOKMARK)
        if newest is not None and (bookmark is None or newest > bookmark):
            bookmark = max(min(newest, instant(started)), bookmark or "")
        elif bookmark is not None and newest is not None:
            bookmark = max(bookmark, instant(started - QUIET_BOOKMARK))
        if bookmark is not None:
            state[REPLICATION_KEY] = UPDATED_AT
            state[BOOKMARK] = bookmark

    def _record_moment(self) -> None:
        """Note when the read began, for what may be concluded when all lists of the business were read."""
        read_at, started = self._plan.services.read_at, self._deletions.started
        if read_at is not None and started is not None:
            read_at[self._plan.business_id][self._plan.stream.name] = started


class SingleRead:
    """The read of a single object, such as a business's settings: one row, without pages."""

    def __init__(self, plan: ReadPlan) -> None:
        self._plan = plan
        # Some objects have neither an id nor a path.
        known = plan.columns - {*plan.stream.added_properties, "path"} | {"$path"}
        self._object = plan.services.executor.submit(plan.endpoint.single, known)

    @staticmethod
    def first_requests(endpoint: Endpoint, *_: object) -> list[Request]:
        """List the one request that a read consists of."""
        return [endpoint.whole]

    @property
    def awaited(self) -> Future[Any] | None:
        """The object."""
        return self._object

    def batches(self) -> Batches:
        """Yield the record."""
        yield [self._plan.rows.convert(self._object.result())]


def _require_all(readers: list[ListReader], keyless: int) -> None:
    """Fail a read that lacks records: Sage did not deliver them, or they were left out without a key.

    Raises:
        UndeliverableError: what is missing.
    """
    on = "All others arrived; the bookmark stays, so that the next run tries again. If it goes on, report"
    if undeliverable := [name for reader in readers for name in reader.undeliverable]:
        count = "a record" if len(undeliverable) == 1 else f"{len(undeliverable)} records"
        raise UndeliverableError(
            f"Sage lists {count} that it does not deliver ({', '.join(undeliverable)}). {on} the request ids above to "
            "Sage."
        )
    if keyless:
        count = "a record" if keyless == 1 else f"{keyless} records"
        raise UndeliverableError(
            f"Sage sent {count} without an id or a path that ends in one; no target could find the rows. {on} it to "
            "Sage."
        )
