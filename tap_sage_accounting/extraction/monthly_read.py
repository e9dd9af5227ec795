"""The read of the trial balance of one business, month by month.

A transaction that changed shows the month that it is in, not the one that it was in before. An account's closing
balance of a month is its opening balance of the next one. Where the two differ, the earlier month is read again, and
those before it as far as needed. What the trial balance lags behind (ledger.trial_balance_lag), the next run reads.
Changes of earlier months that cancel each other out, account by account, would escape this. So after changes of older
transactions all months are read again, as often as other lists are swept for deletions.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import SkippableAPIError
from typing_extensions import override

from tap_sage_accounting.api.pages import Page
from tap_sage_accounting.exceptions import MalformedResponseError, UndeliverableError
from tap_sage_accounting.extraction.changes import ATTRIBUTES, Change
from tap_sage_accounting.extraction.months import FIRST_MONTH, MOST_MONTHS, Month, MonthlyBalances, first_month
from tap_sage_accounting.extraction.prefetch import PagePrefetcher
from tap_sage_accounting.run.checkpoints import Delivery, Tracker
from tap_sage_accounting.run.packed_ids import pack
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.run.state_parts import ALL_READ_AT, LISTED, OLDER_CHANGED, READ_AT, is_due
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from tap_sage_accounting.api.endpoint import Endpoint
    from tap_sage_accounting.api.request import Request, Response
    from tap_sage_accounting.extraction.list_reader import ListReader
    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.extraction.scheduler import Batches
    from tap_sage_accounting.records.row_decoder import Item

    Record = dict[str, Any]

MONTHS_WITHOUT_SETTINGS = 24
"""How far back to read where neither the settings nor `start_date` say when the accounts begin."""

SHORT_HISTORY = 12
"""Months that are read without a look at where the postings begin."""


class MonthlyRead:
    """The read of the trial balance of one business."""

    def __init__(self, plan: ReadPlan) -> None:
        self._plan = plan
        self._state = plan.state
        self._seen = MonthlyBalances.of(plan.state)
        self._undeliverable: Sequence[str] = ()
        self._transactions = (plan.services.changed_transactions or {}).pop(plan.business_id or "", None)
        is_known = self._transactions is not None and (plan.start_date or self._kept_beginning)
        self._settings = None if is_known else plan.services.executor.submit(self._request_settings)

    @staticmethod
    def first_requests(*_: object) -> list[Request]:
        """List no request: what a read begins with depends on others."""
        return []

    @property
    def awaited(self) -> Future[Any] | None:
        """The settings, which say when the accounts begin; None where that is known."""
        return self._settings

    def batches(self) -> Batches:
        """Yield the months that may have changed, then note when they were read."""
        state, seen = self._state, self._seen
        now, claimed = self._beginning()
        last = Month.of(now)
        if claimed > last:
            return  # no month has begun
        is_quiet, as_of = False, now
        opened = begin = max(claimed, last.plus(-MOST_MONTHS))
        if (last_read := state.get(READ_AT)) and not (seen.closings and opened < min(seen.closings)):
            changed, is_quiet, as_of = self._first_changed(last_read, now)
            begin = max(begin, changed)
        if is_whole := begin == opened:
            begin = self._first_posted(claimed, opened, last)
        floor = opened if claimed == opened else min(begin, seen.first_read or begin)
        seen.find_idle = cache(self._find_idle)
        seen.is_doubtful = bool(state.get(OLDER_CHANGED)) and not seen.listed
        delivery = Delivery(self._plan.services.checkpoints, _ListedAccounts(state, seen))
        months = begin.until(last)
        fetch = partial(self._request_month, months)
        services, ahead = self._plan.services, self._plan.pages_ahead
        with PagePrefetcher(
            fetch, services.executor, ahead, budget=services.scheduler.budget, counts_rows=False
        ) as pages:
            for month, page in zip(months, pages, strict=True):
                rows = [self._record(raw, month, page) for raw in seen.add_month(month, page)]
                yield delivery.of(rows, rows)
        while (stale := seen.stale_month(floor)) is not None:
            page = self._request_month([stale], 1)
            rows = [self._record(raw, stale, page) for raw in seen.add_month(stale, page)]
            yield delivery.of(rows, rows)
        if undeliverable := self._undeliverable:
            raise UndeliverableError(
                f"Sage lists ledger accounts that it does not deliver ({', '.join(undeliverable)}). The months came; "
                "the next run reads them again. If it goes on, report the request ids above to Sage."
            )
        delivery.finish(lambda: self._finish(opened, None if is_quiet else as_of, now if is_whole else None))

    def _finish(self, opened: Month, read_at: datetime | None, all_read_at: datetime | None) -> None:
        """Put into the state what was read, and up to when; None where that stays as it is."""
        state = self._state
        with stop_signals.deferred():  # a state that is half of this read and half of the last one would be wrong
            if read_at is not None:  # else nothing changed since, whatever the clocks say
                state[READ_AT] = instant(read_at)
            self._seen.write(state, opened)
            if all_read_at is not None:
                state[ALL_READ_AT] = instant(all_read_at)
                state.pop(OLDER_CHANGED, None)

    def _beginning(self) -> tuple[datetime, Month]:
        """Return the present moment by Sage's clock, and the month in which to begin."""
        transactions, start = self._transactions, self._plan.start_date
        begins = Month.of(start.date()) if start else self._kept_beginning
        if self._settings is None and transactions is not None and transactions.read_at and begins:
            return transactions.read_at, begins
        settings = self._settings or self._plan.services.executor.submit(self._request_settings)
        opened = None
        try:
            now, opened = settings.result()
        except SkippableAPIError:
            first_page = next(iter(self._reader("ledger_accounts", {}).pages()))
            now = first_page.served_at
        if start:
            return now, Month.of(start.date())
        return now, Month.parse(opened) if opened else Month.of(now).plus(-MONTHS_WITHOUT_SETTINGS)

    @property
    def _kept_beginning(self) -> Month | None:
        """The month in which the last run began, where the settings may wait."""
        may_wait = READ_AT in self._state and self._plan.business_id in self._plan.services.unposted_wait
        return min(self._seen.closings, default=None) if may_wait else None

    def _first_posted(self, claimed: Month, opened: Month, last: Month) -> Month:
        """Find the month with which to begin where all are due, and leave out those before: nothing was posted yet.

        Months that were read once are read again: rows of them may have been delivered. Finally the transactions from
        the month on must be as many as all: some may have no date.
        """
        transactions, known = self._sibling("transactions"), self._seen.first_read
        start = {} if claimed == opened else {"from_date": opened.first_day}

        def count(span: dict[str, str]) -> int | None:
            return transactions.narrowed(span).page(1, 1).total

        def is_empty_until(month: Month) -> bool:
            return count({**start, "to_date": month.last_day}) == 0

        if last - opened < SHORT_HISTORY or (READ_AT not in self._state and OLDER_CHANGED in self._state):
            return opened  # nothing to gain, or an earlier run delivered rows that the state knows nothing of
        try:
            found = first_month(opened, known or last, known.plus(-1) if known else opened, is_empty_until)
            if found > opened and not 0 != count({"from_date": found.first_day}) == count(start):
                found = opened
        except SkippableAPIError:
            return opened
        if found != claimed:
            self._plan.logger.info("%s should begin in %s; it is read from %s on.", self._plan.label, claimed, found)
        self._seen.leave_out(opened.until(found.plus(-1)))
        return found

    def _find_idle(self) -> list[Item]:
        """Request the accounts that Sage lists no longer in a month though it did once."""
        accounts, listed = self._reader("ledger_accounts", {}), self._seen.listed - self._seen.met.keys()
        found = [each for each in accounts.rows() if not listed or each.get("id") in listed]
        self._undeliverable = accounts.undeliverable
        return found

    def _first_changed(self, last_read: str, now: datetime) -> tuple[Month, bool, datetime]:
        """Find the first month whose balances may differ from what was read last time.

        A change in a month moves the balances of all later ones. The last two months are always read again.

        Returns:
            The month, whether no transaction changed, and up to when that is known.
        """
        state = self._state
        since = parse_moment(last_read) - self._plan.lookback
        rows, as_of = None, now
        if self._transactions is not None and (rows := self._transactions.after(since)) is not None:
            as_of = self._transactions.read_at or now
        elif (rows := self._request_changes(since)) is None:
            return FIRST_MONTH, False, now
        if any(_may_have_moved(row, last_read) for row in rows):
            state[OLDER_CHANGED] = True
        if state.get(OLDER_CHANGED) and is_due(state.get(ALL_READ_AT, last_read), self._plan.sweep_every, now):
            return FIRST_MONTH, not rows, as_of
        return min([*(Month.parse(row.date) for row in rows), Month.of(now).plus(-1)]), not rows, as_of

    def _request_changes(self, since: datetime) -> list[Change] | None:
        """Request the transactions that changed; None where they may be of any date."""
        changes = {"attributes": ",".join(ATTRIBUTES), "updated_or_created_since": instant(since)}
        transactions = self._reader("transactions", changes)
        try:
            rows = [Change.of(row) for row in transactions.rows()]
        except SkippableAPIError:
            return None
        return None if transactions.undeliverable else rows

    # Requests

    def _sibling(self, name: str) -> Endpoint:
        place = self._plan.services.name_of(self._plan.business_id)
        return self._plan.endpoint.sibling(f"/{name}", f"'{name}' of {place}")

    def _reader(self, name: str, params: dict[str, Any]) -> ListReader:
        """Prepare to read another list of the business."""
        return replace(self._plan, endpoint=self._sibling(name).narrowed(params)).reader()

    def _request_settings(self) -> tuple[datetime, Any]:
        """Return the present moment by Sage's clock, and when the accounts begin by the settings."""

        def parse(response: Response) -> tuple[datetime, Any]:
            found = response.json()
            if not isinstance(found, dict):
                raise MalformedResponseError(f"{response.label}: the response is not a single object.")
            return response.served_at, found.get("accounts_start_date")

        label = f"accounts start date for {self._plan.label}"
        return self._plan.endpoint.sibling("/financial_settings", label).get(parse)

    def _request_month(self, months: list[Month], number: int) -> Page:
        """Return the accounts of one of several months, as a page of them."""
        month = months[number - 1]

        def parse(response: Response) -> Page:
            found = response.json()
            found = found.get("trial_balance", found) if isinstance(found, dict) else None
            accounts = found.get("ledger_accounts") if isinstance(found, dict) else None
            if not isinstance(accounts, list):
                raise MalformedResponseError(f"{response.label}: the response has no `ledger_accounts`.")
            total, served_at = len(months), response.served_at
            return Page(number, number, 1, accounts, total=total, has_next=False, served_at=served_at)

        params = {"from_date": month.first_day, "to_date": month.last_day}
        return self._plan.endpoint.get(parse, params, part=f", {month.first_day} to {month.last_day}")

    def _record(self, raw: Record, month: Month, page: Page) -> Record:
        """Lay out one account of one month flat."""
        known = {"id", "opening_balance", "closing_balance"}
        flat = {name: value for name, value in raw.items() if name not in known}
        flat |= {"from_date": month.first_day, "to_date": month.last_day}
        flat["ledger_account_id"] = raw.get("id")  # without one, the read fails (ledger.trial_balance_ids)
        flat[READ_AT] = instant(page.served_at)
        for balance in ("opening_balance", "closing_balance"):
            for side, amount in (raw.get(balance) or {}).items():
                flat[f"{balance}_{side}"] = amount
        return self._plan.rows.convert(flat)


class _ListedAccounts(Tracker):
    """Names the accounts of rows in the state before the rows are delivered.

    If the run is killed, the next one learns of them from the state. Otherwise rows of accounts that Sage lists no
    longer by then would go stale. Before the first read is complete, the state names none: it says that there may be
    some.
    """

    def __init__(self, state: dict[str, Any], seen: MonthlyBalances) -> None:
        self._state = state
        self._seen = seen
        self._named = len(seen.listed)

    @override
    def track_before_delivery(self, items: Sequence[Item]) -> bool:
        if READ_AT not in self._state:
            return bool(items) and OLDER_CHANGED not in self._state
        before, self._named = self._named, len(self._seen.listed)
        return self._named > before

    @override
    def write_to_state(self) -> None:
        if READ_AT in self._state:
            self._state[LISTED] = pack(self._seen.listed)
        else:
            self._state[OLDER_CHANGED] = True

    @override
    def snapshot(self) -> str | None:
        return self._state.get(LISTED)

    @override
    def restore(self, snapshot: str | None) -> None:
        if READ_AT not in self._state:
            self._state.pop(OLDER_CHANGED, None)
        elif snapshot is not None:
            self._state[LISTED] = snapshot


def _may_have_moved(row: Change, last_read: str) -> bool:
    """Return whether a transaction may have been in another month when the months were read last."""
    return row.created_at <= last_read or row.created_at < row.updated_at
