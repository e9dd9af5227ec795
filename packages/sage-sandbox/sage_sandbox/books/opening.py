"""Opening balances: what a business brought with it, booked against the opening balances account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.banking import CASH, CURRENT, SAVINGS, move_money
from sage_sandbox.books.chart import (
    ACCRUALS,
    CORPORATION_TAX,
    LOANS,
    OPENING_BALANCES,
    PREPAYMENTS,
    PROPERTY,
    PROPERTY_DEPRECIATED,
    RETAINED_EARNINGS,
    SHARES,
    TAX_LIABILITY,
    VEHICLES,
    VEHICLES_DEPRECIATED,
)
from sage_sandbox.books.posting import entries_of, post
from sage_sandbox.books.quick_entries import QuickEntry, enter
from sage_sandbox.books.transactions import Leg, Posting, transaction_type
from sage_sandbox.books.values import ZERO, big, cents, link, ref

if TYPE_CHECKING:
    from datetime import date

    from sage_sandbox.books.company import Company
    from sage_sandbox.books.master_data import Party
    from sage_sandbox.books.transactions import TransactionRow
    from sage_sandbox.store import Body

_BANKS = {CURRENT: Decimal("25000.75"), SAVINGS: Decimal("8000.5"), CASH: Decimal("250.35")}
_ASSETS = {
    PROPERTY: Decimal(150000),
    PROPERTY_DEPRECIATED: Decimal("-12000.6"),
    VEHICLES: Decimal("18250.4"),
    VEHICLES_DEPRECIATED: Decimal("-6083.47"),
}
_DEBTS = {LOANS: Decimal(-60000), CORPORATION_TAX: Decimal("-3450.2")}
_JOURNAL = {PREPAYMENTS: Decimal("1200.6"), ACCRUALS: Decimal("-940.25")}
_SHARES, TAX_OWED = Decimal(-100), Decimal("1203.45")
"""Share capital, and the tax of the last return that older software filed."""


@dataclass(frozen=True)
class _Opening:
    """A booked opening balance, before it is listed."""

    identity: str
    shown: Body
    transaction: TransactionRow


def bring_forward(company: Company) -> None:
    """Book everything that was there before the first day, so that nothing stays on the opening balances account."""
    day, capital, funding = company.opened.date() - timedelta(days=1), company.size.capital, company.funding
    for code, amount in _BANKS.items():
        _bank(company, code, cents(amount * capital), day)
    funding.assets = {code: cents(amount * capital) for code, amount in _ASSETS.items()}
    debts = {code: cents(amount * capital) for code, amount in _DEBTS.items()}
    if not company.practice.incorporated:
        del debts[CORPORATION_TAX]
    funding.loan = funding.borrowed = -debts[LOANS]
    funding.tax_owed = -debts.get(CORPORATION_TAX, ZERO)
    for code, amount in {**funding.assets, **debts, SHARES: _SHARES, TAX_LIABILITY: -TAX_OWED}.items():
        _ledger_account(company, code, amount, day)
    _journal(company, day)
    customers = [party for party in company.parties.values() if party.customer]
    suppliers = [party for party in company.parties.values() if not party.customer]
    _contact(company, customers[0], Decimal("480.25"), day, credit_note=False)
    _contact(company, suppliers[0], Decimal("1150.1"), day, credit_note=False)
    _contact(company, suppliers[0], Decimal(75), day, credit_note=True)
    account = company.accounts[OPENING_BALANCES]
    rest = sum((entry.amount for entry in entries_of(company) if entry.account is account), ZERO)
    _ledger_account(company, RETAINED_EARNINGS, rest, day)


def _book(company: Company, collection: str, kind: str, day: date, legs: list[Leg]) -> _Opening:
    """Post legs against the opening balances account; old software left these entries without a time."""
    identity, at = company.mint.new_id(), company.opened
    shown = ref(collection, identity, f"Opening balance {day}")
    rest = -sum((leg.amount for leg in legs), ZERO)
    legs = [*legs, Leg(company.accounts[OPENING_BALANCES], rest)]
    origin = {**shown, "links": [link(None)]}
    transaction = post(company, Posting(kind, day, at, legs, "Opening balance", origin))
    for entry in transaction.entries:
        entry.created_at = entry.updated_at = None
    return _Opening(identity, shown, transaction)


def _sides(amount: Decimal) -> Body:
    return {"debit": big(max(amount, ZERO)), "credit": big(max(-amount, ZERO))}


def _bank(company: Company, code: int, amount: Decimal, day: date) -> None:
    bank = next(bank for bank in company.banks if bank.account.nominal.code == code)
    kind, collection = "BANK_OPENING_BALANCE", "bank_opening_balances"
    opening = _book(company, collection, kind, day, [Leg(bank.account, amount)])
    body = {
        **opening.shown,
        "transaction": opening.transaction.ref,
        "transaction_type": transaction_type(kind),
        "bank_account": bank.ref,
        "date": day.isoformat(),
        **_sides(amount),
    }
    company.insert(collection, opening.identity, body, company.opened)
    move_money(company, bank, amount, company.opened)


def _ledger_account(company: Company, code: int, amount: Decimal, day: date) -> None:
    account, collection = company.accounts[code], "ledger_account_opening_balances"
    opening = _book(company, collection, "LEDGER_ACCOUNT_OPENING_BALANCE", day, [Leg(account, amount)])
    body = {**opening.shown, "ledger_account": account.ref, "details": "Brought forward", **_sides(amount)}
    company.insert(collection, opening.identity, body, company.opened)


def _journal(company: Company, day: date) -> None:
    kind, collection = "OPENING_BALANCE_JOURNAL", "opening_balance_journals"
    legs = [Leg(company.accounts[code], amount) for code, amount in _JOURNAL.items()]
    opening = _book(company, collection, kind, day, legs)
    lines = [
        {
            "id": company.mint.new_id(),
            "ledger_account": entry.account.ref,
            "details": "Brought forward",
            **_sides(entry.amount),
        }
        for entry in opening.transaction.entries
    ]
    body = {
        **opening.shown,
        "transaction": opening.transaction.ref,
        "transaction_type": transaction_type(kind),
        "date": day.isoformat(),
        "reference": "Opening balance",
        "journal_lines": lines,
    }
    company.insert(collection, opening.identity, body, company.opened)


def _contact(company: Company, party: Party, amount: Decimal, day: date, *, credit_note: bool) -> None:
    """Book what a contact owed or was owed: one id in opening balances, quick entries and unallocated artefacts."""
    account, rate = company.accounts[OPENING_BALANCES], company.profile.untaxed
    entry = QuickEntry(party, account, amount, rate, day, company.opened, credit_note=credit_note, opening=True)
    artefact, quick = enter(company, entry)
    kind = ("CREDIT_NOTE", "Credit Note") if credit_note else ("INVOICE", "Invoice")
    shared = {name: quick[name] for name in _SHARED}
    body = {
        **shared,
        **ref("contact_opening_balances", artefact.id, artefact.origin["displayed_as"]),
        "contact_opening_balance_type": ref("contact_opening_balance_types", *kind),
    }
    company.insert("contact_opening_balances", artefact.id, body, company.opened)


_SHARED = (
    "transaction",
    "transaction_type",
    "contact",
    "date",
    "reference",
    "details",
    "net_amount",
    "tax_rate",
    "tax_amount",
    "tax_breakdown",
    "total_amount",
    "currency",
    "exchange_rate",
    "base_currency_net_amount",
    "base_currency_tax_amount",
    "base_currency_tax_breakdown",
    "base_currency_total_amount",
)
