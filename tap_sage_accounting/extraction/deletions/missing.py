"""Deletions that Sage reports nowhere: the list is compared with what it held before.

Each read that sees the whole list compares it. For other reads, a sweep of the ids does so every few days. The state
keeps each delivered id until its record is found gone: an empty list may not be offered (rights.lists).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_sage_accounting.exceptions import EditionError
from tap_sage_accounting.extraction.deletions.base import Deletions, is_gone
from tap_sage_accounting.records.row_decoder import key_of
from tap_sage_accounting.run.packed_ids import pack, unpack
from tap_sage_accounting.run.state_parts import INVENTORY, INVENTORY_AT, is_due
from tap_sage_accounting.timestamps import instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_sage_accounting.extraction.consistency import SeenRows
    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.records.row_decoder import Item

LARGEST_INVENTORY = 20_000
"""Ids remembered per list and business, at about 19 bytes of state each; a longer list is not compared."""


class MissingDeletions(Deletions):
    """Compares the list with the ids that were delivered."""

    observes = True

    def __init__(self, plan: ReadPlan, seen: Sequence[SeenRows]) -> None:
        super().__init__(plan, seen)
        self._known = unpack(self.state[INVENTORY]) if INVENTORY in self.state else set()
        self._keys: set[str] = set()
        self._is_compared = False

    @override
    def track_before_delivery(self, items: Sequence[Item]) -> bool:
        """Remember rows before they are delivered: a run that is killed then has delivered them."""
        new = {key for item in items if (key := key_of(item))} - self._known
        self._known |= new
        return bool(new) and len(self._known) <= LARGEST_INVENTORY

    @override
    def write_to_state(self) -> None:
        if len(self._known) <= LARGEST_INVENTORY:
            self.state[INVENTORY] = pack(self._known)

    @override
    def snapshot(self) -> str | None:
        return self.state.get(INVENTORY)

    @override
    def restore(self, snapshot: str | None) -> None:
        self.state.pop(INVENTORY, None)
        if snapshot is not None:
            self.state[INVENTORY] = snapshot

    @override
    def observe(self, row: Item, record: Any) -> None:
        self._keys.add(key_of(row))

    @override
    def find_missing(self) -> None:
        """Compare, when the read saw the whole list or when it is time to."""
        last = self.state.get(INVENTORY_AT)
        self._is_compared = self.plan.since is None or is_due(last, self.plan.sweep_every, self.now)
        if not self._is_compared:
            self._keys |= self._known
            return
        if self.plan.since is not None:
            self._keys |= self._listed_keys()
        missing = sorted(self._known - self._keys)
        if missing and not self._keys:
            self._require_offer()
        tombstones = []
        for key in missing:
            if is_gone(self.plan.endpoint, key):
                moment = instant(self.now)
                self.plan.report_deletion(key, moment, "missing")
                tombstones.append(self.plan.tombstone(key, moment))
            else:
                self._keys.add(key)
        if tombstones:
            self.plan.write_tombstones(tombstones)

    def _require_offer(self) -> None:
        """Make sure that a list that lost everything is a list that the business still has.

        Raises:
            EditionError: by what Sage says of the business and the user, it is not.
        """
        if reason := self.plan.missing_offer():
            raise EditionError(
                f"{self.plan.label}: Sage lists nothing any more, and says of the business: {reason}. Nothing is taken "
                "for deleted."
            )

    def _listed_keys(self) -> set[str]:
        everything = {"updated_or_created_since": None, "attributes": None}
        lists = [self.plan.reader({**part, **everything}) for part in self.plan.stream.parts]
        return {key_of(item) for reader in lists for page in reader.pages() for item in page.items}

    @override
    def finish(self) -> None:
        if self._is_compared:
            self.state[INVENTORY_AT] = instant(self.now)
        if len(self._keys) <= LARGEST_INVENTORY:
            self.state[INVENTORY] = pack(self._keys)
        elif self.state.pop(INVENTORY, None) is not None or self._is_compared:
            self.plan.logger.warning(
                "%s holds %d records, too many to notice when one is deleted (%d at most).",
                self.plan.label,
                len(self._keys),
                LARGEST_INVENTORY,
            )
