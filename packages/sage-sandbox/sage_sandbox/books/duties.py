"""What falls due on a day whether or not anybody trades: payments, wages, the loan, tax returns, year ends."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sage_sandbox.books.opening import TAX_OWED
from sage_sandbox.books.payroll import pay_deductions, pay_wages
from sage_sandbox.books.settling import keep_appointments
from sage_sandbox.books.taxes import PAID_AFTER, keep_returns, open_return, pay_tax
from sage_sandbox.books.treasury import revalue, sell_surplus
from sage_sandbox.books.yearly import depreciate_assets, keep_year, repay_loan

if TYPE_CHECKING:
    from datetime import datetime

    from sage_sandbox.books.company import Company

_DAY = timedelta(days=1)
_LOAN_DAY, _REVENUE_DAY, _PAYDAY = 5, 22, 28
_QUARTER = 3


def begin(company: Company) -> None:
    """Open the first tax return of a new business."""
    open_return(company, company.opened)


def keep_up(company: Company, until: datetime) -> None:
    """Do what falls due before a moment, morning by morning."""
    while company.next_morning < until:
        at = company.next_morning
        company.next_morning += _DAY
        _do(company, at)


def _do(company: Company, at: datetime) -> None:
    today, tomorrow = at.date(), (at + _DAY).date()
    keep_appointments(company, at)
    if today.day == _LOAN_DAY:
        repay_loan(company, at)
    elif today.day == _REVENUE_DAY:
        pay_deductions(company, at)
    elif today.day == _PAYDAY:
        pay_wages(company, at)
    if tomorrow.day == 1:
        depreciate_assets(company, at)
        sell_surplus(company, at)
        if today.month % _QUARTER == 0:
            revalue(company, at)
    keep_returns(company, at)
    keep_year(company, at)
    age = today - company.opened.date()
    if age == PAID_AFTER:
        pay_tax(company, TAX_OWED, "Payment of the migrated return", at)
