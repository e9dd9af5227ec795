"""What is gone: told by Sage, flagged in the record, or found missing.

- Lists that take `deleted_since` tell their deletions, as whole records or as no more than ids.
- Ledger entries and transactions stay in their lists, flagged.
- Lists whose records can be deleted without being told are compared with what they held before: on every read that
  sees the whole list anyway, and else every so many days by a look at the ids. Every id that was delivered is
  remembered in the state until it is found gone.

Rows that vanish from a list without having been deleted (open items that get paid, for one) are not looked for: where
such a list matters, ACTIVATE_VERSION tells the target what is left.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from singer_sdk.exceptions import SkippableAPIError

from tap_sage_accounting import timestamps
from tap_sage_accounting.exceptions import (
    EditionError,
    KeylessRecordError,
    RecordNotFoundError,
    RequestTooLargeError,
    RetriesExhaustedError,
)
from tap_sage_accounting.extraction.consistency import key_of
from tap_sage_accounting.run.packed_ids import pack, unpack
from tap_sage_accounting.run.state import INVENTORY, INVENTORY_AT, TOLD_UNTIL
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from singer_sdk.helpers.types import Context, Record

    from tap_sage_accounting.client import SageStream
    from tap_sage_accounting.extraction.list_reader import ListReader
    from tap_sage_accounting.records.row_decoder import Item

DELETED_AT = "deleted_at"
UPDATED_AT = "updated_at"
LARGEST_INVENTORY = 20_000
"""Ids remembered per list and business, at about 19 bytes of state each; a longer list is not watched."""
_SUMMARY = frozenset(("id", "displayed_as", "$path", "created_at", "updated_at", DELETED_AT))
"""What a deleted record is told with when it is told by its id only."""


class DeletionLookup:
    """Finds what was deleted from one list of one business, beside a read of that list.

    Args:
        stream: the list.
        context: the business.
        readings: the read, in as many parts as it has.

    Attributes:
        takes_note: whether it wants to look at each record.
        keyless: deletions that were left out because nothing says of which row.
    """

    def __init__(self, stream: SageStream, context: Context | None, readings: list[ListReader]) -> None:
        self._stream = stream
        self._context = context
        self.readings = readings
        self._watch = readings[0].watch
        self._state = stream.get_context_state(context)
        self._whole = stream.reading_since(context) is None
        self._flag = stream.deletion_flag
        self._untold = stream.deletable and not stream.deleted_since and stream.deletion_flag is None
        self.takes_note = self._untold or self._flag is not None
        self._known = unpack(self._state[INVENTORY]) if self._untold and INVENTORY in self._state else set()
        self._keys: set[str] = set()
        self._looked = False
        self._told: ListReader | None = None
        self._told_any = False
        self._marks: list[Record] = []
        self.keyless = 0

    def start(self) -> Self:
        """Ask for the first deletions, to have them when their turn comes.

        A first read asks for none: whatever it saw is deleted later, if at all.
        """
        business_id = self._context["business_id"] if self._context else None
        if TOLD_UNTIL in self._state and business_id not in self._stream.first_reads:
            since = parse_moment(self._state[TOLD_UNTIL]) - self._stream.lookback
            self._told = self._stream.begin_read(self._context, self._deleted_since(since)).start()
        return self

    def foresee(self, items: Sequence[Item]) -> bool:
        """Remember records before they are delivered: a run that is killed then has delivered them.

        Returns:
            Whether they must not be delivered before a state that names them.
        """
        if not self._untold:
            return False
        new = {key for item in items if (key := key_of(item))} - self._known
        self._known |= new
        return bool(new) and len(self._known) <= LARGEST_INVENTORY

    def write_down(self) -> None:
        """Put the ids of all records that were delivered, or are about to be, into the state."""
        if len(self._known) <= LARGEST_INVENTORY:
            self._state[INVENTORY] = pack(self._known)

    def note(self, raw: Item, record: Item) -> None:
        """Look at a record of the read, as sent and as declared."""
        if self._untold:
            self._keys.add(key_of(raw))
        elif self._flag is not None and record.get(self._flag):
            self._announce(key_of(raw), record.get("updated_at"), "flagged by Sage")

    # Told deletions

    def told(self) -> Iterator[Record]:
        """Yield the records that Sage tells as deleted, as far as it tells them whole; write the others in part.

        Raises:
            RetriesExhaustedError: Sage does not tell all of them.
        """
        if self._told is None:
            return
        for raw, served_at in self._told_items(self._told):
            self._told_any = True
            try:
                yield from self._tombstone(raw, served_at)
            except KeylessRecordError:
                self.keyless += 1
        self._write_marks()
        if self._told.undeliverable:
            raise RetriesExhaustedError(f"Sage does not tell all deletions ({', '.join(self._told.undeliverable)}).")

    def _told_items(self, told: ListReader) -> Iterator[tuple[Item, datetime]]:
        """Yield deletions, those that slipped from page to page among them, and when each was served.

        The list itself was read, so that a refusal is not for want of rights.
        """
        try:
            for page in told.pages():
                yield from ((item, page.served_at) for item in page.items)
            for item in told.recover_missed_rows(lambda: False):
                yield item, told.watch.started or self._now
        except SkippableAPIError as error:
            raise RetriesExhaustedError(f"Sage shows the list, but not what was deleted from it. {error}") from None

    def _deleted_since(self, moment: datetime) -> dict[str, Any]:
        """Name the query parameters for deletions from a moment on; the filter itself leaves that moment out."""
        since = instant(moment - timedelta(seconds=1))
        changes = {"updated_or_created_since": None, "sort": None, "deleted_since": since}
        if (asked := self._stream.requested_attributes) not in (None, "all"):
            changes["attributes"] = f"{asked},{DELETED_AT}"
        return changes

    def _tombstone(self, raw: Item, served_at: datetime) -> Iterator[Record]:
        """Flag a deleted record.

        What `deleted_since` lists is described nowhere, so a record without a time of deletion is asked for before it
        is taken for deleted, unless less of it came than was asked for.
        """
        record = self._stream.clean(raw, self._context)
        in_part = isinstance(raw, dict) and raw.keys() <= _SUMMARY
        if not (in_part and self._asks_for_more) and not record.get(DELETED_AT) and not self._is_gone(key_of(raw)):
            yield record
            return
        record[DELETED_AT] = record.get(DELETED_AT) or instant(served_at)
        self._announce(record["id"], record[DELETED_AT], "told by Sage")
        if in_part:
            self._marks.append(self._mark(record["id"], record[DELETED_AT]))
        else:
            yield record

    @property
    def _asks_for_more(self) -> bool:
        """Whether live records have more than those attributes that a record in part has."""
        asked = self._stream.requested_attributes or ""
        return asked == "all" or not _SUMMARY.issuperset(filter(None, asked.split(",")))

    def was_replaced(self, newest: str | None) -> bool:
        """Tell whether rows may have come to the list *and* gone from it during the read.

        Costs a request only where something came.

        Args:
            newest: the latest `updated_at` that was read.
        """
        stream, started = self._stream, self._watch.started
        if started is None or stream.deletion_flag is not None:
            return False
        if UPDATED_AT not in stream.schema["properties"]:
            return not stream.static  # nothing tells whether something came
        came_from = started - stream.lookback
        if newest is None or newest < instant(came_from):
            return False
        if not stream.deleted_since or len(stream.parts) > 1:
            return True  # rows can leave this list without being told as deleted
        changes = {**self._deleted_since(came_from), "attributes": None, "items_per_page": 1}
        return bool(stream.fetch_page(self._context, 1, changes).items)

    # Untold deletions

    def look_for_missing(self) -> None:
        """Compare the list with what it held before, when the read saw it whole or when it is time to look."""
        if not self._untold:
            return
        self._looked = self._whole or self._is_due()
        if not self._looked:
            self._keys |= self._known
            return
        if not self._whole:
            self._keys |= self._listed_keys()
        missing = sorted(self._known - self._keys)
        if missing and not self._keys:
            self._require_offer()
        for key in missing:
            if self._is_gone(key):
                moment = instant(self._now)
                self._announce(key, moment, "found missing")
                self._marks.append(self._mark(key, moment))
            else:
                self._keys.add(key)
        self._write_marks()

    def _require_offer(self) -> None:
        """Make sure that a list that lost everything is a list that the business still has.

        Raises:
            EditionError: by what Sage says of the business and the user, it is not.
        """
        if reason := self._stream.missing_offer(self._context):
            raise EditionError(
                f"{self._stream.describe(self._context)}: Sage lists nothing any more, and says of the business: "
                f"{reason}. Nothing is taken for deleted."
            )

    @property
    def _now(self) -> datetime:
        return self._watch.started or timestamps.now()

    def _is_due(self) -> bool:
        last = self._state.get(INVENTORY_AT)
        days = timedelta(days=self._stream.config["deletion_sweep_days"])
        return not last or not timedelta() <= self._now - parse_moment(last) < days

    def _listed_keys(self) -> set[str]:
        lists = [
            self._stream.begin_read(self._context, {**part, "updated_or_created_since": None, "attributes": None})
            for part in self._stream.parts
        ]
        return {key_of(item) for reading in lists for page in reading.pages() for item in page.items}

    def _is_gone(self, key: str) -> bool:
        """Ask for a record that the list did not show; it may only have slipped from one page to another.

        Raises:
            SkippableAPIError: Sage refuses the record, which says nothing about whether it is there.
            RetriesExhaustedError: nobody answers for Sage.
        """
        try:
            self._stream.fetch_record(self._context, key, bare=True)
        except RecordNotFoundError:
            return True
        except RequestTooLargeError:
            return False  # what Sage fails on is still there
        return False

    # What follows

    def remember(self) -> None:
        """Keep in the state what the next run needs."""
        if self._told is None and self._stream.deleted_since:
            self._state[TOLD_UNTIL] = instant(self._now)
        elif self._told is not None and self._told_any:  # else nothing went since, whatever the clocks say
            self._state[TOLD_UNTIL] = instant(self._told.watch.started or self._now)
        if not self._untold:
            return
        if self._looked:
            self._state[INVENTORY_AT] = instant(self._now)
        if len(self._keys) <= LARGEST_INVENTORY:
            self._state[INVENTORY] = pack(self._keys)
        elif self._state.pop(INVENTORY, None) is not None or self._looked:
            self._stream.logger.warning(
                "%s holds %d records, too many to notice when one is deleted (%d at most).",
                self._stream.describe(self._context),
                len(self._keys),
                LARGEST_INVENTORY,
            )

    def _announce(self, key: str, deleted_at: str | None, how: str) -> None:
        self._stream.announce_deletion(self._context, key, deleted_at, how)

    def _mark(self, key: str, deleted_at: str) -> Record:
        """Make the part of a row that says that it is deleted."""
        business: dict[str, Any] = dict(self._context or {})
        own_key = next(name for name in self._stream.primary_keys if name != "business_id")
        return {**business, own_key: key, DELETED_AT: deleted_at}

    def _write_marks(self) -> None:
        """Set `deleted_at` of rows and leave their other columns alone; together, for a switch takes a target time."""
        if self._marks:
            self._stream.write_partial(self._marks)
            self._marks = []
