"""What happens besides trade: contacts and items come and go, money is moved, journals are written, files attached."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books import banking, catalogue, contacts, files, journals
from sage_sandbox.books.chart import OVERHEADS
from sage_sandbox.books.company import Move
from sage_sandbox.books.journals import JournalRow
from sage_sandbox.books.transactions import TransactionRow
from sage_sandbox.books.values import HUNDRED, cents, ref

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from sage_sandbox.books.company import Company
    from sage_sandbox.books.master_data import Party

_ENOUGH = 2
_FLOAT = Decimal(50)
"""What stays in the till."""
_CORRECTED, _RECENT = {"PURCHASE_INVOICE", "PURCHASE_QUICK_INVOICE", "OTHER_PAYMENT"}, 40
"""What is corrected, and among how many of the latest such transactions."""


def add_contact(company: Company, rng: Random, at: datetime) -> None:
    """Take up a new contact."""
    contacts.add_contact(company, rng, at)


def add_item(company: Company, rng: Random, at: datetime) -> None:
    """Add a product, service or stock item."""
    catalogue.add_item(company, rng, at)


def edit_phone(company: Company, rng: Random, at: datetime) -> None:
    """Note a contact's new telephone number."""
    telephone = f"{company.profile.dialling} {rng.randrange(10000):04d}"
    contacts.edit_phone(company, _established(company, rng), telephone, at)


def edit_address(company: Company, rng: Random, at: datetime) -> None:
    """Complete a contact's address."""
    contacts.edit_address(company, _established(company, rng), f"Unit {rng.randrange(1, 60)}", at)


def switch_contact(company: Company, rng: Random, at: datetime) -> None:
    """Deactivate a contact, as long as enough stay to trade with, or let one back in."""
    party = _established(company, rng)
    alike = sum(each.active and each.customer is party.customer for each in company.parties.values())
    if not party.active or alike > _ENOUGH:
        contacts.set_active(company, party, at, active=not party.active)


def _established(company: Company, rng: Random) -> Party:
    return rng.choice(list(company.parties.values())[:-1])


def delete_contact(company: Company, rng: Random, at: datetime) -> None:
    """Delete a contact that has no documents."""
    if unused := [party for party in company.parties.values() if not party.documents]:
        contacts.delete_contact(company, rng.choice(unused[-1:]), at)


def switch_item(company: Company, rng: Random, at: datetime) -> None:
    """Deactivate a product or service, or take it up again."""
    item = rng.choice(list(company.items.values())[:-1])
    listed = company.book(catalogue.listings(item)[0]).rows[item.id].render()
    catalogue.change_item(company, item, {"active": listed["active"] is False}, at)


def annotate_item(company: Company, rng: Random, at: datetime) -> None:
    """Add a note to an item."""
    catalogue.change_item(company, rng.choice(list(company.items.values())[:-1]), {"notes": f"Seen {at.date()}"}, at)


def delete_item(company: Company, rng: Random, at: datetime) -> None:
    """Delete an item that no document names."""
    if unused := [item for item in company.items.values() if item.id not in company.in_use]:
        catalogue.delete_item(company, rng.choice(unused[-1:]), at)


def move_stock(company: Company, rng: Random, at: datetime) -> None:
    """Count stock in or out, where there is stock."""
    if stocked := [item for item in company.items.values() if item.kind == "STOCK_ITEM"]:
        catalogue.move_stock(company, rng.choice(stocked), Decimal(rng.choice((10, 25, -3, -1))), at)


def transfer(company: Company, rng: Random, at: datetime) -> None:
    """Move money to the savings account, if there is enough of it."""
    amount = Decimal(rng.randrange(1000, 90000)) / HUNDRED
    current, savings = (company.bank_account(code) for code in (banking.CURRENT, banking.SAVINGS))
    if current.balance > amount * 5:
        banking.transfer(company, Move(current, savings, amount, amount), amount, "Monthly saving", at)


def deposit(company: Company, rng: Random, at: datetime) -> None:
    """Pay in what has been taken in cash and cheques, but for the float."""
    if (taken := company.bank_account(banking.CASH).balance - _FLOAT) > _FLOAT:
        cheques = cents(taken * rng.randrange(1, 60) / HUNDRED)
        banking.deposit(company, taken - cheques, cheques, at)


def delete_move(company: Company, rng: Random, at: datetime) -> None:
    """Delete a transfer and a deposit, whose money is still there."""
    for collection in ("bank_transfers", "bank_deposits"):
        rows = company.book(collection).rows
        if reversible := [row_id for row_id in rows if company.moves[row_id].reversible]:
            banking.delete_move(company, collection, rng.choice(reversible), at)


def reconcile(company: Company, _rng: Random, at: datetime) -> None:
    """Agree the current account with its statement."""
    banking.reconcile(company, at)


def adjust_prepayments(company: Company, rng: Random, at: datetime) -> None:
    """Move an expense between two months."""
    amount = Decimal(rng.choice((1, -1)) * rng.randrange(500, 6000)) / HUNDRED
    journals.adjust_prepayments(company, rng.choice(OVERHEADS), amount, at)


def correct(company: Company, rng: Random, at: datetime) -> None:
    """Correct an expense of late that was booked to the wrong account."""
    rows = company.book("transactions").rows.values()
    recent = [row for row in rows if isinstance(row, TransactionRow) and row.posting.type in _CORRECTED]
    for wrong in rng.sample(recent[-_RECENT:], k=min(len(recent), _RECENT)):
        if not wrong.voided and journals.correct(company, wrong, at):
            return


def reissue_journal(company: Company, rng: Random, at: datetime) -> None:
    """Void a journal and write it anew."""
    if journal := _pick_journal(company, rng):
        journals.reissue(company, journal, at)


def delete_journal(company: Company, rng: Random, at: datetime) -> None:
    """Delete a journal."""
    if journal := _pick_journal(company, rng):
        journals.delete_journal(company, journal, at)


def _pick_journal(company: Company, rng: Random) -> JournalRow | None:
    rows = company.book("journals").rows
    adjustable = [row for row in rows.values() if isinstance(row, JournalRow) and row.adjustable]
    return rng.choice(adjustable) if adjustable else None


def attach_file(company: Company, rng: Random, at: datetime) -> None:
    """Attach a file to a sales invoice, whose transaction counts it."""
    posted = [row_id for row_id in company.book("sales_invoices").rows if row_id in company.artefacts]
    if not posted:
        return
    artefact = company.artefacts[rng.choice(posted)]
    identity, number = company.mint.new_guid(), company.next_number("attachment")
    name, mime_type = files.TYPES[number % len(files.TYPES)]
    transaction = company.book("transactions").rows[artefact.transaction_id]
    described = None if number % 2 else f"Scan {number}"
    body = {
        **ref("attachments", identity, described),
        "file": None,
        "mime_type": mime_type,
        "description": described,
        "file_extension": f".{name.rpartition('.')[2]}",
        "transaction": ref("transactions", artefact.transaction_id, transaction.render()["displayed_as"]),
        "file_size": rng.randrange(800, 400_000),
        "file_name": name,
        "$file_path": f"/attachments/{identity}/file",
        "attachment_context_type": ref("attachment_context_types", "SALES_INVOICE", "Sales Invoice"),
        "attachment_context": {key: artefact.origin[key] for key in ("id", "displayed_as", "$path")},
        "is_public": None if number % 3 else True,
    }
    company.insert("attachments", identity, body, at)
    _count_attachment(company, artefact.transaction_id, 1, at)


def detach_file(company: Company, rng: Random, at: datetime) -> None:
    """Delete an attachment."""
    rows = company.book("attachments")
    if rows.rows:
        body = rows.delete(rng.choice(list(rows.rows)), at).render()
        _count_attachment(company, body["transaction"]["id"], -1, at)


def _count_attachment(company: Company, transaction_id: str, step: int, at: datetime) -> None:
    rows = company.book("transactions")
    held = rows.rows[transaction_id].render()["number_of_attachments"]
    rows.change(transaction_id, {"number_of_attachments": held + step}, at)
