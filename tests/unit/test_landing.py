"""A target is judged by what it holds: rows lost, values changed, marks that are missing, rows that were emptied."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sage_workbench.landing import AMOUNTS, compare, filled
from sage_workbench.pipeline import Books

NAMES = [f"Product {number}" for number in range(len(AMOUNTS))]
PRODUCTS: dict[tuple[str, str, str], dict[str, Any]] = {
    ("products", "business", name): {"id": name, "displayed_as": name, "item_code": name, "cost_price": amount}
    for name, amount in zip(NAMES, AMOUNTS, strict=True)
}
BOOKS = Books(datetime(2026, 6, 30, tzinfo=UTC), PRODUCTS, {}, {}, {})
GONE = ("products", "business", NAMES[1])
WITHOUT_IT = {place: body for place, body in PRODUCTS.items() if place != GONE}


def test_a_target_that_holds_the_books_is_right() -> None:
    found = compare(BOOKS, None, PRODUCTS)
    assert (found.expected, found.missing, found.changed, found.amounts) == (len(AMOUNTS), 0, 0, len(AMOUNTS))


def test_a_row_that_is_not_there_is_lost() -> None:
    found = compare(BOOKS, None, WITHOUT_IT)
    assert (found.missing, found.amounts) == (1, len(AMOUNTS) - 1)


def test_an_amount_as_a_binary_fraction_is_exact_where_it_reads_as_the_same() -> None:
    rows = {place: {**body, "cost_price": float(body["cost_price"])} for place, body in PRODUCTS.items()}
    found = compare(BOOKS, None, rows)
    assert 0 < found.changed == len(AMOUNTS) - found.amounts < len(AMOUNTS)


def test_a_deleted_row_must_be_marked_and_keep_what_it_held() -> None:
    books = replace(BOOKS, alive=WITHOUT_IT, deleted={GONE: PRODUCTS[GONE]})
    mark = {"id": GONE[2], "business_id": "business", "deleted_at": "2026-07-03T00:00:00Z"}
    for row, unmarked, emptied in (
        ({**PRODUCTS[GONE], **mark}, 0, 0),
        (PRODUCTS[GONE], 1, 0),
        ({**dict.fromkeys(PRODUCTS[GONE]), **mark}, 0, 1),
    ):
        found = compare(books, BOOKS, {**WITHOUT_IT, GONE: row})
        assert (found.deleted, found.unmarked, found.emptied) == (1, unmarked, emptied)


def test_a_column_that_came_later_must_say_what_the_reference_beside_it_says() -> None:
    invoice = {"contact": {"id": "1"}, "contact_id": "1"}
    assert filled({("sales_invoices", "", "a"): invoice, ("sales_invoices", "", "b"): {"contact": {"id": "2"}}}) == 1
    assert filled({("sales_invoices", "", "a"): {**invoice, "contact_id": "2"}}) is None
