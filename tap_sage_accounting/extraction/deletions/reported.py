"""Deletions that Sage lists with `deleted_since`, as whole records or as no more than ids."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import SkippableAPIError
from typing_extensions import override

from tap_sage_accounting.declaration import DELETED_AT, UPDATED_AT
from tap_sage_accounting.exceptions import KeylessRecordError, RetriesExhaustedError
from tap_sage_accounting.extraction.deletions.base import Deletions, is_gone
from tap_sage_accounting.records.row_decoder import key_of
from tap_sage_accounting.run.state_parts import REPORTED_UNTIL
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from tap_sage_accounting.extraction.consistency import SeenRows
    from tap_sage_accounting.extraction.list_reader import ListReader
    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.records.row_decoder import Item

    Record = dict[str, Any]

_SUMMARY = frozenset(("id", "displayed_as", "$path", "created_at", "updated_at", DELETED_AT))
"""What a deleted record has when it is listed by its id only (deletions.content)."""


class ReportedDeletions(Deletions):
    """Reads the list of deletions since the last read, for each part of the list."""

    def __init__(self, plan: ReadPlan, seen: Sequence[SeenRows]) -> None:
        super().__init__(plan, seen)
        self._readers: list[ListReader] = []
        self._found: set[str] = set()
        self._tombstones: list[Record] = []

    @override
    def start(self) -> None:
        """Request the first deletions. A first read requests none: whatever it saw is deleted later, if at all."""
        if REPORTED_UNTIL in self.state and not (self.plan.is_first or self.plan.deletions_wait):
            since = parse_moment(self.state[REPORTED_UNTIL]) - self.plan.lookback
            changes = self._deleted_since(since)
            self._readers = [self.plan.reader({**part, **changes}).start() for part in self.plan.stream.parts]

    @override
    def reported(self) -> Iterator[Record]:
        """Yield the deleted records that Sage lists whole; write a part of the rows of the others.

        Raises:
            RetriesExhaustedError: Sage does not list all of them.
        """
        for row, served_at in chain.from_iterable(map(self._rows, self._readers)):
            key = key_of(row)
            if key and key in self._found:
                continue  # parts of a list may overlap
            self._found.add(key)
            try:
                yield from self._deleted(row, served_at)
            except KeylessRecordError:
                self.keyless += 1
        if self._tombstones:
            self.plan.write_tombstones(self._tombstones)
        if undeliverable := [name for reader in self._readers for name in reader.undeliverable]:
            raise RetriesExhaustedError(f"Sage does not list all deletions ({', '.join(undeliverable)}).")

    def _rows(self, reader: ListReader) -> Iterator[tuple[Item, datetime]]:
        """Yield deletions, those that moved from page to page among them, and when each was served.

        The list itself was read, so that a refusal is not for want of rights.
        """
        try:
            for page in reader.pages():
                yield from ((item, page.served_at) for item in page.items)
            for item in reader.recover_missed_rows(lambda: False):
                yield item, reader.seen.started or self.now
        except SkippableAPIError as error:
            raise RetriesExhaustedError(f"Sage shows the list, but not what was deleted from it. {error}") from None

    def _deleted_since(self, moment: datetime) -> dict[str, Any]:
        """Return the parameters for deletions from a moment on, which the filter leaves out (deletions.exclusive)."""
        since = instant(moment - timedelta(seconds=1))
        # Never with the filter for changes (changes.with_deletions).
        changes = {"updated_or_created_since": None, "sort": None, "deleted_since": since}
        if self.plan.attributes not in (None, "all"):
            changes["attributes"] = f"{self.plan.attributes},{DELETED_AT}"
        return changes

    def _deleted(self, row: Item, served_at: datetime) -> Iterator[Record]:
        """Yield a deleted record, or note its tombstone.

        What `deleted_since` lists is described nowhere. So a record without a time of deletion is requested before it
        counts as deleted. One that came with fewer attributes than requested counts as deleted at once.
        """
        record = self.plan.rows.convert(row)
        is_summary = isinstance(row, dict) and row.keys() <= _SUMMARY
        is_certain = (is_summary and self._wants_more) or record.get(DELETED_AT)
        if is_summary or not record.get(DELETED_AT):
            self.plan.endpoint.client.observations.add("deletions.content")
        if not is_certain and not is_gone(self.plan.endpoint, key_of(row)):
            yield record
            return
        record[DELETED_AT] = record.get(DELETED_AT) or instant(served_at)
        self.plan.report_deletion(record["id"], record[DELETED_AT], "reported")
        if is_summary:
            self._tombstones.append(self.plan.tombstone(record["id"], record[DELETED_AT]))
        else:
            yield record

    @property
    def _wants_more(self) -> bool:
        """Whether live records are requested with more attributes than a summary has."""
        wanted = self.plan.attributes or ""
        return wanted == "all" or not _SUMMARY.issuperset(filter(None, wanted.split(",")))

    @override
    def was_replaced(self, newest: str | None) -> bool:
        """Return whether rows may have come and gone; costs a request only where something came."""
        started = self.started
        may_be = super().was_replaced(newest)
        if started is None or not may_be or UPDATED_AT not in self.plan.columns:
            return may_be
        if len(self.plan.stream.parts) > 1:
            return True  # rows can leave such a list without being deleted
        changes = {**self._deleted_since(started - self.plan.lookback), "attributes": None}
        return bool(self.plan.endpoint.narrowed(changes).page(1, 1).items)

    @override
    def finish(self) -> None:
        if self.plan.deletions_wait:
            return
        if not self._readers:
            self.state[REPORTED_UNTIL] = instant(self.now)
        elif self._found:  # else nothing went since, whatever the clocks say
            self.state[REPORTED_UNTIL] = instant(min(reader.seen.started or self.now for reader in self._readers))
