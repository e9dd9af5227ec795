"""Money beyond trade: payments that no document explains, enough of it in every bank account, foreign accounts."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.banking import CURRENT, FOREIGN, SAVINGS, move_money, transfer
from sage_sandbox.books.chart import EXCHANGE_GAINS, EXCHANGE_LOSSES, LOANS
from sage_sandbox.books.company import Move
from sage_sandbox.books.journals import write_journal
from sage_sandbox.books.places import FOREIGN_PRICES
from sage_sandbox.books.posting import entries_of, post
from sage_sandbox.books.transactions import Leg, Posting
from sage_sandbox.books.values import RATE_PLACES, ZERO, cents

if TYPE_CHECKING:
    from datetime import datetime

    from sage_sandbox.books.company import Company
    from sage_sandbox.books.master_data import Bank

_FLOOR, _FOREIGN_FLOOR, _KEPT_IN_SAVINGS = Decimal(2000), Decimal(300), Decimal(500)
_STEP, _LOAN_STEP = Decimal(500), Decimal(5000)
_SURPLUS = Decimal(8000)
"""How much may gather in a foreign account before it is sold."""


def move_directly(company: Company, kind: str, legs: list[tuple[int, Decimal]], reference: str, at: datetime) -> str:
    """Pay (debits) or receive (credits) at the current account, by a transaction without a document of its own.

    Returns the id of the transaction.
    """
    bank = company.bank_account(CURRENT)
    amount = sum((part for _, part in legs), ZERO)
    if amount > 0:
        ensure_funds(company, bank, amount, at)
    posted = [Leg(company.accounts[code], part) for code, part in legs if part]
    transaction = post(
        company, Posting(kind, at.date(), at, [*posted, Leg(bank.account, -amount)], reference, None, None, abs(amount))
    )
    move_money(company, bank, -amount, at)
    return transaction.id


def ensure_funds(company: Company, bank: Bank, amount: Decimal, at: datetime) -> None:
    """Let a bank account have so much and a little more: from other accounts, at last from a loan."""
    foreign = bank.currency != company.currency
    short = amount + (_FOREIGN_FLOOR if foreign else _FLOOR) - bank.balance
    if short <= 0:
        return
    current = company.bank_account(CURRENT)
    if foreign:
        bought = _up(short, _STEP)
        base = cents(bought * FOREIGN_PRICES[company.currency][bank.currency])
        ensure_funds(company, current, base, at)
        transfer(company, Move(current, bank, base, bought), base, f"{bank.currency} bought", at)
        return
    savings = company.bank_account(SAVINGS)
    if (spare := min(_up(short, _STEP), savings.balance - _KEPT_IN_SAVINGS)) > 0:
        transfer(company, Move(savings, current, spare, spare), spare, "From savings", at)
        short -= spare
    if short > 0:
        borrowed = _up(short, _LOAN_STEP)
        company.funding.loan += borrowed
        company.funding.borrowed += borrowed
        move_directly(company, "BANK_RECEIPT", [(LOANS, -borrowed)], "Loan drawn", at)


def _up(amount: Decimal, step: Decimal) -> Decimal:
    return (amount / step).to_integral_value(rounding=ROUND_UP) * step


def sell_surplus(company: Company, at: datetime) -> None:
    """Move what has gathered in foreign accounts to the current account."""
    for bank in _foreign(company):
        if bank.balance > _SURPLUS:
            sold = bank.balance - _SURPLUS / 2
            base = cents(sold * closing_rate(company, bank.currency, at))
            transfer(company, Move(bank, company.bank_account(CURRENT), sold, base), base, f"{bank.currency} sold", at)


def revalue(company: Company, at: datetime) -> None:
    """Bring the ledger accounts of foreign bank accounts to the closing rate, by a journal for each."""
    booked = {bank.account.id: ZERO for bank in _foreign(company)}
    for entry in entries_of(company) if booked else ():
        if entry.account.id in booked and not entry.deleted:
            booked[entry.account.id] += entry.amount
    for bank in _foreign(company):
        gain = cents(bank.balance * closing_rate(company, bank.currency, at)) - booked[bank.account.id]
        if gain:
            difference = company.accounts[EXCHANGE_GAINS if gain > 0 else EXCHANGE_LOSSES]
            legs = [Leg(bank.account, gain), Leg(difference, -gain)]
            write_journal(company, f"Revaluation {bank.currency} {at.date()}", legs, at)


def closing_rate(company: Company, currency: str, at: datetime) -> Decimal:
    """Return the price of a currency on a day, within two percent of the rate of the documents."""
    wander = Decimal((at.toordinal() * 7919 % 401) - 200) / 10_000
    return (FOREIGN_PRICES[company.currency][currency] * (1 + wander)).quantize(RATE_PLACES)


def _foreign(company: Company) -> list[Bank]:
    return [bank for bank in company.banks if bank.account.nominal.code in FOREIGN]
