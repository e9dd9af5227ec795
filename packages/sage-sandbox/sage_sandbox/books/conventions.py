"""Switches of the books: what is not known of Sage's bookkeeping, and what one business does unlike another."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

Scheme = Literal["STANDARD", "CASH", "FLAT_RATE_INVOICE"]
_DECEMBER_31 = (12, 31)


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """How Sage keeps books where nobody outside knows.

    Attributes:
        voids: Voiding or deleting flags the entries as deleted (`flag`), or posts reversing entries on the day of the
            void (`reverse`). Or it does both, and flags the reversing entries, too (`both`).
        tax_settlement: How a filed return moves the tax to the liability account. `journal`: by a journal that
            `/journals` lists. `transaction`: by a transaction of a separate type that only `/transactions` lists.
            `none`: not at all, and the tax accounts run on.
        correction_origin: A correction names the document that it corrects as its origin.
        contact_balance: The balance of a contact is in base currency (`base`) or in the contact's own (`contact`).
        reverse_charge: Purchases under the reverse charge post their tax to both tax accounts (`entries`), or only
            the return shows it (`none`).
        trial_balance_lag: Seconds by which the trial balance is behind the ledger.
    """

    voids: Literal["flag", "reverse", "both"] = "flag"
    tax_settlement: Literal["journal", "transaction", "none"] = "journal"
    correction_origin: bool = True
    contact_balance: Literal["base", "contact"] = "base"
    reverse_charge: Literal["entries", "none"] = "entries"
    trial_balance_lag: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Practice:
    """How one business keeps its books.

    Attributes:
        year_end: Month and day on which the financial year ends.
        scheme: The tax scheme: tax is due on invoices, on payments, or as a share of the turnover.
        flat_rate: The share of the turnover, in percent, under the flat rate scheme.
        incorporated: A company, which pays a dividend and corporation tax; else a sole trader, who draws money.
        control_journals: Somebody writes journals straight to the control accounts of debtors and creditors.
    """

    year_end: tuple[int, int] = _DECEMBER_31
    scheme: Scheme = "STANDARD"
    flat_rate: Decimal = Decimal(0)
    incorporated: bool = True
    control_journals: bool = False

    def year_ends(self, day: date) -> date:
        """Find the last day of the financial year that a day lies in."""
        this_year = self._end_in(day.year)
        return this_year if day <= this_year else self._end_in(day.year + 1)

    def year_begins(self, day: date) -> date:
        """Find the first day of the financial year that a day lies in."""
        return self._end_in(self.year_ends(day).year - 1) + timedelta(days=1)

    def _end_in(self, year: int) -> date:
        """Find the end in a calendar year; 29 February is the last of February in every year."""
        month, day = self.year_end
        return date(year, month, min(day, monthrange(year, month)[1]))


@dataclass(frozen=True)
class Plan:
    """A business to be founded, and how Sage keeps its books."""

    country: str
    edition: str
    practice: Practice = Practice()
    conventions: Conventions = Conventions()


PLANS = (
    Plan("GB", "Plus", Practice(year_end=(4, 5))),
    Plan("IE", "Standard", Practice(scheme="CASH", control_journals=True)),
    Plan("CA", "Start"),
    Plan("FR", "Plus"),
    Plan("ES", "Plus"),
    Plan("DE", "Plus"),
    Plan("GB", "Standard", Practice(year_end=(6, 30), scheme="CASH")),
    Plan("IE", "Plus", Practice(control_journals=True)),
    Plan("CA", "Plus", Practice(year_end=(3, 31))),
    Plan(
        "GB",
        "Start",
        Practice(year_end=(4, 5), scheme="FLAT_RATE_INVOICE", flat_rate=Decimal("12.5"), incorporated=False),
    ),
    Plan("IE", "Start", Practice(incorporated=False)),
    Plan("GB", "Plus", Practice(year_end=(3, 31))),
)
"""The businesses of a world, in turn: countries, editions and practices differ."""
