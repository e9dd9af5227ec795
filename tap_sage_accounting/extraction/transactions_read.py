"""The read of the transactions of one business, which keeps what changed for the trial balance of the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.exceptions import FatalAPIError, RetriableAPIError, SkippableAPIError
from typing_extensions import override

from tap_sage_accounting.extraction.changes import ATTRIBUTES, ChangedTransactions
from tap_sage_accounting.extraction.read import BusinessRead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.extraction.scheduler import Batches
    from tap_sage_accounting.records.row_decoder import Item


class TransactionsRead(BusinessRead):
    """One read of the transactions of one business."""

    def __init__(self, plan: ReadPlan) -> None:
        super().__init__(plan)
        self._changes: ChangedTransactions | None = None
        kept, attributes = plan.services.changed_transactions, plan.attributes or ""
        shows_changes = attributes == "all" or not {*ATTRIBUTES}.difference(attributes.split(","))
        if kept is not None and plan.business_id is not None and plan.since is not None and shows_changes:
            self._changes = kept[plan.business_id] = ChangedTransactions(plan.since)

    @override
    def _records(self, items: Iterable[Item]) -> Iterator[Item]:
        records = super()._records(items)
        return records if self._changes is None else self._changes.watch(records)

    @override
    def _finish(self) -> None:
        super()._finish()
        if self._changes is not None:
            self._changes.complete(self._deletions.started)

    @override
    def batches(self) -> Batches:
        yield from super().batches()
        read_at, has_rows = self._plan.services.read_at, any(reader.seen.distinct for reader in self._readers)
        if read_at is not None and not has_rows and self._may_hide_rows():
            read_at[self._plan.business_id].pop(self._plan.stream.name, None)

    def _may_hide_rows(self) -> bool:
        """Return whether Sage may only call the list empty because it does not offer it (rights.lists)."""
        try:
            return bool(self._plan.missing_offer())
        except (SkippableAPIError, FatalAPIError, RetriableAPIError):
            return True
