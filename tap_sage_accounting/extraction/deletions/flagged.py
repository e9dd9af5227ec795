"""Deletions of lists whose deleted records stay in the list, flagged: ledger entries and transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_sage_accounting.declaration import UPDATED_AT
from tap_sage_accounting.extraction.deletions.base import Deletions
from tap_sage_accounting.records.identity import key_of

if TYPE_CHECKING:
    from tap_sage_accounting.records.row_decoder import Item


class FlaggedDeletions(Deletions):
    """Reports the records that bear the flag."""

    observes = True

    @override
    def observe(self, row: Item, record: Any) -> None:
        flag = self.plan.stream.deletion_flag
        if flag is not None and record.get(flag):
            self.plan.report_deletion(key_of(row), record.get(UPDATED_AT), "flagged")

    @override
    def was_replaced(self, newest: str | None) -> bool:
        return False  # no row leaves the list
