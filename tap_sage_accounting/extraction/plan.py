"""What reads work with: what all of a run share, and the list of one business that each is about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import SkippableAPIError

from tap_sage_accounting.api.access import request_access
from tap_sage_accounting.extraction.list_reader import ListReader

if TYPE_CHECKING:
    import logging
    from collections import defaultdict
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Executor
    from datetime import datetime, timedelta

    from tap_sage_accounting.api.endpoint import Endpoint
    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.api.pages import Page
    from tap_sage_accounting.declaration import StreamDeclaration
    from tap_sage_accounting.extraction.businesses import Business
    from tap_sage_accounting.extraction.changes import ChangedTransactions
    from tap_sage_accounting.extraction.list_reader import Source
    from tap_sage_accounting.extraction.prefetch import PagesAhead
    from tap_sage_accounting.extraction.scheduler import ReadScheduler
    from tap_sage_accounting.files.store import FileStore
    from tap_sage_accounting.records.converter import RowConversion
    from tap_sage_accounting.run.checkpoints import Checkpoints
    from tap_sage_accounting.run.report import RunReport

    Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the reads of one run share.

    Attributes:
        http_client: the one way to Sage.
        executor: the threads that send requests. The client lets no more through than are allowed.
        scheduler: starts reads before their turn.
        checkpoints: writes states, and the rows that wait for them.
        report: the outcome of every read.
        businesses: those that are read, by id, in Sage's order.
        resting: ids of those whose lists wait, as nothing was posted in them.
        unposted_wait: ids of those in which records that are not posted may wait, because they were read recently.
        lost_businesses: ids of those that earlier runs read and the user no longer sees.
        began_at: a moment that is not after the beginning of the run.
        stream_maps: the setting, as the user wrote it.
        end_files: completes the files of a read, where records go into files.
        add_deletion: writes a row of the stream `deletions`, if that is selected.
        changed_transactions: what reads of `transactions` bring, by business, until the trial balance looks at it; None
            where nothing does.
        read_at: when complete reads of lists began, by business and stream; None where no business may ever rest.
        file_store: where files of attachments are stored; None where they are not fetched.
    """

    http_client: HttpClient
    executor: Executor
    scheduler: ReadScheduler
    checkpoints: Checkpoints
    report: RunReport
    businesses: Mapping[str, Business]
    resting: frozenset[str]
    unposted_wait: frozenset[str]
    lost_businesses: frozenset[str]
    began_at: datetime
    stream_maps: Mapping[str, Any]
    end_files: Callable[[], None]
    add_deletion: Callable[[dict[str, Any]], None]
    changed_transactions: dict[str, ChangedTransactions] | None
    read_at: defaultdict[str | None, dict[str, datetime]] | None
    file_store: FileStore | None

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """The businesses of which lists are read, as the SDK's contexts of streams."""
        return [{"business_id": business_id} for business_id in self.businesses if business_id not in self.resting]

    def name_of(self, business_id: str | None) -> str:
        """Return the name of a business for a person; None stands for the user."""
        return "the user" if business_id is None else str(self.businesses.get(business_id, business_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """What a read of one list of one business works with.

    Attributes:
        stream: what the list offers.
        endpoint: where it is requested, with the parameters of this read.
        state: what earlier runs left of it; the read changes it.
        rows: makes records of rows.
        write_tombstones: sets `deleted_at` of rows, and leaves their other columns alone.
        report_deletion: adds a row to the stream `deletions`, from a key, a time and how the deletion was found.
        services: what all reads share.
        attributes: the attributes that are requested; None for Sage's summary of a row.
        columns: the columns of the stream.
        start_date: where to begin without a bookmark, None for the beginning.
        since: the change filter; None for everything.
        lookback: how late Sage may show a change, and how far its clocks may differ.
        is_incremental: the read moves a bookmark.
        is_resumable: a read that is cut short can go on where it was.
        is_first: no earlier run began this read, so that nothing it brings was deleted before.
        sweep_every: time after which a list is compared with what it held before.
        reread_days: documents of so many days are read again once a week.
        logger: the stream's.
    """

    stream: type[StreamDeclaration]
    endpoint: Endpoint
    state: dict[str, Any]
    rows: RowConversion
    write_tombstones: Callable[[Sequence[Record]], None]
    report_deletion: Callable[[str, str | None, str], None]
    services: Services
    attributes: str | None
    columns: AbstractSet[str]
    start_date: datetime | None
    since: datetime | None
    lookback: timedelta
    is_incremental: bool
    is_resumable: bool
    is_first: bool
    sweep_every: timedelta
    reread_days: int
    logger: logging.Logger

    @property
    def business_id(self) -> str | None:
        """The business; None for what belongs to the user."""
        return self.endpoint.business_id

    @property
    def deletions_wait(self) -> bool:
        """Whether its deletions were looked for so short ago that they may wait."""
        return self.stream.unposted and not self.is_first and self.business_id in self.services.unposted_wait

    @property
    def label(self) -> str:
        """What is read, in words."""
        return self.endpoint.label

    @property
    def pages_ahead(self) -> Callable[[], PagesAhead]:
        """What returns how many pages may be requested ahead of their use just now."""
        return partial(self.services.scheduler.pages_ahead, self.business_id)

    def reader(
        self,
        changes: Mapping[str, Any] | None = None,
        *,
        source: Source | None = None,
        delivered: Callable[[Page], None] | None = None,
    ) -> ListReader:
        """Prepare to read the list.

        Args:
            changes: query parameters that differ from those of the read; None leaves one out.
            source: where pages come from, if not from the endpoint itself.
            delivered: called with each page when all of its records were taken.
        """
        endpoint = self.endpoint.narrowed(changes) if changes else self.endpoint
        return ListReader(
            source or endpoint,
            self.services.executor,
            label=self.label,
            pages_ahead=self.pages_ahead,
            budget=self.services.scheduler.budget,
            size=endpoint.page_size,
            delivered=delivered,
        )

    def tombstone(self, key: str, deleted_at: str) -> Record:
        """Return the part of a row that says that it is deleted."""
        own_key = next(name for name in self.stream.primary_keys if name != "business_id")
        business = {} if self.business_id is None else {"business_id": self.business_id}
        return {**business, own_key: key, "deleted_at": deleted_at}

    def missing_offer(self) -> str:
        """Return why the list may only seem empty: the business's edition or the user's rights; "" for no reason."""
        if self.business_id is None:
            return ""
        access = request_access(self.endpoint.client, self.business_id, f"edition and rights for {self.label}")
        if reason := access.refusal(self.stream):
            return reason
        return access.subscription if access.has_ended and not self._has_accounts() else ""

    def _has_accounts(self) -> bool:
        """Return whether Sage shows the business's ledger accounts, which no business is without."""
        accounts = self.endpoint.sibling("/ledger_accounts", f"ledger accounts, to compare with {self.label}")
        try:
            return bool(accounts.page(1, 1).items)
        except SkippableAPIError:
            return False
