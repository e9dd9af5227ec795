"""What happens in trade: documents raised, credited, voided, deleted."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books import documents
from sage_sandbox.books.artefacts import PURCHASES, SALES, Artefact
from sage_sandbox.books.banking import CASH
from sage_sandbox.books.catalogue import pick_lines
from sage_sandbox.books.chart import OTHER_INCOME, OVERHEADS, SALES_PRODUCTS, SALES_SERVICES
from sage_sandbox.books.documents import Document, Kind
from sage_sandbox.books.invoicing import annul, issue, remove
from sage_sandbox.books.lines import Line, under_reverse_charge
from sage_sandbox.books.open_items import list_open_items
from sage_sandbox.books.quick_entries import QuickEntry, enter
from sage_sandbox.books.sundries import Sundry, delete_other, pay_other
from sage_sandbox.books.values import HUNDRED, PENNY, ZERO

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from sage_sandbox.books.company import Company
    from sage_sandbox.books.master_data import Party
    from sage_sandbox.store import Body, Row

_REFERENCES = ("", "PO-4711", "by phone", "Angebot № 7", "a reference that is longer than twenty-five characters")
_NOTES = ("", "", "Thank you!", "Merci beaucoup 🙏\nÀ bientôt", "Deliver to the back door")
_LONG_NOTE = "Everything that was agreed, word for word. " * 250
_TWENTY_DIGITS = Decimal("12345678901234567.1234")


def someone(company: Company, rng: Random, *, customer: bool) -> Party:
    """Choose an active contact, but the newest, which may yet be deleted."""
    known = list(company.parties.values())[:-1]
    return rng.choice([party for party in known if party.customer is customer and party.active])


def _raise(company: Company, rng: Random, at: datetime, kind: Kind, status: str | None = None) -> str:
    party = someone(company, rng, customer=kind.side == SALES)
    return raise_for(company, rng, at, party, kind, status)


def raise_for(company: Company, rng: Random, at: datetime, party: Party, kind: Kind, status: str | None = None) -> str:
    """Issue a document of some kind to or from a contact."""
    return issue(company, _draw_up(company, rng, at, party, kind, status))


def _draw_up(company: Company, rng: Random, at: datetime, party: Party, kind: Kind, status: str | None) -> Document:
    """Write a document out; no contact in a foreign currency charges tax or is charged it."""
    foreign = party.currency != company.currency
    rate = company.profile.untaxed if foreign else None
    lines = pick_lines(company, rng, sale=kind.side == SALES, rate=rate, small=company.busy or kind.sign < 0)
    if foreign and kind.side == PURCHASES and company.accounts_for_tax_of_suppliers:
        lines = under_reverse_charge(lines, company.profile.standard)
    notes, reference = rng.choice(_NOTES), rng.choice(_REFERENCES)
    return Document(kind, party, lines, at, reference, notes, status)


def raise_sales_invoice(company: Company, rng: Random, at: datetime) -> None:
    """Invoice a customer."""
    _raise(company, rng, at, documents.SALES_INVOICE)


def raise_purchase_invoice(company: Company, rng: Random, at: datetime) -> None:
    """Enter a supplier's invoice."""
    _raise(company, rng, at, documents.PURCHASE_INVOICE)


def raise_foreign_invoice(company: Company, rng: Random, at: datetime) -> None:
    """Invoice a customer abroad, where there is one."""
    abroad = [party for party in company.parties.values() if party.customer and party.currency != company.currency]
    if abroad:
        raise_for(company, rng, at, rng.choice(abroad), documents.SALES_INVOICE)


def credit_sale(company: Company, rng: Random, at: datetime) -> None:
    """Credit a customer."""
    _raise(company, rng, at, documents.SALES_CREDIT_NOTE)


def credit_purchase(company: Company, rng: Random, at: datetime) -> None:
    """Enter a supplier's credit note."""
    _raise(company, rng, at, documents.PURCHASE_CREDIT_NOTE)


def estimate(company: Company, rng: Random, at: datetime) -> None:
    """Estimate for a customer."""
    _offer(company, rng, at, documents.SALES_ESTIMATE)


def quote(company: Company, rng: Random, at: datetime) -> None:
    """Quote for a customer."""
    _offer(company, rng, at, documents.SALES_QUOTE)


def _offer(company: Company, rng: Random, at: datetime, kind: Kind) -> None:
    party = someone(company, rng, customer=True)
    status = rng.choice((None, None, "DECLINED"))
    document = _draw_up(company, rng, at, party, kind, status)
    identity = issue(company, document)
    if status is None:
        company.offers[identity] = document


def accept_offer(company: Company, rng: Random, at: datetime) -> None:
    """Turn a quote or estimate into an invoice; each then names the other."""
    if not company.offers:
        return
    identity = rng.choice(list(company.offers))
    offer = company.offers.pop(identity)
    offers, invoices = company.book(offer.kind.collection), company.book("sales_invoices")
    invoice = replace(offer, kind=documents.SALES_INVOICE, at=at, original=_generic(offers.rows[identity]))
    accepted = _generic(invoices.rows[issue(company, invoice)])
    offers.change(identity, {"invoice": accepted, "status": {"id": "ACCEPTED", "displayed_as": "Accepted"}}, at)


def _generic(row: Row) -> Body:
    """Refer to a document with its links, as documents refer to each other."""
    body = row.render()
    return {name: body[name] for name in ("id", "displayed_as", "$path", "links")}


def draft(company: Company, rng: Random, at: datetime) -> None:
    """Prepare an invoice that is not posted."""
    _raise(company, rng, at, rng.choice((documents.SALES_INVOICE, documents.PURCHASE_INVOICE)), "DRAFT")


def raise_odd_invoices(company: Company, rng: Random, at: datetime) -> None:
    """Invoice nothing at all, with very long notes, and a discount as a negative line."""
    party, account = someone(company, rng, customer=True), company.accounts[SALES_SERVICES]
    rate, one = company.profile.untaxed, Decimal(1)
    free = Line("Sample, free of charge", None, account, one, ZERO, ZERO, rate)
    work = Line("Work\nover two lines", None, account, Decimal("7.25"), Decimal("61.3333"), ZERO, rate)
    less = Line("Goodwill 🎁", None, account, -one, Decimal("19.99"), ZERO, rate)
    issue(company, Document(documents.SALES_INVOICE, party, (free,), at, "free", _LONG_NOTE))
    issue(company, Document(documents.SALES_INVOICE, party, (work, less, free), at, "goodwill"))


def quote_odd_quantity(company: Company, rng: Random, at: datetime) -> None:
    """Quote for a quantity that no float can hold; a quote is not posted."""
    party, account = someone(company, rng, customer=True), company.accounts[SALES_SERVICES]
    line = Line("Grains of sand", None, account, _TWENTY_DIGITS, PENNY, ZERO, company.profile.untaxed)
    issue(company, Document(documents.SALES_QUOTE, party, (line,), at))


def enter_quick_sale(company: Company, rng: Random, at: datetime) -> None:
    """Enter an invoice or credit note to a customer in one line."""
    _enter(company, rng, at, customer=True)


def enter_quick_purchase(company: Company, rng: Random, at: datetime) -> None:
    """Enter an invoice or credit note of a supplier in one line."""
    _enter(company, rng, at, customer=False)


def _enter(company: Company, rng: Random, at: datetime, *, customer: bool) -> None:
    party = someone(company, rng, customer=customer)
    account = company.accounts[OTHER_INCOME if customer else rng.choice(OVERHEADS)]
    credit_note = company.next_number("quick mix") % 4 == 0
    net = Decimal(rng.randrange(1000, 12000 if company.busy or credit_note else 50000)) / HUNDRED
    foreign = party.currency != company.currency
    rate = company.profile.untaxed if foreign else rng.choice(company.profile.tax_rates)
    enter(company, QuickEntry(party, account, net, rate, at.date(), at, credit_note=credit_note))


def pay_sundry(company: Company, rng: Random, at: datetime) -> None:
    """Pay an expense without an invoice."""
    net = Decimal(rng.randrange(500, 40000)) / HUNDRED
    account = company.accounts[rng.choice(OVERHEADS)]
    rate = rng.choice(company.profile.tax_rates)
    party = rng.choice((None, someone(company, rng, customer=False)))
    pay_other(company, Sundry("OTHER_PAYMENT", account, net, rate, account.nominal.name, at, party))


def receive_sundry(company: Company, rng: Random, at: datetime) -> None:
    """Receive cash: other income, or what was sold over the counter."""
    net = Decimal(rng.randrange(100, 9000)) / HUNDRED
    profile, cash = company.profile, company.bank_account(CASH)
    code, rate, details = rng.choice(
        ((OTHER_INCOME, profile.untaxed, "Scrap sold"), (SALES_PRODUCTS, profile.standard, "Takings"))
    )
    pay_other(company, Sundry("OTHER_RECEIPT", company.accounts[code], net, rate, details, at, bank=cash))


def edit_notes(company: Company, rng: Random, at: datetime) -> None:
    """Add a note to an invoice."""
    rows = company.book("sales_invoices")
    if rows.rows:
        rows.change(rng.choice(list(rows.rows)), {"notes": f"Reminder sent {at.date()} ⏰", "sent_by_email": True}, at)


def void_invoice(company: Company, rng: Random, at: datetime) -> None:
    """Void a sales invoice that nobody has paid; where there is none, one that was raised in error just now."""
    annul(company, rng.choice(_mistaken(company, rng, at, documents.SALES_INVOICE)), at, "Raised in error")


def delete_purchase(company: Company, rng: Random, at: datetime) -> None:
    """Delete a purchase document that has not been paid."""
    remove(company, rng.choice(_mistaken(company, rng, at, documents.PURCHASE_INVOICE)), at)


def _mistaken(company: Company, rng: Random, at: datetime, kind: Kind) -> list[Artefact]:
    return _untouched(company, kind.side, "document") or [company.artefacts[_raise(company, rng, at, kind)]]


def delete_quick_entry(company: Company, rng: Random, at: datetime) -> None:
    """Delete a quick entry that has not been paid and is no opening balance."""
    if unpaid := [*_untouched(company, SALES, "quick_entry"), *_untouched(company, PURCHASES, "quick_entry")]:
        remove(company, rng.choice(unpaid), at)


def _untouched(company: Company, side: int, shape: str) -> list[Artefact]:
    """Find what nobody has paid and no tax return holds."""
    opening = company.book("contact_opening_balances").rows
    return [
        each
        for each in list_open_items(company, side=side)
        if each.shape == shape and not each.settlements and each.id not in opening and each.day > company.filed_until
    ]


def remove_sundry(company: Company, rng: Random, at: datetime) -> None:
    """Delete a payment of an expense."""
    rows, filed = company.book("other_payments").rows, company.filed_until.isoformat()
    undeclared = [
        row.id
        for row in rows.values()
        if (body := row.render())["date"] > filed and body["transaction_type"]["id"] == "OTHER_PAYMENT"
    ]
    if undeclared:
        delete_other(company, rng.choice(undeclared), at)


def delete_draft(company: Company, rng: Random, at: datetime) -> None:
    """Delete a draft, of whichever side has one."""
    for collection in ("sales_invoices", "purchase_invoices"):
        rows = company.book(collection)
        drafts = [row_id for row_id in rows.rows if row_id not in company.artefacts]
        if drafts:
            rows.delete(rng.choice(drafts), at)


def delete_offer(company: Company, rng: Random, at: datetime) -> None:
    """Delete a quote or estimate; Sage's API does not report these deletions."""
    rows = company.book(rng.choice(("sales_quotes", "sales_estimates")))
    if rows.rows:
        company.offers.pop(rows.delete(rng.choice(list(rows.rows)), at).id, None)
