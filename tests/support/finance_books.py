"""What the simulated books say of a business's finances, without any model."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sage_sandbox.books import trial_balance

if TYPE_CHECKING:
    from collections.abc import Collection

    from sage_sandbox.store import Business

    Record = dict[str, Any]

PROFIT_AND_LOSS = {"SALES", "OTHER_INCOME", "DIRECT_EXPENSES", "OVERHEADS", "DEPRECIATION"}
BEGINNING = date(2000, 1, 1)


def bodies(business: Business, stream: str) -> list[Record]:
    """The rows of a list, as Sage shows them; none where the edition lacks the list."""
    if stream not in business.collections:
        return []
    return [row.render() for row in business.collections[stream].rows.values()]


def posted(business: Business, stream: str) -> list[Record]:
    """The documents of a list that are no drafts and not void."""
    return [each for each in bodies(business, stream) if each["status"]["id"] not in ("DRAFT", "VOID")]


def sign_of(document: Record, stream: str) -> int:
    """-1 for credit notes, else 1."""
    is_credit = "credit_note" in stream or "CREDIT" in document["transaction_type"]["id"]
    return -1 if is_credit else 1


def balance(business: Business, kinds: Collection[str], until: date) -> Decimal:
    """Debits less credits of the accounts of some kinds, up to a day."""
    accounts = {
        each["id"] for each in bodies(business, "ledger_accounts") if each["ledger_account_type"]["id"] in kinds
    }
    lines = trial_balance(business, BEGINNING, until)["ledger_accounts"]
    closing = [line["closing_balance"] for line in lines if line["id"] in accounts]
    return sum((Decimal(each["debit"]) - Decimal(each["credit"]) for each in closing), Decimal(0))


def open_items(business: Business, side: str) -> Decimal:
    """What the documents of a side leave open, less payments on account, in base currency."""
    streams = [f"{side}_invoices", f"{side}_credit_notes", f"{side}_quick_entries"]
    of_documents = sum(
        sign_of(each, stream) * Decimal(each["base_currency_outstanding_amount"])
        for stream in streams
        for each in posted(business, stream)
    )
    kind = "CUSTOMER_RECEIPT" if side == "sales" else "VENDOR_PAYMENT"
    on_account = sum(
        Decimal(each["payment_on_account"]["base_currency_outstanding_amount"])
        for each in bodies(business, "contact_payments")
        if each["transaction_type"]["id"] == kind and each.get("payment_on_account")
    )
    return Decimal(of_documents) - on_account


def month_end(day: date) -> date:
    """The last day of a day's month."""
    return date(day.year + day.month // 12, day.month % 12 + 1, 1) - timedelta(days=1)


def main_figures(business: Business, today: date) -> dict[str, Decimal]:
    """The figures of a report of today: profit of twelve months, this one included, cash, and what customers owe."""
    before = month_end(date(today.year - 1, today.month, 1))
    profit = balance(business, PROFIT_AND_LOSS, before) - balance(business, PROFIT_AND_LOSS, month_end(today))
    return {
        "profit_and_loss": profit,
        "cash": balance(business, {"BANK"}, month_end(today)),
        "receivable": open_items(business, "sales"),
        "receivables_total": open_items(business, "sales"),
    }
