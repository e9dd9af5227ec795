"""Double entry: book a transaction whose entries add up to nothing, and take it back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sage_sandbox.books.transactions import PAYMENTS, EntryRow, Leg, Posting, TransactionRow, transaction_type
from sage_sandbox.books.values import ZERO, big, ref

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sage_sandbox.books.company import Company
    from sage_sandbox.store import Body


def post(company: Company, posting: Posting) -> TransactionRow:
    """Book a posting.

    Raises:
        ValueError: The legs do not balance.
    """
    legs = list(posting.legs)
    if sum(leg.amount for leg in legs):
        raise ValueError(f"A {posting.type} of {posting.day} does not balance: {legs}")
    debits = sum((leg.amount for leg in legs if leg.amount > 0), ZERO)
    total = debits if posting.total is None else posting.total
    own = ref("transactions", company.mint.new_id(), posting.reference)
    entries = _book_entries(company, legs, own, posting)
    body = {
        **own,
        "date": posting.day.isoformat(),
        "deleted": False,
        "reference": posting.reference,
        "total": big(total),
        "total_in_transaction_currency": big(total if posting.total_in_currency is None else posting.total_in_currency),
        "contact": posting.contact,
        "transaction_type": transaction_type(posting.type),
        "origin": posting.origin,
        "audit_trail_id": company.next_number("audit_trail"),
        "number_of_attachments": 0,
    }
    row = TransactionRow(own["id"], body, posting, entries)
    company.book("transactions").add(row)
    if row.taxed:
        company.taxed.append(row)
    company.margin += row.earned
    return row


def _book_entries(company: Company, legs: list[Leg], transaction: Body, posting: Posting) -> list[EntryRow]:
    collection, new_id = company.book("ledger_entries"), company.mint.new_id
    contact, day, at = posting.contact, posting.day, posting.at
    entries = [EntryRow(new_id(), leg, transaction, contact, day, at) for leg in legs]
    collection.rows.update((entry.id, entry) for entry in entries)
    collection.version += 1
    return entries


def entries_of(company: Company) -> Iterator[EntryRow]:
    """Go through the ledger of a business, live entries and deleted ones."""
    return (row for row in company.book("ledger_entries").rows.values() if isinstance(row, EntryRow))


def void(company: Company, transaction_id: str, at: datetime) -> None:
    """Take a transaction back in the way that the books' conventions say; it and its entries stay in their lists."""
    row, way = company.book("transactions").rows[transaction_id], company.conventions.voids
    if not isinstance(row, TransactionRow):
        raise TypeError(f"Transaction {transaction_id} was not booked by these books.")
    row.voided = True
    company.margin -= row.earned
    if way != "flag":
        reversal = _reverse(company, row, at)
        if way == "both":
            _flag(company, reversal, at)
        elif row.taxed:
            company.taxed.append(reversal)
    if way != "reverse":
        _flag(company, row, at)


def _flag(company: Company, row: TransactionRow, at: datetime) -> None:
    company.book("transactions").change(row.id, {"deleted": True}, at)
    collection = company.book("ledger_entries")
    for entry in row.entries:
        collection.change(entry.id, {"deleted": True}, at)


def _reverse(company: Company, row: TransactionRow, at: datetime) -> TransactionRow:
    """Post the opposite of a transaction on the day on which it is taken back."""
    kind = "VOID_PAYMENT" if row.posting.type in PAYMENTS else "CORRECTION"
    legs = [Leg(entry.account, -entry.amount, entry.tax_rate, entry.description) for entry in row.entries]
    return post(company, replace(row.posting, type=kind, day=at.date(), at=at, legs=legs))
