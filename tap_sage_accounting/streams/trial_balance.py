"""The trial balance, month by month: the oracle that the ledger is checked against.

A transaction that changed tells the month that it is in, not the one that it was in before. What each account holds at
the end of a month is what it holds at the beginning of the next one; where that is not so, the earlier month is read
again, and the one before it, as far back as it takes. Changes that make up for each other account by account before the
first month that is read anyway would escape this; so after changes of older transactions all months are read again at
times, as often as other lists are swept for deletions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from zlib import crc32

from singer_sdk.exceptions import SkippableAPIError
from singer_sdk.streams.rest import HTTPRequest, PageContext
from typing_extensions import override

from tap_sage_accounting.api.pages import Page, PagePrefetcher, parse_json
from tap_sage_accounting.client import UPDATED_AT, SageStream
from tap_sage_accounting.exceptions import MalformedResponseError
from tap_sage_accounting.extraction.months import FIRST_MONTH, MOST_MONTHS, Month, first_month
from tap_sage_accounting.run.packed_ids import pack, unpack
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.run.state import ALL_READ_AT, CLOSINGS, LISTED, OLDER_CHANGED, READ_AT
from tap_sage_accounting.settings import parse_start_date
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context, Record

    from tap_sage_accounting.api.http_client import Response
    from tap_sage_accounting.extraction.list_reader import ListReader
    from tap_sage_accounting.extraction.scheduler import Batches
    from tap_sage_accounting.records.row_decoder import Item

CREATED_AT = "created_at"
NOTHING = {"debit": "0", "credit": "0"}
_UNKNOWN = "-" * 8
MONTHS_WITHOUT_SETTINGS = 24
"""How far back to read where neither the settings nor `start_date` tell when the accounts begin."""


@dataclass
class _Seen:
    """What is known of the months of one business.

    Attributes:
        listed: accounts that were ever listed.
        closings: what each month closed with when it was read last, in eight digits.
        idle: accounts to add to a month where Sage lists them no longer.
        met: accounts that were listed in this run for the first time.
        openings: what each month opened with that was read in this run.
        again: months that were read again because the next one opened with something else.
    """

    listed: set[str]
    closings: dict[Month, str]
    idle: list[Item] = field(default_factory=list)
    met: dict[str, Item] = field(default_factory=dict)
    openings: dict[Month, str] = field(default_factory=dict)
    again: set[Month] = field(default_factory=set)

    @classmethod
    def of(cls, state: dict[str, Any]) -> _Seen:
        """Read what the last run left in the state."""
        first, _, sums = state.get(CLOSINGS, "").partition(":")
        parts = [sums[place : place + len(_UNKNOWN)] for place in range(0, len(sums), len(_UNKNOWN))]
        closings = {
            Month.of(date.fromisoformat(first)).plus(number): part
            for number, part in enumerate(parts)
            if part != _UNKNOWN
        }
        return cls(unpack(state[LISTED]) if LISTED in state else set(), closings)

    def packed_closings(self) -> str:
        """Write down what months closed with, from the first one on without a gap."""
        first = min(self.closings)
        sums = [self.closings.get(month, _UNKNOWN) for month in first.until(max(self.closings))]
        return f"{first.first_day}:{''.join(sums)}"

    def note(self, month: Month, page: Page) -> list[Record]:
        """Look at the accounts of a month, and add those that Sage lists there no longer."""
        found = cast("list[Record]", page.items)
        self.openings[month] = _sum_of(found, "opening_balance")
        self.closings[month] = _sum_of(found, "closing_balance")
        new = {str(raw.get("id")): raw for raw in found}
        rows = _with_idle(found, [*self.idle, *self.met.values()] if month in self.again else self.idle)
        self.met |= {account: raw for account, raw in new.items() if account not in self.listed}
        self.listed |= new.keys()
        return rows

    def stale_month(self, opened: Month) -> Month | None:
        """Find a month that closed with something else than the next one opened with; each month is told once."""
        for month in sorted(self.openings, reverse=True):
            before = month.plus(-1)
            if before >= opened and before not in self.again and self.openings[month] != self.closings.get(before):
                self.again.add(before)
                return before
        return None


class TrialBalance(SageStream):
    """What every ledger account held at the start and the end of each month, and what moved in it."""

    name = "trial_balance"
    primary_keys = ("business_id", "from_date", "ledger_account_id")
    whole = False  # a run reads the months that may have changed

    @override
    def get_http_request(self, *, page: PageContext[Any]) -> HTTPRequest:
        month: Month = page.next_page_token  # type: ignore[assignment] # always given here
        params: dict[str, Any] = {"from_date": month.first_day, "to_date": month.last_day}
        return HTTPRequest(url=f"{self.url_base}/trial_balance", params=params)

    @override
    def begin(self, context: Context | None) -> tuple[Batches, Callable[[], Future[Any] | None]]:
        settings = self._tap.executor.submit(self._fetch_settings, context)
        return self.read_months(context, settings), lambda: settings

    def read_months(self, context: Context | None, settings: Future[Page]) -> Batches:
        """Yield the months that may have changed, then note when they were read."""
        now, opened = self._beginning(context, settings)
        if opened > Month.of(now):
            return  # no month has begun
        is_quiet = False
        state = self.get_context_state(context)
        seen = _Seen.of(state)
        opened = begin = self._first_month(context, opened, Month.of(now), seen)
        if (last_read := state.get(READ_AT)) and not (seen.closings and opened < min(seen.closings)):
            changed, is_quiet = self._first_changed(context, last_read, now)
            begin = max(begin, changed)
        if seen.listed:
            seen.idle = self._listed_before(context, seen)
        elif state.get(OLDER_CHANGED):  # accounts may have been listed that no part of the state names any more
            seen.idle = list(self._accounts(context))
        months = begin.until(Month.of(now))
        fetch = partial(self._fetch_month, context, months)
        with PagePrefetcher(fetch, self._tap.executor, self.width_of(context), counts_rows=False) as pages:
            for month, page in zip(months, pages, strict=True):
                yield [self._row(raw, month, page, context) for raw in seen.note(month, page)]
        while (stale := seen.stale_month(opened)) is not None:
            page = self._fetch_month(context, [stale], 1)
            yield [self._row(raw, stale, page, context) for raw in seen.note(stale, page)]
        with stop_signals.deferred():  # a state that is half of this read and half of the last one would be wrong
            if not is_quiet:  # else nothing changed since, whatever the clocks say
                state[READ_AT] = instant(now)
            state[LISTED] = pack(seen.listed)
            state[CLOSINGS] = seen.packed_closings()
            if begin == opened:
                state[ALL_READ_AT] = instant(now)
                state.pop(OLDER_CHANGED, None)

    def _listed_before(self, context: Context | None, seen: _Seen) -> list[Item]:
        return [account for account in self._accounts(context) if account.get("id") in seen.listed]

    def _accounts(self, context: Context | None) -> Iterator[Item]:
        reading = self._other_list(context, "ledger_accounts", {})
        for page in reading.pages():
            yield from page.items
        yield from reading.recover_missed_rows(lambda: False)

    def _fetch_month(self, context: Context | None, months: list[Month], number: int) -> Page:
        month = months[number - 1]
        label = f"{self.describe(context)}, {month.first_day} to {month.last_day}"

        def parse(answer: Response) -> Page:
            found = parse_json(answer.body, label)
            found = found.get("trial_balance", found) if isinstance(found, dict) else None
            accounts = found.get("ledger_accounts") if isinstance(found, dict) else None
            if not isinstance(accounts, list):
                raise MalformedResponseError(f"{label}: the answer has no `ledger_accounts`.")
            served = answer.served_at
            return Page(number, number, 1, accounts, total=len(months), has_next=False, served_at=served)

        return self.ask(self.get_http_request(page=PageContext(context, month)), context, label, parse)

    def _row(self, raw: Record, month: Month, page: Page, context: Context | None) -> Record:
        """Lay out one account of one month flat."""
        known = {"id", "opening_balance", "closing_balance"}
        flat = {name: value for name, value in raw.items() if name not in known}
        flat |= {"from_date": month.first_day, "to_date": month.last_day, "ledger_account_id": raw.get("id")}
        flat[READ_AT] = instant(page.served_at)
        for balance in ("opening_balance", "closing_balance"):
            for side, amount in (raw.get(balance) or {}).items():
                flat[f"{balance}_{side}"] = amount
        return self.clean(flat, context)

    def _beginning(self, context: Context | None, answer: Future[Page]) -> tuple[datetime, Month]:
        """Tell the present moment by Sage's clock, and the month in which to begin."""
        opened = None
        try:
            now, opened = answer.result().served_at, answer.result().items[0].get("accounts_start_date")
        except SkippableAPIError:
            first_page = next(iter(self._other_list(context, "ledger_accounts", {}).pages()))
            now = first_page.served_at
        if start := self.config.get("start_date"):
            return now, Month.of(parse_start_date(start).date())
        return now, Month.parse(opened) if opened else Month.of(now).plus(-MONTHS_WITHOUT_SETTINGS)

    def _first_month(self, context: Context | None, claimed: Month, last: Month, seen: _Seen) -> Month:
        """Find the month with which to begin, where the accounts are said to begin implausibly long ago."""
        transactions = self._list("transactions")

        def has_postings(first: Month, final: Month) -> bool:
            changes = {"from_date": first.first_day, "to_date": final.last_day, "updated_or_created_since": None}
            return bool(transactions.fetch_page(context, 1, {**changes, "attributes": None, "items_per_page": 1}).items)

        try:
            found = first_month(claimed, last, min(seen.closings, default=None), has_postings)
        except SkippableAPIError:
            found = max(claimed, last.plus(-MOST_MONTHS))
        if found != claimed:
            self.logger.info("%s should begin in %s; it is read from %s on.", self.describe(context), claimed, found)
        return found

    def _fetch_settings(self, context: Context | None) -> Page:
        label = f"accounts start date for {self.describe(context)}"

        def parse(answer: Response) -> Page:
            found = parse_json(answer.body, label)
            if not isinstance(found, dict):
                raise MalformedResponseError(f"{label}: the answer is not a single object.")
            return Page(1, 1, 1, [found], total=1, has_next=False, served_at=answer.served_at)

        return self.ask(HTTPRequest(url=f"{self.url_base}/financial_settings"), context, label, parse)

    def _first_changed(self, context: Context | None, last_read: str, now: datetime) -> tuple[Month, bool]:
        """Find the first month whose balances may differ from what was read last time.

        A change in a month moves the balances of all later ones. The last two months are always read again.

        Returns:
            The month, and whether no transaction changed.
        """
        state = self.get_context_state(context)
        since = parse_moment(last_read) - timedelta(seconds=self.config["lookback_window"])
        changes = {"attributes": f"date,{CREATED_AT},{UPDATED_AT}", "updated_or_created_since": instant(since)}
        transactions = self._other_list(context, "transactions", changes)
        try:
            rows = [row for page in transactions.pages() for row in page.items]
            rows += transactions.recover_missed_rows(lambda: False)
        except SkippableAPIError:
            return FIRST_MONTH, False
        if any(_may_have_moved(row, last_read) for row in rows):
            state[OLDER_CHANGED] = True
        days_between = timedelta(days=self.config["deletion_sweep_days"])
        all_read_at = parse_moment(state.get(ALL_READ_AT, last_read))
        if state.get(OLDER_CHANGED) and not timedelta() <= now - all_read_at < days_between:
            return FIRST_MONTH, not rows
        changed = [Month.parse(day) for row in rows if (day := row.get("date"))]
        return min([*changed, Month.of(now).plus(-1)]), not rows

    def _other_list(self, context: Context | None, name: str, changes: dict[str, Any]) -> ListReader:
        """Prepare a read of another list, with query parameters that differ from the usual ones."""
        return self._list(name).begin_read(context, {"updated_or_created_since": None, "attributes": None, **changes})

    def _list(self, name: str) -> SageStream:
        stream = self._tap.streams[name]
        if not isinstance(stream, SageStream):
            raise TypeError(name)
        return stream


def _may_have_moved(row: Item, last_read: str) -> bool:
    """Tell whether a transaction may have been in another month when the months were read last."""
    created_at, updated_at = row.get(CREATED_AT) or "", row.get(UPDATED_AT) or ""
    return created_at <= last_read or created_at < updated_at


def _sum_of(rows: list[Record], balance: str) -> str:
    """Make eight digits of what all accounts held: the same for the same balances, however they are written."""
    held = []
    for row in rows:
        sides = row.get(balance) or {}
        amount = Decimal(str(sides.get("debit") or 0)) - Decimal(str(sides.get("credit") or 0))
        if amount:
            held.append(f"{row.get('id')} {amount.normalize()}")
    return f"{crc32(' '.join(sorted(held)).encode()):08x}"


def _with_idle(rows: list[Record], accounts: list[Item]) -> list[Record]:
    """Add the accounts that Sage no longer lists because nothing is in them, so that earlier rows do not go stale."""
    present = {row.get("id") for row in rows}
    idle = {"opening_balance": NOTHING, "closing_balance": NOTHING, **NOTHING}
    return rows + [
        {"id": account.get("id"), "displayed_as": account.get("displayed_as"), "$path": account.get("$path"), **idle}
        for account in accounts
        if account.get("id") not in present
    ]
