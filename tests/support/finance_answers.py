"""The results of the documentation's queries on the finance models, from the simulated books."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from sage_sandbox.books import trial_balance
from support.finance_books import BEGINNING, PROFIT_AND_LOSS, balance, bodies, month_end, open_items, posted, sign_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sage_sandbox.store import Business

    Record = dict[str, Any]
    Businesses = Sequence[Business]

SALES = ("sales_invoices", "sales_credit_notes", "sales_quick_entries")


@dataclass(frozen=True)
class Question:
    """What a query's rows say and what the books say, in a form that can be compared."""

    of_rows: Callable[[list[Record]], object]
    of_books: Callable[[Businesses, date], object]


def sums(column: str) -> Callable[[list[Record]], object]:
    """Sum a column by business."""

    def of_rows(rows: list[Record]) -> object:
        found: dict[str, Decimal] = defaultdict(Decimal)
        for row in rows:
            found[row["business_id"]] += row[column]
        return {key: amount for key, amount in found.items() if amount}

    return of_rows


def lists(column: str) -> Callable[[list[Record]], object]:
    """List the values of a column by business, sorted."""

    def of_rows(rows: list[Record]) -> object:
        found: dict[str, list[Any]] = defaultdict(list)
        for row in rows:
            found[row["business_id"]].append(row[column])
        return {key: sorted(values) for key, values in found.items()}

    return of_rows


def each(answer: Callable[[Business, date], object]) -> Callable[[Businesses, date], object]:
    """Compute from the books of each business; what is nothing or empty is left out, as it has no row."""

    def of_books(businesses: Businesses, today: date) -> object:
        answers = {business.id: answer(business, today) for business in businesses}
        return {key: found for key, found in answers.items() if found}

    return of_books


def profits_of_rows(rows: list[Record]) -> object:
    found: dict[tuple[str, date], Decimal] = defaultdict(Decimal)
    for row in rows:
        found[row["business_id"], row["month"]] += row["amount"]
    return {key: amount for key, amount in found.items() if amount}


def profits_of_books(businesses: Businesses, today: date) -> object:
    found = {}
    for business in businesses:
        month = min(date.fromisoformat(entry["date"]) for entry in bodies(business, "ledger_entries")).replace(day=1)
        before = Decimal(0)
        while month <= today:
            closing = balance(business, PROFIT_AND_LOSS, month_end(month))
            found[business.id, month] = before - closing
            before, month = closing, month_end(month) + timedelta(days=1)
    return {key: amount for key, amount in found.items() if amount}


def balance_sheet_of_rows(rows: list[Record]) -> object:
    assert sum(row["balance"] for row in rows) == 0
    accounts = [row for row in rows if row["balance"] and not row["account_name"].startswith("Profit of ")]
    return lists("balance")(accounts)


def balance_sheet_of_books(business: Business, today: date) -> list[Decimal]:
    kinds = {each["id"]: each["ledger_account_type"]["id"] for each in bodies(business, "ledger_accounts")}
    lines = trial_balance(business, BEGINNING, month_end(today))["ledger_accounts"]
    closing = [line["closing_balance"] for line in lines if kinds[line["id"]] not in PROFIT_AND_LOSS]
    balances = [Decimal(side["debit"]) - Decimal(side["credit"]) for side in closing]
    return sorted(amount for amount in balances if amount)


def returns_of_rows(rows: list[Record]) -> object:
    return {(row["business_id"], row["period_start"]): row["returned"] for row in rows if row["returned"]}


def returns_of_books(businesses: Businesses, _: date) -> object:
    return {
        (business.id, date.fromisoformat(made["period_start_date"])): Decimal(made["total_amount"])
        for business in businesses
        for made in bodies(business, "tax_returns")
        if Decimal(made["total_amount"])
    }


def sales(business: Business) -> Iterator[tuple[int, Record]]:
    """The posted sales, with their signs; opening balances are none."""
    for stream in SALES:
        for document in posted(business, stream):
            if "OPENING_BALANCE" not in document["transaction_type"]["id"]:
                yield sign_of(document, stream), document


def top_customers(business: Business, _: date) -> list[Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for sign, document in sales(business):
        found[document["contact"]["id"]] += sign * Decimal(document["base_currency_net_amount"])
    return sorted(sorted((amount for amount in found.values() if amount > 0), reverse=True)[:10])


def unpaid_bills(business: Business, _: date) -> list[Decimal]:
    return sorted(
        amount
        for stream in ("purchase_invoices", "purchase_quick_entries")
        for document in posted(business, stream)
        if sign_of(document, stream) > 0 and (amount := Decimal(document["outstanding_amount"])) > 0
    )


def revenue(business: Business, _: date) -> Decimal:
    return sum((sign * Decimal(each["base_currency_net_amount"]) for sign, each in sales(business)), Decimal(0))


def lines_of_rows(rows: list[Record]) -> object:
    return Counter((row["business_id"], row["document_number"]) for row in rows)


def lines_of_books(businesses: Businesses, _: date) -> object:
    return Counter(
        (business.id, invoice["invoice_number"])
        for business in businesses
        for invoice in posted(business, "sales_invoices")
        for _ in invoice["invoice_lines"]
    )


def days_sales_outstanding(business: Business, today: date) -> Decimal:
    recent = [
        sign * Decimal(document["base_currency_total_amount"])
        for sign, document in sales(business)
        if date.fromisoformat(document["date"]) > today - timedelta(days=90)
    ]
    return (90 * open_items(business, "sales") / sum(recent)).quantize(Decimal("0.1"), ROUND_HALF_UP)


def unallocated(business: Business, _: date) -> list[Decimal]:
    on_account = [each.get("payment_on_account") for each in bodies(business, "contact_payments")]
    amounts = [Decimal(each["outstanding_amount"]) for each in on_account if each]
    return sorted(amount for amount in amounts if amount)


def deleted(business: Business, _: date) -> list[str]:
    return sorted(each["reference"] or "" for each in bodies(business, "transactions") if each["deleted"])


QUESTIONS = {
    "profit-by-month": Question(profits_of_rows, profits_of_books),
    "balance-sheet": Question(balance_sheet_of_rows, each(balance_sheet_of_books)),
    "debtors-by-age": Question(sums("base_outstanding"), each(lambda business, _: open_items(business, "sales"))),
    "vat-by-quarter": Question(returns_of_rows, returns_of_books),
    "top-customers": Question(lists("sales"), each(top_customers)),
    "unpaid-bills": Question(lists("outstanding"), each(unpaid_bills)),
    "cash-by-account": Question(
        sums("closing_balance"), each(lambda business, today: balance(business, {"BANK"}, month_end(today)))
    ),
    "revenue-by-product": Question(sums("revenue"), each(revenue)),
    "invoices-with-lines": Question(lines_of_rows, lines_of_books),
    "days-sales-outstanding": Question(sums("days"), each(days_sales_outstanding)),
    "unallocated-payments": Question(lists("outstanding"), each(unallocated)),
    "deleted-and-voided": Question(
        lambda rows: lists("reference")([row | {"reference": row["reference"] or ""} for row in rows]), each(deleted)
    ),
}
"""By the titles of the queries."""
