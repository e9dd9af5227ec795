"""The read of the trial balance of one business, month by month.

A transaction that changed shows the month that it is in, not the one that it was in before. What each account holds at
the end of a month is what it holds at the beginning of the next one; where that is not so, the earlier month is read
again, and the one before it, as far back as it takes. Changes that make up for each other account by account before the
first month that is read anyway would escape this; so after changes of older transactions all months are read again at
times, as often as other lists are swept for deletions.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import SkippableAPIError

from tap_sage_accounting.api.pages import Page
from tap_sage_accounting.declaration import CREATED_AT, UPDATED_AT
from tap_sage_accounting.exceptions import MalformedResponseError
from tap_sage_accounting.extraction.months import FIRST_MONTH, MOST_MONTHS, Month, MonthlyBalances, first_month
from tap_sage_accounting.extraction.prefetch import PagePrefetcher
from tap_sage_accounting.run.packed_ids import pack
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.run.state_parts import ALL_READ_AT, CLOSINGS, LISTED, OLDER_CHANGED, READ_AT, is_due
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from concurrent.futures import Future
    from datetime import datetime

    from tap_sage_accounting.api.endpoint import Endpoint
    from tap_sage_accounting.api.request import Response
    from tap_sage_accounting.extraction.list_reader import ListReader
    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.extraction.scheduler import Batches
    from tap_sage_accounting.records.row_decoder import Item

    Record = dict[str, Any]

MONTHS_WITHOUT_SETTINGS = 24
"""How far back to read where neither the settings nor `start_date` say when the accounts begin."""


class MonthlyRead:
    """The read of the trial balance of one business."""

    def __init__(self, plan: ReadPlan) -> None:
        self._plan = plan
        self._state = plan.state
        self._seen = MonthlyBalances.of(plan.state)
        self._settings = plan.services.executor.submit(self._request_settings)

    @property
    def awaited(self) -> Future[Any] | None:
        """The settings, which say when the accounts begin."""
        return self._settings

    def batches(self) -> Batches:
        """Yield the months that may have changed, then note when they were read."""
        state, seen = self._state, self._seen
        now, opened = self._beginning()
        if opened > Month.of(now):
            return  # no month has begun
        is_quiet = False
        opened = begin = self._first_month(opened, Month.of(now))
        if (last_read := state.get(READ_AT)) and not (seen.closings and opened < min(seen.closings)):
            changed, is_quiet = self._first_changed(last_read, now)
            begin = max(begin, changed)
        if seen.listed:
            accounts = self._reader("ledger_accounts", {}).rows()
            seen.idle = [account for account in accounts if account.get("id") in seen.listed]
        elif state.get(OLDER_CHANGED):  # accounts may have been listed that no part of the state names any more
            seen.idle = list(self._reader("ledger_accounts", {}).rows())
        months = begin.until(Month.of(now))
        fetch = partial(self._request_month, months)
        services, ahead = self._plan.services, self._plan.pages_ahead
        with PagePrefetcher(
            fetch, services.executor, ahead, budget=services.scheduler.budget, counts_rows=False
        ) as pages:
            for month, page in zip(months, pages, strict=True):
                yield [self._record(raw, month, page) for raw in seen.add_month(month, page)]
        while (stale := seen.stale_month(opened)) is not None:
            page = self._request_month([stale], 1)
            yield [self._record(raw, stale, page) for raw in seen.add_month(stale, page)]
        with stop_signals.deferred():  # a state that is half of this read and half of the last one would be wrong
            if not is_quiet:  # else nothing changed since, whatever the clocks say
                state[READ_AT] = instant(now)
            state[LISTED] = pack(seen.listed)
            state[CLOSINGS] = seen.packed_closings()
            if begin == opened:
                state[ALL_READ_AT] = instant(now)
                state.pop(OLDER_CHANGED, None)

    def _beginning(self) -> tuple[datetime, Month]:
        """Return the present moment by Sage's clock, and the month in which to begin."""
        opened = None
        try:
            now, opened = self._settings.result()
        except SkippableAPIError:
            first_page = next(iter(self._reader("ledger_accounts", {}).pages()))
            now = first_page.served_at
        if start := self._plan.start_date:
            return now, Month.of(start.date())
        return now, Month.parse(opened) if opened else Month.of(now).plus(-MONTHS_WITHOUT_SETTINGS)

    def _first_month(self, claimed: Month, last: Month) -> Month:
        """Find the month with which to begin, where the accounts are said to begin implausibly long ago."""
        transactions = self._sibling("transactions")

        def has_postings(first: Month, final: Month) -> bool:
            span = {"from_date": first.first_day, "to_date": final.last_day}
            return bool(transactions.narrowed(span).page(1, 1).items)

        try:
            found = first_month(claimed, last, min(self._seen.closings, default=None), has_postings)
        except SkippableAPIError:
            found = max(claimed, last.plus(-MOST_MONTHS))
        if found != claimed:
            self._plan.logger.info("%s should begin in %s; it is read from %s on.", self._plan.label, claimed, found)
        return found

    def _first_changed(self, last_read: str, now: datetime) -> tuple[Month, bool]:
        """Find the first month whose balances may differ from what was read last time.

        A change in a month moves the balances of all later ones. The last two months are always read again.

        Returns:
            The month, and whether no transaction changed.
        """
        state = self._state
        since = parse_moment(last_read) - self._plan.lookback
        changes = {"attributes": f"date,{CREATED_AT},{UPDATED_AT}", "updated_or_created_since": instant(since)}
        transactions = self._reader("transactions", changes)
        try:
            rows = list(transactions.rows())
        except SkippableAPIError:
            return FIRST_MONTH, False
        if any(_may_have_moved(row, last_read) for row in rows):
            state[OLDER_CHANGED] = True
        if state.get(OLDER_CHANGED) and is_due(state.get(ALL_READ_AT, last_read), self._plan.sweep_every, now):
            return FIRST_MONTH, not rows
        changed = [Month.parse(day) for row in rows if (day := row.get("date"))]
        return min([*changed, Month.of(now).plus(-1)]), not rows

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
                raise MalformedResponseError(f"{response.label}: the answer is not a single object.")
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
                raise MalformedResponseError(f"{response.label}: the answer has no `ledger_accounts`.")
            total, served_at = len(months), response.served_at
            return Page(number, number, 1, accounts, total=total, has_next=False, served_at=served_at)

        params = {"from_date": month.first_day, "to_date": month.last_day}
        return self._plan.endpoint.get(parse, params, part=f", {month.first_day} to {month.last_day}")

    def _record(self, raw: Record, month: Month, page: Page) -> Record:
        """Lay out one account of one month flat."""
        known = {"id", "opening_balance", "closing_balance"}
        flat = {name: value for name, value in raw.items() if name not in known}
        flat |= {"from_date": month.first_day, "to_date": month.last_day, "ledger_account_id": raw.get("id")}
        flat[READ_AT] = instant(page.served_at)
        for balance in ("opening_balance", "closing_balance"):
            for side, amount in (raw.get(balance) or {}).items():
                flat[f"{balance}_{side}"] = amount
        return self._plan.rows.convert(flat)


def _may_have_moved(row: Item, last_read: str) -> bool:
    """Return whether a transaction may have been in another month when the months were read last."""
    created_at, updated_at = row.get(CREATED_AT) or "", row.get(UPDATED_AT) or ""
    return created_at <= last_read or created_at < updated_at
