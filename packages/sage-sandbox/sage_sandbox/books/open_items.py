"""The open items of a business: take them up, show what has settled them, put them off."""

from __future__ import annotations

from datetime import timedelta
from heapq import heappush
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import SALES, Artefact, currency_ref, status_ref
from sage_sandbox.books.values import ZERO, big
from sage_sandbox.store import Row, timestamp

if TYPE_CHECKING:
    from datetime import date, datetime

    from sage_sandbox.books.company import Company
    from sage_sandbox.store import Body


def settlement_body(company: Company, artefact: Artefact) -> Body:
    """Write what a document shows of its settlement; quick entries show less than invoices and credit notes."""
    body: Body = {
        "outstanding_amount": big(artefact.outstanding),
        "base_currency_outstanding_amount": big(artefact.base_outstanding),
        "status": status_ref(artefact.status),
        "payments_allocations": [each.shown for each in artefact.settlements],
    }
    if artefact.shape == "document":
        paid = sum((each.amount for each in artefact.settlements), ZERO)
        discount = sum((each.discount for each in artefact.settlements), ZERO)
        body |= {
            "payments_allocations_total_amount": big(paid),
            "payments_allocations_total_discount": big(discount),
            "total_paid": big(paid + discount),
            "last_paid": _last_paid(company, artefact),
        }
    return body


def _last_paid(company: Company, artefact: Artefact) -> str:
    """Write the day of the last payment as Sage does: in the format of the country, empty when never paid."""
    if not artefact.settlements:
        return ""
    last = max(each.day for each in artefact.settlements)
    return last.strftime("%d/%m/%Y" if company.profile.day_first else "%m/%d/%Y")


def on_account_body(artefact: Artefact, created: datetime, at: datetime) -> Body:
    """Write the payment on account that a payment carries within it: its own id, the payment's path."""
    party = artefact.party
    return {
        **{name: artefact.origin[name] for name in ("id", "displayed_as", "$path")},
        "created_at": timestamp(created),
        "updated_at": timestamp(at),
        "contact_name": party.name,
        "contact_reference": party.reference,
        "contact": party.ref,
        "date": artefact.day.isoformat(),
        "reference": artefact.origin["displayed_as"],
        "net_amount": big(artefact.total),
        "tax_amount": "0.0",
        "total_amount": big(artefact.total),
        "outstanding_amount": big(artefact.outstanding),
        "currency": currency_ref(artefact.currency),
        "exchange_rate": big(artefact.rate),
        "base_currency_net_amount": big(artefact.base_total),
        "base_currency_tax_amount": "0.0",
        "base_currency_total_amount": big(artefact.base_total),
        "base_currency_outstanding_amount": big(artefact.base_outstanding),
        "status": status_ref(artefact.status),
    }


def refresh(company: Company, artefact: Artefact, at: datetime) -> None:
    """Let every record that shows an open item show its present state, and move their time of change."""
    rows = company.book(artefact.collection)
    if artefact.row_id in rows.rows:
        if artefact.shape == "payment_on_account":
            created = rows.rows[artefact.row_id].created_at or at
            rows.change(artefact.row_id, {"payment_on_account": on_account_body(artefact, created, at)}, at)
        else:
            rows.change(artefact.row_id, settlement_body(company, artefact), at)
    _list_as_open(company, artefact)
    count(company, artefact, at)


def count(company: Company, artefact: Artefact, at: datetime) -> None:
    """Bring the contact's balance up to date with an open item."""
    if change := artefact.uncounted(company.conventions.contact_balance):
        party = artefact.party
        party.balance += change
        company.book("contacts").change(party.id, {"balance": big(party.balance)}, at)


def _list_as_open(company: Company, artefact: Artefact) -> None:
    """Keep `/unallocated_artefacts`, the live view of what is open, which has no times and leaves no tombstones."""
    listed = company.book("unallocated_artefacts")
    if artefact.outstanding and artefact.id not in listed.rows:
        listed.add(Row(artefact.id, artefact.origin, None, None))
    elif not artefact.outstanding and artefact.id in listed.rows:
        del listed.rows[artefact.id]
        listed.version += 1


def register(company: Company, artefact: Artefact, at: datetime) -> Artefact:
    """Take a new open item into the books; its record must already be in its list."""
    company.artefacts[artefact.id] = artefact
    artefact.party.documents += 1
    arrange(company, artefact, at.date())
    refresh(company, artefact, at)
    return artefact


def arrange(company: Company, artefact: Artefact, day: date) -> None:
    """Decide when an open item will be dealt with: most are paid within terms, few long after."""
    customer_owes = artefact.side == SALES and artefact.sign > 0
    spans, weights = _PAID_BY_CUSTOMERS if customer_owes else _PAID_BY_US if artefact.sign > 0 else _USED
    [(first, last)] = company.habits.choices(spans, weights=weights)
    if customer_owes and company.next_number("owed") % _SLOW_EVERY == 1:
        first, last = _SLOW
    postpone(company, artefact, day + timedelta(days=company.habits.randint(first, last)))


def postpone(company: Company, artefact: Artefact, day: date) -> None:
    """Put an open item off to a day."""
    heappush(company.appointments, (day, company.next_number("appointment"), artefact.id))


_PAID_BY_CUSTOMERS = ((12, 30), (31, 45), (46, 70), (71, 100)), (55, 27, 13, 5)
"""After how many days customers pay, and how often."""
_SLOW_EVERY, _SLOW = 20, (150, 350)
"""Every so many invoices wait for so long."""
_PAID_BY_US = ((14, 30), (31, 35), (36, 60)), (60, 35, 5)
_USED = ((3, 25), (26, 60)), (70, 30)
"""The same for credit notes and payments on account, until they are set against something or paid out."""


def list_open_items(company: Company, *, side: int | None = None, sign: int | None = None) -> list[Artefact]:
    """List what is still open, oldest first."""
    return [
        each
        for identity in company.book("unallocated_artefacts").rows
        for each in (company.artefacts[identity],)
        if side in (None, each.side) and sign in (None, each.sign)
    ]
