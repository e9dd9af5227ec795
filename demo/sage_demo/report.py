"""The report of what landed in Postgres, as an accountant needs it, in plain text."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from psycopg import Connection

Cell = str | int | Decimal | None

SCHEMA = "sage"
"""The database schema that the demonstration loads into."""
MODELS = "sage_finance"
"""The database schema that the finance models are built in."""
_LONGEST_NAME = 20
"""Characters of a business's name; tables are wide enough without."""

_TABLES = """
select table_name from information_schema.columns
where table_schema = %s and column_name = '_sdc_received_at' order by table_name
"""
# Through JSON, because what belongs to the user (`businesses`, `user`) has no column `business_id`.
_ROWS = """
select to_jsonb(line) ->> 'business_id', count(*), count(*) filter (where _sdc_received_at >= %(since)s)
from (select * from {table}) as line group by 1
"""
_TRIAL_BALANCE = """
select business_id, sum(closing_debit), sum(closing_credit)
from {models}.sage__trial_balance as balances
where month = (select max(month) from {models}.sage__trial_balance where business_id = balances.business_id)
group by business_id
"""
_RECEIVABLE = "select business_id, sum(base_outstanding) from {models}.sage__aged_receivables group by 1"
# Null where the edition lists no purchases.
_PAYABLE = """
select coverage.business_id, case when has_purchase_documents then coalesce(sum(base_outstanding), 0) end
from {models}.int_sage__coverage as coverage
left join {models}.sage__aged_payables as payables on coverage.business_id = payables.business_id
group by coverage.business_id, has_purchase_documents
"""
_VERDICTS = "select business_id, verdict, count(*) from {models}.sage__reconciliation group by 1, 2"
_VERDICT_NAMES = ("ties", "explained", "not checked", "differs")
_BUSINESSES = "select id, name from {schema}.businesses order by name"


class Warehouse:
    """The loaded data, and the report's queries on them."""

    def __init__(self, connection: Connection[tuple[Cell, ...]]) -> None:
        self._connection = connection

    def businesses(self) -> dict[str, str]:
        """Name the businesses by id, briefly."""
        return {str(key): _short(str(name)) for key, name in self._ask(_BUSINESSES)}

    def rows(self, since: datetime) -> dict[str, dict[str, tuple[int, int]]]:
        """Count rows by table and business: all of them, and those that were loaded since a moment (UTC)."""
        counts: dict[str, dict[str, tuple[int, int]]] = {}
        for (table,) in self._connection.execute(_TABLES, [SCHEMA]).fetchall():
            query = sql.SQL(_ROWS).format(table=sql.Identifier(SCHEMA, str(table)))
            found = self._connection.execute(query, {"since": since.replace(tzinfo=None)}).fetchall()
            counts[str(table)] = {str(business): (_int(rows), _int(loaded)) for business, rows, loaded in found}
        return counts

    def trial_balance(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Sum the trial balance of each business: total debits, total credits."""
        return {str(key): (_money(debit), _money(credit)) for key, debit, credit in self._ask(_TRIAL_BALANCE)}

    def receivable(self) -> dict[str, Decimal]:
        """Sum what customers owe each business, in its base currency: open items less credits."""
        return {str(key): _money(amount) for key, amount in self._ask(_RECEIVABLE)}

    def payable(self) -> dict[str, Decimal]:
        """Sum what each business owes its suppliers, in its base currency; without those that list no purchases."""
        return {str(key): _money(amount) for key, amount in self._ask(_PAYABLE) if amount is not None}

    def verdicts(self) -> dict[tuple[str, str], int]:
        """Count the comparisons of each business by their verdict."""
        return {(str(key), str(verdict)): _int(n) for key, verdict, n in self._ask(_VERDICTS)}

    def _ask(self, query: str) -> list[tuple[Cell, ...]]:
        names = {"schema": sql.Identifier(SCHEMA), "models": sql.Identifier(MODELS)}
        return self._connection.execute(sql.SQL(query).format(**names)).fetchall()


def rows_table(warehouse: Warehouse, since: datetime) -> list[str]:
    """Lay out the rows per table and business, and those that this run loaded; empty tables in one line."""
    names = warehouse.businesses()
    rows = warehouse.rows(since)
    lines: list[tuple[Cell, ...]] = [
        (table, *(counts.get(key, (0, 0))[0] for key in names), sum(each for _, each in counts.values()))
        for table, counts in rows.items()
        if counts
    ]
    totals = [sum(map(_int, column)) for column in zip(*(line[1:] for line in lines), strict=True)]
    empty = [table for table, counts in rows.items() if not counts]
    shown = layout([("table", *names.values(), "this run"), *lines, ("total", *totals)])
    return [*shown, f"without rows: {', '.join(empty)}"] if empty else shown


def answers_table(warehouse: Warehouse) -> list[str]:
    """Lay out what an accountant would check first."""
    balances, receivable, payable = warehouse.trial_balance(), warehouse.receivable(), warehouse.payable()
    lines: list[Sequence[Cell]] = [("business", "debits", "credits", "trial balance", "receivable", "payable")]
    for key, name in warehouse.businesses().items():
        debit, credit = balances.get(key, (Decimal(0), Decimal(0)))
        verdict = "balanced" if debit == credit else f"OUT BY {debit - credit:,.2f}"
        lines.append((name, debit, credit, verdict, receivable.get(key, Decimal(0)), payable.get(key, "not known")))
    return layout(lines)


def verdicts_table(warehouse: Warehouse) -> list[str]:
    """Lay out how many comparisons of the models with Sage's figures tie, by business."""
    counts = warehouse.verdicts()
    lines: list[Sequence[Cell]] = [("business", *_VERDICT_NAMES)]
    for key, name in warehouse.businesses().items():
        lines.append((name, *(counts.get((key, verdict), 0) for verdict in _VERDICT_NAMES)))
    return layout(lines)


def loaded(warehouse: Warehouse, since: datetime) -> int:
    """Count the rows that were loaded since a moment (UTC)."""
    return sum(each for counts in warehouse.rows(since).values() for _, each in counts.values())


def layout(lines: Iterable[Sequence[Cell]]) -> list[str]:
    """Align cells in columns: the first column and words to the left, figures to the right."""
    shown = [[_text(cell) for cell in line] for line in lines]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    rule = "  ".join("-" * width for width in widths)
    body = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in shown
    ]
    return [body[0], rule, *body[1:]]


def _text(cell: Cell) -> str:
    if isinstance(cell, Decimal):
        return f"{cell:,.2f}"
    if isinstance(cell, int):
        return f"{cell:,}"
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(cell))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3].rstrip()}..."


def _int(cell: Cell) -> int:
    return int(cell or 0)


def _money(cell: Cell) -> Decimal:
    return Decimal(cell or 0)
