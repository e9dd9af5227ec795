"""Calendar months, and the one with which a business's trial balance begins.

When accounts begin is typed by people, and so are the dates of postings. Neither is taken for the number of requests
that a read is worth.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PLAUSIBLE_MONTHS = 120
"""Months of history that are believed; where a longer one is claimed, the first posting is looked for."""
MOST_MONTHS = 600
"""Months that are read at most: fifty years. What is dated earlier was mistyped."""


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


def first_month(
    claimed: Month, last: Month, known: Month | None, has_postings: Callable[[Month, Month], bool]
) -> Month:
    """Find the month with which to begin: before the first posting no account holds anything.

    Args:
        claimed: when the accounts begin, as somebody typed it.
        last: the present month.
        known: the month with which an earlier run began, None for the first one.
        has_postings: asks Sage whether anything was posted from one month to another.

    Returns:
        The claimed month where that is plausible, else the one of the first posting, at most `MOST_MONTHS` back.
    """
    if last - claimed <= PLAUSIBLE_MONTHS or (known is not None and known <= claimed):
        return claimed
    earliest = last.plus(-MOST_MONTHS)
    if known is not None and known > earliest and not has_postings(earliest, known.plus(-1)):
        return known
    first, beyond = max(claimed, earliest), last
    while first < beyond:
        middle = first.plus((beyond - first) // 2)
        if has_postings(earliest, middle):
            beyond = middle
        else:
            first = middle.plus(1)
    return first
