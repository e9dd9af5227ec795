"""The trial balance, month by month: the oracle that the ledger is checked against."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import SkippableAPIError
from singer_sdk.streams.rest import HTTPRequest, PageContext
from typing_extensions import override

from tap_sage_accounting.client import SageStream
from tap_sage_accounting.deletions import pack, unpack
from tap_sage_accounting.errors import MalformedAnswerError
from tap_sage_accounting.paging import Page, PagesAhead, parse_json, served_at
from tap_sage_accounting.settings import parse_start_date
from tap_sage_accounting.timestamps import instant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    import requests
    from singer_sdk.helpers.types import Context, Record

    from tap_sage_accounting.lookahead import StartedRead
    from tap_sage_accounting.reading import ListRead

READ_AT = "read_at"
"""The state's key for the moment, by Sage's clock, at which the last complete read began."""
LISTED = "accounts"
"""The state's key for the accounts that were ever listed, packed."""
NOTHING = {"debit": "0", "credit": "0"}
MONTHS_WITHOUT_SETTINGS = 24
"""How far back to read where neither the settings nor `start_date` tell when the accounts begin."""


@dataclass(frozen=True, order=True, slots=True)
class Month:
    """A calendar month."""

    year: int
    month: int

    @classmethod
    def of(cls, day: date) -> Month:
        """Find the month of a day."""
        return cls(day.year, day.month)

    def plus(self, months: int) -> Month:
        """Count months forward or, negative, back."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(year, month + 1)

    def until(self, last: Month) -> list[Month]:
        """List the months from this one to another, both included."""
        count = (last.year - self.year) * 12 + last.month - self.month + 1
        return [self.plus(index) for index in range(count)]

    @property
    def first_day(self) -> str:
        """The first day, `2026-06-01`."""
        return date(self.year, self.month, 1).isoformat()

    @property
    def last_day(self) -> str:
        """The last day, `2026-06-30`."""
        return date(self.year, self.month, monthrange(self.year, self.month)[1]).isoformat()


class TrialBalance(SageStream):
    """What every ledger account held at the start and the end of each month, and what moved in it."""

    name = "trial_balance"
    primary_keys = ("business_id", "from_date", "ledger_account_id")

    @override
    def get_http_request(self, *, page: PageContext[Any]) -> HTTPRequest:
        month: Month = page.next_page_token  # type: ignore[assignment] # always given here
        params: dict[str, Any] = {"from_date": month.first_day, "to_date": month.last_day}
        return HTTPRequest(url=f"{self.url_base}/trial_balance", params=params)

    @override
    def start(self, context: Context | None) -> StartedRead:
        return partial(self.read_months, context, self._tap.executor.submit(self._fetch_settings, context))

    def read_months(self, context: Context | None, settings: Future[Page]) -> Iterator[Record]:
        """Yield the months that may have changed, then note when they were read."""
        now, begin = self._beginning(context, settings)
        state = self.get_context_state(context)
        listed = unpack(state[LISTED]) if LISTED in state else set()
        idle: list[Record] = []
        if last_read := state.get(READ_AT):
            begin = max(begin, self._first_changed(context, last_read, now))
            accounts = self._other_list(context, "ledger_accounts", {}).pages()
            idle = [account for page in accounts for account in page.items if account["id"] in listed]
        months = begin.until(Month.of(now))
        with PagesAhead(lambda n: self._fetch_month(context, months, n), self._tap.executor, self.width) as pages:
            for month, page in zip(months, pages, strict=True):
                listed |= {raw["id"] for raw in page.items}
                yield from (self._row(raw, month, context) for raw in _with_idle(page.items, idle))
        state[READ_AT] = instant(now)
        state[LISTED] = pack(listed)

    def _fetch_month(self, context: Context | None, months: list[Month], number: int) -> Page:
        month = months[number - 1]
        what = f"{self.describe(context)}, {month.first_day} to {month.last_day}"

        def parse(response: requests.Response) -> Page:
            found = parse_json(response.content, what)
            found = found.get("trial_balance", found) if isinstance(found, dict) else None
            accounts = found.get("ledger_accounts") if isinstance(found, dict) else None
            if not isinstance(accounts, list):
                raise MalformedAnswerError(f"{what}: the answer has no `ledger_accounts`.")
            served = served_at(response)
            return Page(number, number, 1, accounts, total=len(months), has_next=False, served_at=served)

        return self.ask(self.get_http_request(page=PageContext(context, month)), context, what, parse)

    def _row(self, raw: Record, month: Month, context: Context | None) -> Record:
        """Lay out one account of one month flat."""
        known = {"id", "opening_balance", "closing_balance"}
        flat = {name: value for name, value in raw.items() if name not in known}
        flat |= {"from_date": month.first_day, "to_date": month.last_day, "ledger_account_id": raw["id"]}
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
        return now, Month.of(date.fromisoformat(opened)) if opened else Month.of(now).plus(-MONTHS_WITHOUT_SETTINGS)

    def _fetch_settings(self, context: Context | None) -> Page:
        what = f"accounts start date for {self.describe(context)}"

        def parse(response: requests.Response) -> Page:
            found = parse_json(response.content, what)
            if not isinstance(found, dict):
                raise MalformedAnswerError(f"{what}: the answer is not a single object.")
            return Page(1, 1, 1, [found], total=1, has_next=False, served_at=served_at(response))

        return self.ask(HTTPRequest(url=f"{self.url_base}/financial_settings"), context, what, parse)

    def _first_changed(self, context: Context | None, last_read: str, now: datetime) -> Month:
        """Find the first month whose balances may differ from what was read last time.

        A change in a month moves the balances of all later ones. The last two months are always read again.
        """
        since = datetime.fromisoformat(last_read) - timedelta(seconds=self.config["lookback_window"])
        changes = {"attributes": "date", "updated_or_created_since": instant(since)}
        transactions = self._other_list(context, "transactions", changes)
        try:
            days = [row.get("date") for page in transactions.pages() for row in page.items]
            days += [row.get("date") for row in transactions.slipped(lambda: False)]
        except SkippableAPIError:
            return Month(1, 1)
        changed = [Month.of(date.fromisoformat(day)) for day in days if day]
        return min([*changed, Month.of(now).plus(-1)])

    def _other_list(self, context: Context | None, name: str, changes: dict[str, Any]) -> ListRead:
        """Prepare a read of another list, with query parameters that differ from the usual ones."""
        stream = self._tap.streams[name]
        if not isinstance(stream, SageStream):
            raise TypeError(name)
        return stream.begin_read(context, {"updated_or_created_since": None, "attributes": None, **changes})


def _with_idle(rows: list[Record], accounts: list[Record]) -> list[Record]:
    """Add the accounts that Sage no longer lists because nothing is in them, so that earlier rows do not go stale."""
    present = {row.get("id") for row in rows}
    idle = {"opening_balance": NOTHING, "closing_balance": NOTHING, **NOTHING}
    return rows + [
        {"id": account["id"], "displayed_as": account.get("displayed_as"), "$path": account.get("$path"), **idle}
        for account in accounts
        if account["id"] not in present
    ]
