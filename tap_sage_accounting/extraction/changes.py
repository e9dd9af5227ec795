"""Transactions that changed, as the read of `transactions` found them: the trial balance need not read them again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tap_sage_accounting.declaration import CREATED_AT, UPDATED_AT
from tap_sage_accounting.timestamps import instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from tap_sage_accounting.records.row_decoder import Item

MOST_KEPT = 2_000
"""Transactions of a business that are kept: ten pages. Of more, the trial balance requests its own list."""


class Change(NamedTuple):
    """What the trial balance looks at of a transaction, as sent or as declared."""

    date: Any
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, row: Item) -> Self:
        """Return the change that a row shows."""
        return cls(row.get("date"), row.get(CREATED_AT) or "", row.get(UPDATED_AT) or "")


ATTRIBUTES = ("date", CREATED_AT, UPDATED_AT)
"""The attributes of a transaction that a `Change` needs."""


@dataclass(slots=True)
class ChangedTransactions:
    """The transactions of one business that one read of them brings.

    Attributes:
        since: the change filter of the read.
        read_at: when it began; None before it delivered everything, and where it brought too many to keep.
    """

    since: datetime
    read_at: datetime | None = None
    _found: list[Change] = field(default_factory=list)

    def watch(self, records: Iterable[Item]) -> Iterator[Item]:
        """Pass records on, and keep what the trial balance needs of them."""
        for record in records:
            if len(self._found) <= MOST_KEPT:
                self._found.append(Change.of(record))
            yield record

    def complete(self, began: datetime | None) -> None:
        """Note that everything was delivered of a read that began at a moment."""
        self.read_at = began if len(self._found) <= MOST_KEPT else None

    def after(self, since: datetime) -> list[Change] | None:
        """Return those that changed from a moment on; None where this read does not show them."""
        if self.read_at is None or self.since > since:
            return None
        first = instant(since).removesuffix("Z")  # times with and without fractions follow it
        return [each for each in self._found if not each.updated_at or max(each.updated_at, each.created_at) >= first]
