"""The interface of the strategies that find deletions, and two that are simple: none, and those that are flagged.

Rows may vanish from a list without having been deleted, such as open items that get paid. These are not looked for.
Where such a list matters, ACTIVATE_VERSION has the target drop what is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_sage_accounting import timestamps
from tap_sage_accounting.declaration import UPDATED_AT
from tap_sage_accounting.exceptions import RecordNotFoundError, RequestTooLargeError
from tap_sage_accounting.records.row_decoder import key_of
from tap_sage_accounting.run.checkpoints import Tracker
from tap_sage_accounting.timestamps import instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from tap_sage_accounting.api.endpoint import Endpoint
    from tap_sage_accounting.extraction.consistency import SeenRows
    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.records.row_decoder import Item

    Record = dict[str, Any]


def is_gone(endpoint: Endpoint, key: str) -> bool:
    """Request a record that a list did not show; it may only have moved from one page to another.

    Raises:
        SkippableAPIError: Sage refuses the record, which says nothing about whether it is there.
        RetriesExhaustedError: Sage does not respond.
    """
    try:
        endpoint.record_of(key, bare=True)
    except RecordNotFoundError:
        return True
    except RequestTooLargeError:
        return False  # what Sage fails on is still there
    return False


class Deletions(Tracker):
    """Finds what was deleted from one list of one business, beside a read that sees the list.

    Attributes:
        observes: it looks at each record.
        keyless: deletions that were left out because nothing says of which row.
    """

    observes = False

    def __init__(self, plan: ReadPlan, seen: Sequence[SeenRows]) -> None:
        self.plan = plan
        self._seen = seen
        self.state = plan.state
        self.keyless = 0

    @property
    def now(self) -> datetime:
        """A moment that is not after the one when the first page was served."""
        return self.started or timestamps.now()

    @property
    def started(self) -> datetime | None:
        """When the first page was served of the part of the list that was served first; None before."""
        return min((each.started for each in self._seen if each.started is not None), default=None)

    def start(self) -> None:
        """Send the first requests, to have their responses when they are needed."""

    def observe(self, row: Item, record: Any) -> None:
        """Look at a row of the read, as sent and as declared."""

    def reported(self) -> Iterator[Record]:
        """Yield records that are deleted."""
        yield from ()

    def was_replaced(self, newest: str | None) -> bool:
        """Return whether rows may have come *and* gone during the read; `newest` is the latest `updated_at` in it."""
        started = self.started
        if started is None:
            return False
        if UPDATED_AT not in self.plan.columns:
            return not self.plan.stream.static  # nothing shows whether a row came
        return newest is not None and newest >= instant(started - self.plan.lookback)

    def find_missing(self) -> None:
        """Compare the list with what it held before."""

    def finish(self) -> None:
        """Keep in the state what the next run needs, after a read that delivered everything."""


class FlaggedDeletions(Deletions):
    """Reports the records that bear a flag, and stay in the list: ledger entries and transactions."""

    observes = True

    @override
    def observe(self, row: Item, record: Any) -> None:
        flag = self.plan.stream.deletion_flag
        if flag is not None and record.get(flag):
            self.plan.report_deletion(key_of(row), record.get(UPDATED_AT), "flagged")

    @override
    def was_replaced(self, newest: str | None) -> bool:
        return False  # no row leaves the list
