"""What is gone: told by Sage, flagged in the record, or found missing.

- Lists that take `deleted_since` tell their deletions, as whole records or as no more than ids.
- Ledger entries and transactions stay in their lists, flagged.
- Lists whose records can be deleted without being told are compared with what they held before: on every read that
  sees the whole list anyway, and else every so many days by a look at the ids. What was there is remembered in the
  state.
"""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL

from tap_sage_accounting.errors import NotFoundError
from tap_sage_accounting.movement import identity
from tap_sage_accounting.timestamps import instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record

    from tap_sage_accounting.client import SageStream
    from tap_sage_accounting.movement import Watch

DELETED_AT = "deleted_at"
TOLD_UNTIL = "deletions_told_until"
"""The state's key for the moment, by Sage's clock, up to which deletions were asked for."""
INVENTORY = "inventory"
"""The state's key for the packed ids of a list whose deletions Sage does not tell."""
INVENTORY_AT = "inventory_at"
LARGEST_INVENTORY = 20_000
"""Ids remembered per list and business, at about 20 bytes of state each; a longer list is not watched."""
_SUMMARY = frozenset(("id", "displayed_as", "$path", "created_at", "updated_at", DELETED_AT))
"""What a deleted record is told with when it is told by its id only."""


def pack(keys: set[str]) -> str:
    """Pack ids into text for the state; 32 hexadecimal digits become about 20 characters."""
    return base64.b85encode(zlib.compress("\n".join(sorted(keys)).encode(), 9)).decode()


def unpack(text: str) -> set[str]:
    """Unpack what `pack` made."""
    packed = zlib.decompress(base64.b85decode(text)).decode()
    return set(packed.split("\n")) if packed else set()


class DeletionLookup:
    """Finds what was deleted from one list of one business, beside a read of that list.

    Args:
        stream: the list.
        context: the business.
        watch: what the read sees.
    """

    def __init__(self, stream: SageStream, context: Context | None, watch: Watch) -> None:
        self._stream = stream
        self._context = context
        self._watch = watch
        self._state = stream.get_context_state(context)
        self._incremental = stream.replication_method == REPLICATION_INCREMENTAL
        self._complete = stream.reading_since(context) is None
        self._untold = stream.deletable and not stream.deleted_since and stream.deletion_flag is None
        self._keys: set[str] | None = set() if self._untold and self._complete else None
        self._told_until: datetime | None = None
        self._none_told = False

    def note(self, raw: Record, record: Record) -> None:
        """Look at a record of the read."""
        if self._keys is not None:
            self._keys.add(_key(raw))
        if self._stream.deletion_flag and record.get(self._stream.deletion_flag):
            self._announce(record["id"], record.get("updated_at"), "flagged by Sage")

    # Told deletions

    def told(self) -> Iterator[Record]:
        """Yield the records that Sage tells as deleted, as far as it tells them whole; write the others in part."""
        since = self._tell_since()
        if since is None:
            self._told_until = self._watch.started
            return
        changes = {"updated_or_created_since": None, "deleted_since": instant(since)}
        if (asked := self._stream.requested_attributes) not in (None, "all"):
            changes["attributes"] = f"{asked},{DELETED_AT}"
        lookup = self._stream.begin_read(self._context, changes)
        self._none_told = True
        for page in lookup.pages():
            for raw in page.items:
                self._none_told = False
                yield from self._tombstone(raw, page.served_at)
        self._told_until = lookup.watch.started

    def _tell_since(self) -> datetime | None:
        """Tell from when on deletions matter; None: nothing that was read so far can have been deleted.

        The filter does not include the moment itself.
        """
        if not (self._stream.deleted_since and self._incremental):
            return None
        if told_until := self._state.get(TOLD_UNTIL):
            back = self._stream.config["lookback_window"] + 1
            return datetime.fromisoformat(told_until) - timedelta(seconds=back)
        if self._watch.started is None or self._watch.pages <= 1:
            return None
        return self._watch.started - timedelta(seconds=1)

    def _tombstone(self, raw: Record, served_at: datetime) -> Iterator[Record]:
        record = self._stream.clean(raw, self._context)
        record[DELETED_AT] = record.get(DELETED_AT) or instant(served_at)
        self._announce(record["id"], record[DELETED_AT], "told by Sage")
        if set(raw) <= _SUMMARY:
            self._mark(record["id"], record[DELETED_AT])
        else:
            yield record

    def was_replaced(self, since: datetime) -> bool:
        """Tell whether records may have come and gone since a moment, at the cost of one request at most."""
        if self._stream.deletion_flag is not None or not (self._stream.deletable or self._stream.changed_since):
            return False
        if self._stream.deleted_since:
            if self._none_told and self._told_until is not None and since == self._watch.started:
                return False
            gone = {"updated_or_created_since": None, "deleted_since": instant(since - timedelta(seconds=1))}
            page = self._stream.fetch_page(self._context, 1, {**gone, "attributes": None, "items_per_page": 1})
            return bool(page.items)
        if self._stream.changed_since:
            come = {"updated_or_created_since": instant(since), "attributes": "created_at"}
            news = self._stream.begin_read(self._context, come).pages()
            return any((item.get("created_at") or "9") >= instant(since) for page in news for item in page.items)
        return False

    # Untold deletions

    def look_for_missing(self) -> None:
        """Compare the list with what it held before, when the read saw it whole or when it is time to look."""
        if not self._untold:
            return
        if self._keys is None:
            if not self._is_due():
                return
            self._keys = self._all_keys()
        before = unpack(self._state[INVENTORY]) if INVENTORY in self._state else set()
        for key in sorted(before - self._keys):
            if self._is_gone(key):
                moment = instant(self._watch.started or datetime.now(UTC))
                self._announce(key, moment, "found missing")
                self._mark(key, moment)
            else:
                self._keys.add(key)

    def _is_due(self) -> bool:
        last = self._state.get(INVENTORY_AT)
        days = timedelta(days=self._stream.config["deletion_sweep_days"])
        return not last or datetime.fromisoformat(last) + days <= (self._watch.started or datetime.now(UTC))

    def _all_keys(self) -> set[str]:
        changes = {"updated_or_created_since": None, "attributes": None}
        pages = self._stream.begin_read(self._context, changes).pages()
        return {_key(item) for page in pages for item in page.items}

    def _is_gone(self, key: str) -> bool:
        """Ask for a record that the list did not show; it may only have slipped from one page to another."""
        try:
            self._stream.fetch_record(self._context, key, bare=True)
        except NotFoundError:
            return True
        return False

    # What follows

    def remember(self) -> None:
        """Keep in the state what the next run needs."""
        if self._told_until is not None and self._stream.deleted_since and self._incremental:
            self._state[TOLD_UNTIL] = instant(self._told_until)
        if self._keys is None:
            return
        if len(self._keys) > LARGEST_INVENTORY:
            self._stream.logger.warning(
                "%s holds %d records, too many to notice when one is deleted (%d at most).",
                self._stream.describe(self._context),
                len(self._keys),
                LARGEST_INVENTORY,
            )
            self._state.pop(INVENTORY, None)
        else:
            self._state[INVENTORY] = pack(self._keys)
        self._state[INVENTORY_AT] = instant(self._watch.started or datetime.now(UTC))

    def _announce(self, key: str, deleted_at: str | None, how: str) -> None:
        self._stream.announce_deletion(self._context, key, deleted_at, how)

    def _mark(self, key: str, deleted_at: str) -> None:
        """Set `deleted_at` of a row and leave its other columns alone."""
        business: dict[str, Any] = dict(self._context or {})
        own_key = next(name for name in self._stream.primary_keys if name != "business_id")
        self._stream.write_partial({**business, own_key: key, DELETED_AT: deleted_at})


def _key(raw: Record) -> str:
    """Tell what a record is asked for by: its id, or the end of its path."""
    return identity(raw).rpartition("/")[2]
