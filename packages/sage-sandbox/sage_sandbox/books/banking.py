"""Bank accounts, and money that moves between them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import currency_ref
from sage_sandbox.books.codes import SMALL_LISTS, pairs
from sage_sandbox.books.company import Move
from sage_sandbox.books.contacts import in_lines, place
from sage_sandbox.books.master_data import Bank
from sage_sandbox.books.places import FOREIGN_PRICES
from sage_sandbox.books.posting import post, void
from sage_sandbox.books.transactions import Leg, Posting, transaction_type
from sage_sandbox.books.values import big, link, ref
from sage_sandbox.store import timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from sage_sandbox.books.company import Company
    from sage_sandbox.store import Body

CURRENT, SAVINGS, CASH, CARD, OLD_DEPOSIT = 1200, 1210, 1230, 1240, 1250
FOREIGN = (1220, 1221)
_TYPES = {
    CURRENT: "CHECKING",
    SAVINGS: "SAVINGS",
    **dict.fromkeys(FOREIGN, "CHECKING"),
    CASH: "CASH_IN_HAND",
    CARD: "CREDIT_CARD",
    OLD_DEPOSIT: "SAVINGS",
}
_PERSON = ("name", "job_title", "telephone", "mobile", "email", "fax")
_TYPE_NAMES = dict(pairs(SMALL_LISTS["bank_account_types"]))


def open_banks(company: Company) -> None:
    """Open the bank accounts of a new business, in its own currency and each that it trades in.

    Each has a ledger account of its own.
    """
    for code in (CURRENT, SAVINGS, CASH, CARD, OLD_DEPOSIT):
        _open(company, code, company.currency)
    for code, currency in zip(FOREIGN, FOREIGN_PRICES[company.currency], strict=True):
        if company.multi_currency:
            _open(company, code, currency)
    closed = next(bank for bank in company.banks if bank.account.nominal.code == OLD_DEPOSIT)
    company.banks.remove(closed)
    company.book("bank_accounts").delete(closed.id, company.opened)


def _open(company: Company, code: int, currency: str) -> None:
    bank = Bank(company.mint.new_id(), company.accounts[code], currency)
    company.banks.append(bank)
    address = _address(company, bank)
    company.insert("addresses", address["id"], address, company.opened)
    stamps = {name: timestamp(company.opened) for name in ("created_at", "updated_at")}
    body = _account(company, bank, code) | {"main_address": address | stamps}
    company.insert("bank_accounts", bank.id, body, company.opened)


def _address(company: Company, bank: Bank) -> Body:
    profile, street = company.profile, f"1 {company.profile.streets[0]}"
    return {
        **ref("addresses", company.mint.new_id(), in_lines(profile, street, profile.cities[0])),
        **place(profile, street, profile.cities[0]),
        "bank_account": bank.ref,
        "address_type": ref("address_types", "ACCOUNTS", "Accounts"),
        "name": "Main Address",
        "is_main_address": True,
    }


def _account(company: Company, bank: Bank, code: int) -> Body:
    number = f"{company.rng.randrange(10**8):08d}"
    kind = _TYPES[code]
    return {
        **bank.ref,
        "links": [link(f"banking/accounts/{bank.id}")],
        "bank_account_details": {
            "account_name": company.name,
            "account_number": number,
            "sort_code": "000000",
            "bic": None,
            "iban": None,
        },
        "ledger_account": bank.account.ref,
        "bank_account_type": ref("bank_account_types", kind, _TYPE_NAMES[kind]),
        "balance": big(bank.balance),
        "main_contact_person": dict.fromkeys(_PERSON) | ({"name": "Bank manager"} if code == CURRENT else {}),
        "nominal_code": code,
        "editable": True,
        "deletable": False,
        "journal_code": None,
        "default_payment_method": ref("payment_methods", "ELECTRONIC", "Electronic"),
        "gifi_code": code + 1000 if company.country == "CA" else None,
        "is_active": code != CARD,
        "currency": currency_ref(bank.currency),
    }


def move_money(company: Company, bank: Bank, amount: Decimal, at: datetime) -> None:
    """Let a bank account's balance show what came in or, negative, went out."""
    bank.balance += amount
    company.book("bank_accounts").change(bank.id, {"balance": big(bank.balance)}, at)


def transfer(company: Company, move: Move, base: Decimal, description: str, at: datetime) -> str:
    """Move money between bank accounts; `base` is what it is worth in base currency."""
    extra = {"amount": big(move.leaves), "description": description, "editable": True}
    return _move(company, "bank_transfers", "BANK_TRANSFER", move, base, at, extra)


def deposit(company: Company, cash: Decimal, cheques: Decimal, at: datetime) -> str:
    """Pay takings in at the bank."""
    total = cash + cheques
    extra = {"cash_amount": big(cash), "cheque_amount": big(cheques), "total_amount": big(total)}
    move = Move(company.bank_account(CASH), company.bank_account(CURRENT), total, total)
    return _move(company, "bank_deposits", "BANK_DEPOSIT", move, total, at, extra)


def _move(company: Company, collection: str, kind: str, move: Move, base: Decimal, at: datetime, extra: Body) -> str:
    source, target = move.source, move.target
    identity, reference = company.mint.new_id(), f"{kind.title().replace('_', ' ')} {company.next_number(kind)}"
    own = ref(collection, identity, reference)
    legs = [Leg(target.account, base), Leg(source.account, -base)]
    transaction = post(company, Posting(kind, at.date(), at, legs, reference, {**own, "links": [link(None)]}))
    body = {
        **own,
        "transaction": transaction.ref,
        "transaction_type": transaction_type(kind),
        "from_bank_account": source.ref,
        "to_bank_account": target.ref,
        "date": at.date().isoformat(),
        "reference": reference,
        **extra,
    }
    company.insert(collection, identity, body, at)
    move_money(company, source, -move.leaves, at)
    move_money(company, target, move.arrives, at)
    company.moves[identity] = move
    return identity


def delete_move(company: Company, collection: str, identity: str, at: datetime) -> None:
    """Delete a transfer or deposit: a tombstone stays, the money is back where it was."""
    body = company.book(collection).delete(identity, at).render()
    void(company, body["transaction"]["id"], at)
    move = company.moves.pop(identity)
    move_money(company, move.source, move.leaves, at)
    move_money(company, move.target, -move.arrives, at)


def reconcile(company: Company, at: datetime) -> None:
    """Reconcile the current account with its statement: everything up to now is agreed."""
    bank, rows = company.bank(company.currency), company.book("bank_reconciliations").rows
    before = Decimal(rows[next(reversed(rows))].render()["closing_balance"]) if rows else Decimal(0)
    moved = bank.balance - before
    own = ref("bank_reconciliations", company.mint.new_id(), f"Statement {at.date()}")
    body = {
        **own,
        "bank_account": bank.ref,
        "statement_date": at.date().isoformat(),
        "statement_end_balance": big(bank.balance),
        "reference": own["displayed_as"],
        "total_received": big(max(moved, Decimal(0))),
        "total_paid": big(max(-moved, Decimal(0))),
        "starting_balance": big(before),
        "closing_balance": big(bank.balance),
        "reconciled_balance": big(bank.balance),
        "balance_difference": "0.0",
        "status": {"id": "RECONCILED", "displayed_as": "Reconciled"},
    }
    company.insert("bank_reconciliations", own["id"], body, at)
