"""Payroll: wages that follow what trade earns, with the country's deductions, paid in the course of the month."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, NamedTuple

from sage_sandbox.books.chart import (
    DRAWINGS,
    EMPLOYERS_PENSIONS,
    EMPLOYERS_TAXES,
    GROSS_WAGES,
    NET_WAGES,
    PAYROLL_TAXES,
    PENSIONS,
)
from sage_sandbox.books.journals import write_journal
from sage_sandbox.books.transactions import Leg
from sage_sandbox.books.treasury import move_directly
from sage_sandbox.books.values import ZERO, cents

if TYPE_CHECKING:
    from datetime import datetime

    from sage_sandbox.books.company import Company

_SHARE_FOR_WAGES, _SHARE_FOR_OWNER = Decimal("0.5"), Decimal("0.6")
"""What of the usual margin goes into gross wages, and what a sole trader draws of it."""
_INERTIA = Decimal("0.6")
"""How much of the usual margin stays as it was when a month was better or worse."""
_SALARY = Decimal(2600)
"""What one employee usually earns in a month: it decides how many there are."""
_LEAST = Decimal(400)
_TEN = Decimal(10)


class _Deductions(NamedTuple):
    """Shares of gross wages; no tax is due on `free` of each employee's month."""

    free: Decimal
    tax: Decimal
    employee: Decimal
    employer: Decimal
    employee_pension: Decimal
    employer_pension: Decimal


def _shares(*shares: str) -> _Deductions:
    return _Deductions(*map(Decimal, shares))


_DEDUCTIONS = {
    "GB": _shares("1047.5", "0.20", "0.055", "0.095", "0.05", "0.03"),
    "IE": _shares("1666", "0.20", "0.055", "0.1125", "0.015", "0.015"),
    "CA": _shares("1350", "0.20", "0.075", "0.08", "0.03", "0.03"),
}
_ELSEWHERE = _shares("1000", "0.15", "0.20", "0.30", "0", "0")


def pay_wages(company: Company, at: datetime) -> None:
    """Book a month of payroll and pay the wages out; a sole trader draws money instead."""
    payroll = company.payroll
    earned, payroll.margin_before = company.margin - payroll.margin_before, company.margin
    payroll.usual_margin = payroll.usual_margin * _INERTIA + earned * (1 - _INERTIA)
    if at.date() < company.routine_from:
        return
    if not company.practice.incorporated:
        drawn = _to_tens(payroll.usual_margin * _SHARE_FOR_OWNER)
        move_directly(company, "BANK_PAYMENT", [(DRAWINGS, max(drawn, _LEAST))], f"Drawings {at:%m/%Y}", at)
        return
    gross = max(_to_tens(payroll.usual_margin * _SHARE_FOR_WAGES), _LEAST)
    net = _book(company, gross, at)
    move_directly(company, "STAFF_PAYMENT", [(NET_WAGES, net)], f"Wages {at:%m/%Y}", at)


def _to_tens(amount: Decimal) -> Decimal:
    return (amount / _TEN).to_integral_value(rounding=ROUND_DOWN) * _TEN


def _book(company: Company, gross: Decimal, at: datetime) -> Decimal:
    """Write the payroll journal; returns the net wages."""
    rules, payroll = _DEDUCTIONS.get(company.country, _ELSEWHERE), company.payroll
    employees = max(1, round(gross / _SALARY))
    tax = cents(max(gross - employees * rules.free, ZERO) * rules.tax)
    withheld, own = cents(gross * rules.employee), cents(gross * rules.employer)
    saved, added = cents(gross * rules.employee_pension), cents(gross * rules.employer_pension)
    net = gross - tax - withheld - saved
    amounts = {
        GROSS_WAGES: gross,
        EMPLOYERS_TAXES: own,
        EMPLOYERS_PENSIONS: added,
        PAYROLL_TAXES: -(tax + withheld + own),
        PENSIONS: -(saved + added),
        NET_WAGES: -net,
    }
    title = f"Payroll {at:%m/%Y}"
    text = f"{employees} employee{'s' if employees > 1 else ''}"
    write_journal(
        company,
        title,
        [Leg(company.accounts[code], amount, None, text) for code, amount in amounts.items() if amount],
        at,
    )
    payroll.taxes_owed += tax + withheld + own
    payroll.pensions_owed += saved + added
    return net


def pay_deductions(company: Company, at: datetime) -> None:
    """Pay last month's payroll taxes to the revenue, and pension contributions to their provider."""
    payroll = company.payroll
    if payroll.taxes_owed:
        move_directly(
            company, "REVENUE_PAYMENT", [(PAYROLL_TAXES, payroll.taxes_owed)], f"Payroll taxes {at:%m/%Y}", at
        )
    if payroll.pensions_owed:
        reference = f"Pensions {at:%m/%Y}"
        move_directly(company, "PENSION_PROVIDER_PAYMENT", [(PENSIONS, payroll.pensions_owed)], reference, at)
    payroll.taxes_owed = payroll.pensions_owed = ZERO
