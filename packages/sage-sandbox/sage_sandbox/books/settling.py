"""How open items end: paid in time or late, set against each other, refunded; and how that is undone."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from heapq import heappop
from typing import TYPE_CHECKING

from sage_sandbox.books import documents
from sage_sandbox.books.artefacts import PURCHASES, SALES, Artefact
from sage_sandbox.books.invoicing import exchange_rate
from sage_sandbox.books.open_items import arrange, list_open_items, postpone
from sage_sandbox.books.payments import Remittance, allocate, delete_allocation, delete_payment, pay, pay_on_account
from sage_sandbox.books.trade import raise_for, someone
from sage_sandbox.books.treasury import ensure_funds
from sage_sandbox.books.values import HUNDRED, RATE_PLACES, ZERO, cents

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from sage_sandbox.books.company import Company

_HALF = Decimal("0.5")
_RECENT = 8
"""Among how many of the latest payments somebody finds a mistake."""
_HARMLESS = Decimal(250)
"""A receipt of less can be missing without a bank account having been overdrawn since."""
_PAID_TOGETHER, _AT_MOST = timedelta(days=28), 3
"""From what age on invoices are paid together with others, and how many others."""
_PATIENCE = timedelta(days=60)
"""How long a credit waits for an invoice that it can be allocated to, and an invoice is not overdue."""


def keep_appointments(company: Company, at: datetime) -> None:
    """Deal with each open item whose day has come."""
    rng, today = company.habits, at.date()
    while company.appointments and company.appointments[0][0] <= today:
        _, _, identity = heappop(company.appointments)
        artefact = company.artefacts[identity]
        if not artefact.outstanding:
            continue
        if artefact.sign > 0:
            _settle(company, rng, at, artefact)
        elif _owed(company, artefact):
            _set_against(company, artefact, at)
        elif today - artefact.day < _PATIENCE:
            arrange(company, artefact, today)
        elif artefact.shape == "payment_on_account":
            _invoice_for(company, rng, at, artefact)
        else:
            _settle(company, rng, at, artefact)


def _days_rate(company: Company, rng: Random, currency: str) -> Decimal:
    rate = exchange_rate(company, currency)
    return rate if rate == 1 else (rate * Decimal(rng.randrange(970, 1030)) / 1000).quantize(RATE_PLACES)


def _settle(company: Company, rng: Random, at: datetime, artefact: Artefact) -> None:
    """Pay all, or half and the rest soon, or all but a small discount."""
    outstanding, way = artefact.outstanding, rng.random()
    amount, discount = outstanding, ZERO
    if way < 0.1 and outstanding > 1:  # noqa: PLR2004
        amount = cents(outstanding * _HALF)
    elif way < 0.2 and outstanding > 10:  # noqa: PLR2004
        discount = Decimal(1)
        amount = outstanding - discount
    rate = _days_rate(company, rng, artefact.currency)
    remittance = Remittance(artefact.party, amount, rate, at, discount)
    pay(company, artefact, remittance, _soon_due(company, artefact, at) if amount == outstanding else ())
    if artefact.outstanding:
        postpone(company, artefact, at.date() + timedelta(days=rng.randint(7, 30)))


def _soon_due(company: Company, artefact: Artefact, at: datetime) -> list[Artefact]:
    """Find what else a contact would pay with the same money: other invoices that have been open for some weeks."""
    if artefact.sign < 0:
        return []
    alike = list_open_items(company, side=artefact.side, sign=1)
    due = [each for each in alike if each.party is artefact.party and at.date() - each.day > _PAID_TOGETHER]
    return [each for each in due if each is not artefact][:_AT_MOST]


def receive_payment(company: Company, rng: Random, at: datetime) -> None:
    """Receive a customer's payment of something open."""
    _settle_one(company, rng, at, SALES)


def pay_supplier(company: Company, rng: Random, at: datetime) -> None:
    """Pay a supplier's invoice."""
    _settle_one(company, rng, at, PURCHASES)


def _settle_one(company: Company, rng: Random, at: datetime, side: int) -> None:
    """Settle an invoice; one that has been open for very long is left to its day."""
    open_ones = list_open_items(company, side=side, sign=1)
    usual = [each for each in open_ones if at.date() - each.day < _PATIENCE]
    if candidates := usual or open_ones:
        _settle(company, rng, at, rng.choice(candidates))


def receive_on_account(company: Company, rng: Random, at: datetime) -> None:
    """Take money ahead of an invoice, or pay a supplier ahead of one."""
    party = someone(company, rng, customer=rng.random() < 0.7)  # noqa: PLR2004
    amount = Decimal(rng.randrange(2000, 30000)) / HUNDRED
    pay_on_account(company, Remittance(party, amount, _days_rate(company, rng, party.currency), at))


def allocate_credit(company: Company, rng: Random, at: datetime) -> None:
    """Allocate a credit note or money on account to an invoice of the same contact; raise one if none exists."""
    if credits_open := list_open_items(company, sign=-1):
        _invoice_for(company, rng, at, rng.choice(credits_open))


def _invoice_for(company: Company, rng: Random, at: datetime, credit: Artefact) -> None:
    kind = documents.SALES_INVOICE if credit.side == SALES else documents.PURCHASE_INVOICE
    if not _owed(company, credit):
        raise_for(company, rng, at, credit.party, kind)
    _set_against(company, credit, at)


def _set_against(company: Company, credit: Artefact, at: datetime) -> None:
    for debit in _owed(company, credit)[:1]:
        allocate(company, credit, debit, min(credit.outstanding, debit.outstanding), at)
    if credit.outstanding:
        arrange(company, credit, at.date())


def _owed(company: Company, credit: Artefact) -> list[Artefact]:
    """Find the invoices of a credit's contact that are open, oldest first."""
    owed = list_open_items(company, side=credit.side, sign=1)
    return [each for each in owed if each.party.id == credit.party.id]


def refund(company: Company, rng: Random, at: datetime) -> None:
    """Pay a credit note out."""
    notes = [each for each in list_open_items(company, sign=-1) if each.shape != "payment_on_account"]
    if notes:
        _settle(company, rng, at, rng.choice(notes))


def remove_payment(company: Company, rng: Random, at: datetime) -> None:
    """Delete a payment that nothing else rests on and no tax return counts."""
    recent = list(company.payments.values())[-_RECENT:]
    free = [
        each
        for each in recent
        if each.day > company.filed_until
        and each.moved < _HARMLESS
        and not (each.on_account and each.on_account.settlements)
    ]
    if free:
        payment = rng.choice(free)
        delete_payment(company, payment, at)
        ensure_funds(company, payment.bank, ZERO, at)
        _arrange_anew(company, [each.artefact for each in payment.settlements], at)


def remove_allocation(company: Company, rng: Random, at: datetime) -> None:
    """Take an allocation back that no tax return counts."""
    filed = company.filed_until
    if recent := [key for key, settled in company.allocations.items() if settled[0].day > filed]:
        identity = rng.choice(recent)
        artefacts = [each.artefact for each in company.allocations[identity]]
        delete_allocation(company, identity, at)
        _arrange_anew(company, artefacts, at)


def _arrange_anew(company: Company, artefacts: list[Artefact], at: datetime) -> None:
    for artefact in artefacts:
        postpone(company, artefact, at.date() + timedelta(days=company.habits.randint(2, 20)))
