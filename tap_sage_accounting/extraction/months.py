"""The months of a business's trial balance: the one with which it begins, and what is known of each.

When accounts begin is typed by people, and so are the dates of postings. Neither is taken for the number of requests
that a read is worth.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from zlib import crc32

from tap_sage_accounting.run.packed_ids import pack, unpack
from tap_sage_accounting.run.state_parts import CLOSINGS, EMPTY_SINCE, LISTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_sage_accounting.api.pages import Page
    from tap_sage_accounting.records.row_decoder import Item

    Record = dict[str, Any]

MOST_MONTHS = 600
"""Months that are read at most: fifty years. What is dated earlier was mistyped."""
NOTHING = {"debit": "0", "credit": "0"}
NOTHING_HELD = "0" * 8
"""What `_sum_of` makes of accounts that hold nothing."""
_UNKNOWN = "-" * 8


@dataclass(frozen=True, order=True, slots=True)
class Month:
    """A calendar month."""

    year: int
    month: int

    @classmethod
    def of(cls, day: date) -> Month:
        """Find the month of a day."""
        return cls(day.year, day.month)

    @classmethod
    def parse(cls, text: Any) -> Month:
        """Read the month of a date, `2026-06-30`; the first one of all where it is no date."""
        try:
            return cls.of(date.fromisoformat(str(text)[:10]))
        except ValueError:
            return FIRST_MONTH

    def plus(self, months: int) -> Month:
        """Count months forward or, negative, back."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(year, month + 1)

    def until(self, last: Month) -> list[Month]:
        """List the months from this one to another, both included."""
        return [self.plus(index) for index in range(last - self + 1)]

    def __sub__(self, other: Month) -> int:
        """Count the months from another one to this one."""
        return (self.year - other.year) * 12 + self.month - other.month

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def first_day(self) -> str:
        """The first day, `2026-06-01`."""
        return date(self.year, self.month, 1).isoformat()

    @property
    def last_day(self) -> str:
        """The last day, `2026-06-30`."""
        return date(self.year, self.month, monthrange(self.year, self.month)[1]).isoformat()


FIRST_MONTH = Month(1, 1)


def first_month(opened: Month, last: Month, likely: Month, is_empty_until: Callable[[Month], bool]) -> Month:
    """Find the month of the first posting: before it no account holds anything.

    Args:
        opened: the first month that may be read.
        last: the month to return where there is no earlier one.
        likely: the month that is looked at first.
        is_empty_until: requests whether nothing was posted up to the end of a month.
    """
    first, middle = opened, likely
    while first < last:
        if is_empty_until(middle):
            first = middle.plus(1)
        else:
            last = middle
        middle = first.plus((last - first) // 2)
    return first


@dataclass
class MonthlyBalances:
    """What is known of the months of one business.

    Attributes:
        listed: accounts that were ever listed.
        closings: what each month closed with when it was read last, in eight digits.
        empty: months that were never read, because nothing had been posted up to their end.
        find_idle: returns the accounts to add to a month where Sage lists them no longer.
        is_doubtful: accounts may have been listed that nobody knows of.
        met: accounts that were listed in this run for the first time.
        openings: what each month opened with that was read in this run.
        again: months that were read again because the next one opened with something else.
    """

    listed: set[str]
    closings: dict[Month, str]
    empty: set[Month] = field(default_factory=set)
    find_idle: Callable[[], list[Item]] = list
    is_doubtful: bool = False
    met: dict[str, Item] = field(default_factory=dict)
    openings: dict[Month, str] = field(default_factory=dict)
    again: set[Month] = field(default_factory=set)

    @classmethod
    def of(cls, state: dict[str, Any]) -> MonthlyBalances:
        """Read what the last run left in the state."""
        first, _, sums = state.get(CLOSINGS, "").partition(":")
        parts = [sums[place : place + len(_UNKNOWN)] for place in range(0, len(sums), len(_UNKNOWN))]
        closings = {Month.parse(first).plus(number): part for number, part in enumerate(parts) if part != _UNKNOWN}
        found = cls(unpack(state[LISTED]) if LISTED in state else set(), closings)
        if closings and EMPTY_SINCE in state:
            found.leave_out(Month.parse(state[EMPTY_SINCE]).until(min(closings).plus(-1)))
        return found

    @property
    def first_read(self) -> Month | None:
        """The first month that was ever read."""
        return min(self.closings.keys() - self.empty, default=None)

    def leave_out(self, months: list[Month]) -> None:
        """Take for granted that months hold nothing, and close with nothing."""
        self.empty.update(months)
        self.closings |= dict.fromkeys(months, NOTHING_HELD)

    def write(self, state: dict[str, Any], opened: Month) -> None:
        """Leave in the state what the next run needs: closings from the first month read on, without a gap.

        Those before the accounts begin are left out: changes there go unnoticed. They must be read again if the
        accounts begin earlier once more.
        """
        state[LISTED] = pack(self.listed)
        self.empty = {month for month in self.empty if month >= opened}
        self.closings = {month: held for month, held in self.closings.items() if month >= opened}
        first = min(self.closings.keys() - self.empty)
        sums = [self.closings.get(month, _UNKNOWN) for month in first.until(max(self.closings))]
        state[CLOSINGS] = f"{first.first_day}:{''.join(sums)}"
        state.pop(EMPTY_SINCE, None)
        if self.empty:
            state[EMPTY_SINCE] = min(self.empty).first_day

    def add_month(self, month: Month, page: Page) -> list[Record]:
        """Look at the accounts of a month, and add those that Sage lists there no longer."""
        found = cast("list[Record]", page.items)
        self.openings[month] = _sum_of(found, "opening_balance")
        self.closings[month] = _sum_of(found, "closing_balance")
        self.empty.discard(month)
        new = {str(raw.get("id")): raw for raw in found}
        known = self.listed - self.met.keys()
        idle = self.find_idle() if self.is_doubtful or known - new.keys() else []
        rows = _with_idle(found, [*idle, *self.met.values()] if month in self.again else idle)
        self.met |= {account: raw for account, raw in new.items() if account not in self.listed}
        self.listed |= new.keys()
        return rows

    def stale_month(self, opened: Month) -> Month | None:
        """Find a month that closed with something else than the next one opened with; each month is returned once."""
        for month in sorted(self.openings, reverse=True):
            before = month.plus(-1)
            if before >= opened and before not in self.again and self.openings[month] != self.closings.get(before):
                self.again.add(before)
                return before
        return None


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
    """Add the empty accounts that Sage no longer lists, so that their earlier rows do not go stale."""
    present = {row.get("id") for row in rows}
    idle = {"opening_balance": NOTHING, "closing_balance": NOTHING, **NOTHING}
    return rows + [
        {"id": account.get("id"), "displayed_as": account.get("displayed_as"), "$path": account.get("$path"), **idle}
        for account in accounts
        if account.get("id") not in present
    ]
