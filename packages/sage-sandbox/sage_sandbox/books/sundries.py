"""Payments and receipts without a contact's document: rent, fuel, interest, takings."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.banking import move_money
from sage_sandbox.books.chart import PURCHASE_TAX, SALES_TAX
from sage_sandbox.books.line_bodies import canadian_taxes, tax_breakdown
from sage_sandbox.books.posting import post, void
from sage_sandbox.books.transactions import Leg, Posting, transaction_type
from sage_sandbox.books.treasury import ensure_funds
from sage_sandbox.books.values import HUNDRED, big, cents, link, ref

if TYPE_CHECKING:
    from datetime import datetime

    from sage_sandbox.books.chart import Account
    from sage_sandbox.books.company import Company
    from sage_sandbox.books.master_data import Bank, Party
    from sage_sandbox.books.places import TaxRate
    from sage_sandbox.store import Body


@dataclass(frozen=True)
class Sundry:
    """A payment or receipt without a contact's document, by its transaction type: rent, fuel, interest."""

    type: str
    account: Account
    net: Decimal
    rate: TaxRate
    details: str
    at: datetime
    party: Party | None = None
    bank: Bank | None = None


def pay_other(company: Company, sundry: Sundry) -> str:
    """Book a payment or receipt straight to an income or expense account."""
    receipt = sundry.type == "OTHER_RECEIPT"
    at, bank, sign = sundry.at, sundry.bank or company.bank(company.currency), (1 if receipt else -1)
    tax = cents(sundry.net * sundry.rate.percentage / HUNDRED)
    total = sundry.net + tax
    if not receipt:
        ensure_funds(company, bank, total, at)
    identity = company.mint.new_id()
    reference = f"{'Receipt' if receipt else 'Payment'}-{company.next_number('sundry')}"
    own = {**ref("other_payments", identity, reference), "links": [link(f"banking/{identity}")]}
    legs = [
        Leg(bank.account, sign * total),
        Leg(sundry.account, -sign * sundry.net, sundry.rate.ref, sundry.details),
        Leg(company.accounts[SALES_TAX if receipt else PURCHASE_TAX], -sign * tax),
    ]
    legs = [leg for leg in legs if leg.amount]
    contact = sundry.party.ref if sundry.party else None
    transaction = post(company, Posting(sundry.type, at.date(), at, legs, reference, own, contact, total))
    body = {
        **{name: own[name] for name in ("id", "displayed_as", "$path")},
        "transaction": transaction.ref,
        "transaction_type": transaction_type(sundry.type),
        "date": at.date().isoformat(),
        "contact": contact,
        "net_amount": big(sundry.net),
        "tax_amount": big(tax),
        "total_amount": big(total),
        "payment_lines": [_sundry_line(company, sundry, tax)],
        **_sundry_defaults(company, bank, reference),
    }
    company.insert("other_payments", identity, body, at)
    move_money(company, bank, sign * total, at)
    return identity


def _sundry_defaults(company: Company, bank: Bank, reference: str) -> Body:
    recoverable = ("total_itc_amount", "total_itr_amount")
    return {
        **{f"{base}{name}": None for base in ("", "base_currency_") for name in recoverable},
        "part_recoverable": False,
        "payment_method": ref("payment_methods", "DIRECT_DEBIT", "Direct Debit"),
        "bank_account": bank.ref,
        "tax_address_region": ref("address_regions", "CA-ON", "Ontario") if company.country == "CA" else None,
        "reference": reference,
        "editable": True,
        "deletable": True,
        "withholding_tax_rate": None,
        "withholding_tax_amount": None,
    }


def _sundry_line(company: Company, sundry: Sundry, tax: Decimal) -> Body:
    return {
        "id": company.mint.new_id(),
        "displayed_as": sundry.details,
        "analysis_type_categories": [],
        "ledger_account": sundry.account.ref,
        "details": sundry.details,
        "tax_rate": sundry.rate.ref,
        "net_amount": big(sundry.net),
        "tax_amount": big(tax),
        "total_amount": big(sundry.net + tax),
        "tax_breakdown": tax_breakdown(sundry.rate, tax),
        "is_purchase_for_resale": False,
        "trade_of_asset": False,
        **canadian_taxes(company, sundry.rate, tax),
    }


def delete_other(company: Company, identity: str, at: datetime) -> None:
    """Delete a sundry payment or receipt."""
    body = company.book("other_payments").delete(identity, at).render()
    void(company, body["transaction"]["id"], at)
    bank = next(bank for bank in company.banks if bank.id == body["bank_account"]["id"])
    sign = -1 if body["transaction_type"]["id"] == "OTHER_RECEIPT" else 1
    move_money(company, bank, sign * Decimal(body["total_amount"]), at)
