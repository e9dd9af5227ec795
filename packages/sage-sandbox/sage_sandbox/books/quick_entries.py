"""Quick entries: invoices and credit notes of one line, without a document behind them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import SALES, Artefact, currency_ref
from sage_sandbox.books.chart import CREDITORS, DEBTORS, PURCHASE_TAX, SALES_TAX
from sage_sandbox.books.invoicing import exchange_rate, inverse
from sage_sandbox.books.line_bodies import canadian_taxes, tax_breakdown
from sage_sandbox.books.open_items import register
from sage_sandbox.books.posting import post
from sage_sandbox.books.transactions import Leg, Posting, transaction_type
from sage_sandbox.books.values import HUNDRED, big, cents, link, ref

if TYPE_CHECKING:
    from datetime import date, datetime
    from decimal import Decimal

    from sage_sandbox.books.chart import Account
    from sage_sandbox.books.company import Company
    from sage_sandbox.books.master_data import Party
    from sage_sandbox.books.places import TaxRate
    from sage_sandbox.store import Body


@dataclass(frozen=True)
class QuickEntry:
    """What a quick entry is to say; opening balances are quick entries of another `type`, without an account shown."""

    party: Party
    account: Account
    net: Decimal
    rate: TaxRate
    day: date
    at: datetime
    credit_note: bool = False
    opening: bool = False

    @property
    def type(self) -> str:
        """The code of the transaction type."""
        word = "CREDIT_NOTE" if self.credit_note else "INVOICE"
        if self.opening:
            return f"{'CUSTOMER' if self.party.customer else 'VENDOR'}_OPENING_BALANCE_{word}"
        return f"{'SALES' if self.party.customer else 'PURCHASE'}_QUICK_{word}"


def enter(company: Company, entry: QuickEntry) -> tuple[Artefact, Body]:
    """Book a quick entry; gives the open item and the body, which opening balances show again."""
    sales = entry.party.customer
    collection = "sales_quick_entries" if sales else "purchase_quick_entries"
    identity, number = company.mint.new_id(), company.next_number("quick")
    prefix = "OB" if entry.opening else "QE"
    own = {**ref(collection, identity, f"{prefix}-{number}"), "links": [link(f"quick_entries/{identity}")]}
    rate = exchange_rate(company, entry.party.currency)
    tax = cents(entry.net * entry.rate.percentage / HUNDRED)
    artefact = Artefact(
        id=identity,
        collection=collection,
        row_id=identity,
        shape="quick_entry",
        origin=own,
        party=entry.party,
        side=SALES if sales else -SALES,
        sign=-1 if entry.credit_note else 1,
        day=entry.day,
        currency=entry.party.currency,
        rate=rate,
        total=entry.net + tax,
        base_total=cents((entry.net + tax) * rate),
        transaction_id="",
    )
    transaction = post(company, _posting(company, entry, artefact, cents(tax * rate)))
    artefact.transaction_id = transaction.id
    body = _head(entry, own) | {"transaction": transaction.ref} | _amounts(company, entry, artefact, tax)
    company.insert(collection, identity, body, entry.at)
    register(company, artefact, entry.at)
    return artefact, body


def _posting(company: Company, entry: QuickEntry, artefact: Artefact, tax: Decimal) -> Posting:
    sales, direction = entry.party.customer, artefact.side * artefact.sign
    legs = [
        Leg(company.accounts[DEBTORS if sales else CREDITORS], direction * artefact.base_total),
        Leg(entry.account, -direction * (artefact.base_total - tax), entry.rate.ref),
        Leg(company.accounts[SALES_TAX if sales else PURCHASE_TAX], -direction * tax),
    ]
    return Posting(
        type=entry.type,
        day=entry.day,
        at=entry.at,
        legs=[leg for leg in legs if leg.amount],
        reference=artefact.origin["displayed_as"],
        origin=artefact.origin,
        contact=entry.party.ref,
        total=artefact.base_total,
        total_in_currency=artefact.total,
    )


def _head(entry: QuickEntry, own: Body) -> Body:
    kind = ("CREDIT_NOTE", "Credit Note") if entry.credit_note else ("INVOICE", "Invoice")
    return {
        **{name: own[name] for name in ("id", "displayed_as", "$path")},
        "transaction_type": transaction_type(entry.type),
        "analysis_type_categories": [],
        "quick_entry_type": ref("quick_entry_types", *kind),
        "contact_name": entry.party.name,
        "contact_reference": entry.party.reference,
        "contact": entry.party.ref,
        "date": entry.day.isoformat(),
        "due_date": (entry.day + timedelta(days=30)).isoformat(),
        "reference": own["displayed_as"],
        "ledger_account": None if entry.opening else entry.account.ref,
        "details": "Opening balance" if entry.opening else entry.account.nominal.name,
        "currency": currency_ref(entry.party.currency),
        "migrated": entry.opening,
        "trade_of_asset": False,
    }


def _amounts(company: Company, entry: QuickEntry, artefact: Artefact, tax: Decimal) -> Body:
    rate, base_tax = artefact.rate, cents(tax * artefact.rate)
    canadian = {} if entry.party.customer else canadian_taxes(company, entry.rate, tax)
    return {
        "net_amount": big(entry.net),
        "tax_rate": entry.rate.ref,
        "tax_amount": big(tax),
        "tax_breakdown": tax_breakdown(entry.rate, tax),
        "total_amount": big(artefact.total),
        "exchange_rate": big(rate),
        "inverse_exchange_rate": big(inverse(rate)),
        "base_currency_net_amount": big(cents(entry.net * rate)),
        "base_currency_tax_amount": big(base_tax),
        "base_currency_tax_breakdown": tax_breakdown(entry.rate, base_tax),
        "base_currency_total_amount": big(artefact.base_total),
        "tax_address_region": ref("address_regions", "CA-ON", "Ontario") if company.country == "CA" else None,
        **canadian,
    }
