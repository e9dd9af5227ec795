"""The finance models as their descriptions have them: columns, keys, areas, and which model joins which.

A model joins another one where it has all columns of the other's key. Tests check on simulated books that every join
finds its row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MODELS = Path(__file__).parents[2] / "transform" / "models"
DESCRIPTIONS = (MODELS / "marts" / "marts.yml", MODELS / "reconciliation" / "reconciliation.yml")
PREFIX = "sage__"
AREAS = {
    "Ledger and statements": (
        "general_ledger",
        "trial_balance",
        "profit_and_loss",
        "balance_sheet",
        "cash_flow",
        "bank_position",
        "changes_after_close",
        "reconciliation",
        "freshness",
    ),
    "Receivables and payables": (
        "open_items_by_month",
        "aged_receivables",
        "aged_payables",
        "settlements",
        "payment_reconciliation",
        "customers",
        "suppliers",
    ),
    "Sales, purchases and tax": ("invoice_lines", "expenses", "tax_summary", "stock_valuation"),
    "Dimensions": ("dim_businesses", "dim_accounts", "dim_contacts", "dim_products", "dim_dates"),
}
"""All marts, by the names that follow `sage__`, in the order in which people meet them."""
JOINED = ("dim_businesses", "dim_accounts", "dim_contacts", "dim_products", "general_ledger")
"""The marts that others join. Days are left out: every column with a date joins them."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a mart."""

    name: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class Mart:
    """A model that people query.

    Attributes:
        name: without `sage__`.
        description: what a row is.
        key: the columns that identify a row.
        nullable: those of them that may be null.
        columns: all columns.
    """

    name: str
    description: str
    key: tuple[str, ...]
    nullable: tuple[str, ...]
    columns: tuple[Column, ...]

    def has(self, names: tuple[str, ...]) -> bool:
        """Return whether it has all of some columns."""
        return set(names) <= {column.name for column in self.columns}


def marts() -> dict[str, Mart]:
    """Read the descriptions of all marts, in the order of `AREAS`.

    Raises:
        ValueError: `AREAS` does not hold each mart once.
    """
    described = [model for file in DESCRIPTIONS for model in yaml.safe_load(file.read_text(encoding="utf-8"))["models"]]
    found = {each.name: each for each in (_mart(model) for model in described if model["name"].startswith(PREFIX))}
    placed = [name for names in AREAS.values() for name in names]
    if sorted(placed) != sorted(found):
        raise ValueError(f"AREAS must hold each mart once: {set(placed) ^ set(found)}")
    return {name: found[name] for name in placed}


def joins(mart: Mart, others: dict[str, Mart]) -> list[Mart]:
    """Return the marts that a mart joins."""
    return [others[name] for name in JOINED if name != mart.name and mart.has(others[name].key)]


def _mart(model: dict[str, Any]) -> Mart:
    [key] = [test["sage_key"]["arguments"] for test in model["data_tests"] if "sage_key" in test]
    return Mart(
        name=model["name"].removeprefix(PREFIX),
        description=model["description"],
        key=tuple(key["columns"]),
        nullable=tuple(key.get("nullable", ())),
        columns=tuple(Column(each["name"], each["data_type"], each["description"]) for each in model["columns"]),
    )
