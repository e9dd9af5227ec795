"""Journals: entries that a bookkeeper makes by hand, one by one or by the hundred thousand."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from typing_extensions import override

from sage_sandbox.books.chart import ACCRUALS, OVERHEADS, PREPAYMENTS
from sage_sandbox.books.posting import post, void
from sage_sandbox.books.transactions import Leg, Posting, transaction_type
from sage_sandbox.books.values import HUNDRED, ZERO, big, link, ref
from sage_sandbox.store import Row

if TYPE_CHECKING:
    from datetime import date, datetime
    from random import Random

    from sage_sandbox.books.company import Company
    from sage_sandbox.books.transactions import EntryRow, TransactionRow
    from sage_sandbox.store import Body

BULK_LINES = 50
"""How many lines a journal of the bulk history has."""


class JournalRow(Row):
    """A journal that writes its lines from its ledger entries on demand."""

    __slots__ = ("adjustable", "transaction")

    def __init__(self, row_id: str, body: Body, at: datetime, transaction: TransactionRow) -> None:
        super().__init__(row_id, body, at, at)
        self.transaction = transaction
        self.adjustable = False

    @override
    def render(self) -> Body:
        lines = [_line(entry) for entry in self.transaction.entries]
        return {"transaction": self.transaction.ref, "journal_lines": lines, **super().render()}


def _line(entry: EntryRow) -> Body:
    return {
        "id": entry.id[::-1],
        "ledger_account": entry.account.ref,
        "details": entry.description,
        "debit": big(max(entry.amount, ZERO)),
        "credit": big(max(-entry.amount, ZERO)),
        "analysis_type_categories": [],
        "include_on_tax_return": False,
        "tax_reconciled": False,
        "cleared": False,
        "bank_reconciled": False,
        "journal_line_foreign_currency": dict.fromkeys(("currency_debit", "currency_credit", "exchange_rate")),
    }


def write_journal(
    company: Company, reference: str, legs: list[Leg], at: datetime, day: date | None = None
) -> JournalRow:
    """Book a journal, of today unless given; the text `null` for its description is Sage's own."""
    identity, day = company.mint.new_id(), day or at.date()
    own = ref("journals", identity, reference)
    transaction = post(company, Posting("JOURNAL", day, at, legs, reference, {**own, "links": [link(None)]}))
    body = {
        **own,
        "transaction_type": transaction_type("JOURNAL"),
        "date": day.isoformat(),
        "reference": reference,
        "description": "null",
        "total": big(sum((leg.amount for leg in legs if leg.amount > 0), ZERO)),
        "journal_code": None,
        "migrated": False,
    }
    row = JournalRow(identity, body, at, transaction)
    company.book("journals").add(row)
    return row


def adjust_prepayments(company: Company, code: int, amount: Decimal, at: datetime) -> JournalRow:
    """Move an expense to the month that it belongs to: what was prepaid is used up, or, negative, prepaid."""
    text = "Insurance" if amount > 0 else "Subscription"
    legs = [Leg(company.accounts[code], amount, None, text), Leg(company.accounts[PREPAYMENTS], -amount, None, text)]
    row = write_journal(company, f"Prepayments {at:%m/%Y}", legs, at)
    row.adjustable = True
    return row


def delete_journal(company: Company, journal: JournalRow, at: datetime) -> None:
    """Delete a journal: a tombstone stays, its transaction is flagged as deleted."""
    company.book("journals").delete(journal.id, at)
    void(company, journal.transaction.id, at)


def reissue(company: Company, journal: JournalRow, at: datetime) -> JournalRow:
    """Correct a journal the only way there is: void it and write a new one, with a new id."""
    legs = [
        Leg(entry.account, entry.amount * 2, entry.tax_rate, entry.description) for entry in journal.transaction.entries
    ]
    delete_journal(company, journal, at)
    row = write_journal(company, str(journal.render()["reference"]), legs, at)
    row.adjustable = True
    return row


def correct(company: Company, wrong: TransactionRow, at: datetime) -> TransactionRow | None:
    """Correct the account of an expense that a tax return already holds: what it was stays, the difference is posted.

    Returns None where the transaction has no overheads.
    """
    overheads = {company.accounts[code].id: code for code in OVERHEADS}
    entry = next((each for each in wrong.entries if each.account.id in overheads), None)
    if entry is None:
        return None
    right = OVERHEADS[(OVERHEADS.index(overheads[entry.account.id]) + 1) % len(OVERHEADS)]
    legs = [Leg(company.accounts[right], entry.amount), Leg(entry.account, -entry.amount)]
    origin = wrong.posting.origin if company.conventions.correction_origin else None
    reference = f"Correction of {(wrong.posting.origin or {}).get('displayed_as')}"
    return post(company, Posting("CORRECTION", at.date(), at, legs, reference, origin, wrong.posting.contact))


def write_history(company: Company, rng: Random, entries: int, at: datetime) -> None:
    """Book monthly accruals until the ledger has so many entries, as an import from older software would."""
    ledger = company.book("ledger_entries").rows
    overheads = [company.accounts[code] for code in OVERHEADS]
    accrued = company.accounts[ACCRUALS]
    while (missing := entries - len(ledger)) > 0:
        count = max(min(missing, BULK_LINES), 2) - 1
        amounts = [Decimal(rng.randrange(1, 100_000)) / HUNDRED for _ in range(count)]
        legs = [Leg(overheads[index % len(overheads)], amount) for index, amount in enumerate(amounts)]
        legs.append(Leg(accrued, -sum(amounts, ZERO)))
        write_journal(company, f"Accruals {company.next_number('accruals')}", legs, at)
