"""What landed in Postgres, as an accountant would ask, and as plain text."""

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
# A trial balance has one side per account: the account's net, among the debits or among the credits.
_TRIAL_BALANCE = """
select business_id, count(*), sum(greatest(net, 0)), sum(greatest(-net, 0))
from (
    select business_id, ledger_account ->> 'id', sum(debit - credit) as net
    from {schema}.ledger_entries where deleted is not true group by 1, 2
) as account
group by business_id
"""
_RECEIVABLES = """
select business_id, count(*), sum(base_currency_outstanding_amount)
from {schema}.sales_invoices
where deleted_at is null and status ->> 'id' not in ('DRAFT', 'VOID') and outstanding_amount <> 0
group by business_id
"""
_BUSINESSES = "select id, name from {schema}.businesses order by name"


class Warehouse:
    """The loaded data, and the questions that the report asks of them."""

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

    def trial_balance(self) -> dict[str, tuple[int, Decimal, Decimal]]:
        """Sum the trial balance of each business: accounts with a movement, total debits, total credits."""
        return {
            str(key): (_int(n), _money(debit), _money(credit)) for key, n, debit, credit in self._ask(_TRIAL_BALANCE)
        }

    def receivables(self) -> dict[str, tuple[int, Decimal]]:
        """Sum what customers owe each business, in its base currency: open invoices, amount."""
        return {str(key): (_int(n), _money(amount)) for key, n, amount in self._ask(_RECEIVABLES)}

    def _ask(self, query: str) -> list[tuple[Cell, ...]]:
        return self._connection.execute(sql.SQL(query).format(schema=sql.Identifier(SCHEMA))).fetchall()


def rows_table(warehouse: Warehouse, since: datetime) -> list[str]:
    """Lay out the rows per table and business, and how many of them this run loaded; empty tables in one line."""
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
    balances, receivables = warehouse.trial_balance(), warehouse.receivables()
    lines: list[Sequence[Cell]] = [("business", "debits", "credits", "trial balance", "open invoices", "receivable")]
    for key, name in warehouse.businesses().items():
        _, debit, credit = balances.get(key, (0, Decimal(0), Decimal(0)))
        invoices, amount = receivables.get(key, (0, Decimal(0)))
        verdict = "balanced" if debit == credit else f"OUT BY {debit - credit:,.2f}"
        lines.append((name, debit, credit, verdict, invoices, amount))
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
