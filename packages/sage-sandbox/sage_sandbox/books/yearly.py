"""What comes back every month or year: depreciation, the loan, corporation tax, dividends, small write-offs."""

from __future__ import annotations

from datetime import timedelta
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.chart import (
    BAD_DEBTS,
    CORPORATION_TAX,
    CORPORATION_TAX_CHARGE,
    CREDITORS,
    DEBTORS,
    DIVIDENDS,
    LOAN_INTEREST,
    LOANS,
    OTHER_INCOME,
    PROPERTY,
    PROPERTY_DEPRECIATED,
    PROPERTY_DEPRECIATION,
    VEHICLES,
    VEHICLES_DEPRECIATED,
    VEHICLES_DEPRECIATION,
)
from sage_sandbox.books.journals import write_journal
from sage_sandbox.books.posting import entries_of
from sage_sandbox.books.transactions import Leg
from sage_sandbox.books.treasury import move_directly
from sage_sandbox.books.values import ZERO, cents

if TYPE_CHECKING:
    from datetime import date, datetime

    from sage_sandbox.books.company import Company

_A_YEAR = Decimal(12)
_INTEREST, _TERM = Decimal("0.0525"), Decimal(120)
"""The loan: interest a year, and in how many months it is paid back."""
_WRITTEN_OFF = {
    (PROPERTY, PROPERTY_DEPRECIATED, PROPERTY_DEPRECIATION): Decimal("0.01"),
    (VEHICLES, VEHICLES_DEPRECIATED, VEHICLES_DEPRECIATION): Decimal("0.15"),
}
"""What of an asset's cost is written off in a year: cost account, accumulated depreciation, expense."""
_TAX_RATES = {"GB": Decimal("0.19"), "IE": Decimal("0.125"), "CA": Decimal("0.122")}
_ELSEWHERE = Decimal("0.25")
_PAYOUT = Decimal("0.6")
"""What of the profit after tax is paid as a dividend."""
_HUNDREDS = Decimal(100)
_CLOSED_AFTER = timedelta(days=60)
"""How long after a year's end the accountant books its tax, dated back to the last day of the year."""
_DIVIDEND_AFTER, _TAX_PAID_AFTER = timedelta(days=90), timedelta(days=276)


def profit(company: Company, start: date, end: date) -> Decimal:
    """Add up the profit of a period."""
    return -sum(
        (
            row.amount
            for row in entries_of(company)
            if row.account.nominal.earning and not row.deleted and start <= row.date <= end
        ),
        ZERO,
    )


def depreciate_assets(company: Company, at: datetime) -> None:
    """Write a month off of what the business owns."""
    if at.date() < company.routine_from:
        return
    legs: list[Leg] = []
    for (cost, written_off, expense), share in _WRITTEN_OFF.items():
        assets = company.funding.assets
        amount = min(cents(assets[cost] * share / _A_YEAR), assets[cost] + assets[written_off])
        if amount > 0:
            assets[written_off] -= amount
            legs += [Leg(company.accounts[expense], amount), Leg(company.accounts[written_off], -amount)]
    if legs:
        write_journal(company, f"Depreciation {at:%m/%Y}", legs, at)


def repay_loan(company: Company, at: datetime) -> None:
    """Pay an instalment: interest on what is owed, and a part of the loan."""
    funding = company.funding
    if at.date() < company.routine_from or not funding.loan:
        return
    interest = cents(funding.loan * _INTEREST / _A_YEAR)
    principal = min(funding.loan, cents(funding.borrowed / _TERM))
    funding.loan -= principal
    move_directly(company, "BANK_PAYMENT", [(LOANS, principal), (LOAN_INTEREST, interest)], f"Loan {at:%m/%Y}", at)


def keep_year(company: Company, at: datetime) -> None:
    """Do what falls due some time after a financial year: its tax, a dividend, the payment of the tax."""
    today, practice = at.date(), company.practice
    ended = practice.year_begins(today) - timedelta(days=1)
    if not practice.incorporated:
        return
    if ended > company.opened.date():
        if today == ended + _CLOSED_AFTER:
            _close(company, at, ended)
        if today == ended + _DIVIDEND_AFTER:
            _pay_dividend(company, at, ended)
    if today == ended + _TAX_PAID_AFTER and (owed := company.funding.tax_owed):
        company.funding.tax_owed = ZERO
        move_directly(company, "BANK_PAYMENT", [(CORPORATION_TAX, owed)], f"Corporation tax {ended}", at)


def _close(company: Company, at: datetime, ended: date) -> None:
    """Charge the year with its tax, by a journal of the last day; clear small debts where the business does."""
    earned = profit(company, company.practice.year_begins(ended), ended)
    if (charge := cents(earned * _TAX_RATES.get(company.country, _ELSEWHERE))) > 0:
        legs = [Leg(company.accounts[CORPORATION_TAX_CHARGE], charge), Leg(company.accounts[CORPORATION_TAX], -charge)]
        write_journal(company, f"Corporation tax {ended}", legs, at, ended)
        company.funding.tax_owed += charge
    if company.practice.control_journals:
        clear_small_debts(company, at)


def clear_small_debts(company: Company, at: datetime) -> None:
    """Write pennies off straight on the control accounts, which no open item explains."""
    for control, other, amount in ((DEBTORS, BAD_DEBTS, Decimal("-12.34")), (CREDITORS, OTHER_INCOME, Decimal("7.89"))):
        legs = [Leg(company.accounts[control], amount), Leg(company.accounts[other], -amount)]
        row = write_journal(company, f"Small balances {at.date()}", legs, at)
        company.control_journals.append(row.transaction.id)


def _pay_dividend(company: Company, at: datetime, ended: date) -> None:
    earned = profit(company, company.practice.year_begins(ended), ended)
    amount = (earned * _PAYOUT / _HUNDREDS).to_integral_value(rounding=ROUND_DOWN) * _HUNDREDS
    if amount > 0:
        move_directly(company, "BANK_PAYMENT", [(DIVIDENDS, amount)], f"Dividend for the year to {ended}", at)
