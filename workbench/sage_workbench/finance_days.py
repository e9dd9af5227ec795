"""Days that pass in businesses of which none keeps books like another, each loaded, built and reconciled."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb

from sage_sandbox.books import Conventions, Plan, Practice, advance, build_world
from sage_workbench.finance_warehouse import ALL, MODELS, Warehouse, copy_to_duckdb, duckdb_dbt, loaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sage_workbench.dbt_process import Dbt

FLAT_RATE = Practice(
    year_end=(4, 5), scheme="FLAT_RATE_INVOICE", flat_rate=Decimal("12.5"), incorporated=False, control_journals=True
)
PLANS = (
    Plan("GB", "Plus", Practice(year_end=(4, 5))),
    Plan("GB", "Plus", Practice(year_end=(3, 31)), Conventions(voids="reverse", tax_settlement="transaction")),
    Plan(
        "IE",
        "Standard",
        Practice(scheme="CASH", control_journals=True),
        Conventions(voids="both", contact_balance="contact"),
    ),
    Plan(
        "GB",
        "Plus",
        Practice(year_end=(6, 30), scheme="CASH"),
        Conventions(tax_settlement="none", reverse_charge="none", correction_origin=False),
    ),
    Plan("GB", "Start", FLAT_RATE, Conventions(voids="reverse")),
    Plan(
        "CA",
        "Plus",
        Practice(year_end=(3, 31), control_journals=True),
        Conventions(voids="both", tax_settlement="transaction", correction_origin=False),
    ),
)
"""Each switch of what is not known of Sage stands both ways, in some business or other."""
RECONCILE = ("run", "--select", "+sage__reconciliation")
VERDICTS = """select check_id, verdict, severity, count(*), max(difference) from {}.sage__reconciliation
    group by 1, 2, 3 order by 1, 2"""


@dataclass(frozen=True)
class Verdict:
    """How many months of how many businesses got a verdict, and by how much they differ at most."""

    day: int
    warehouse: str
    check: str
    verdict: str
    severity: str
    count: int
    difference: Decimal


def verdicts(directory: Path, days: int, *, with_duckdb: bool) -> Iterator[Verdict]:
    """Load day 0, build and reconcile; let a day pass, load what changed, build and reconcile; and so on.

    Args:
        directory: for what the programs write.
        days: how many days pass.
        with_duckdb: whether a copy of what was loaded is built in DuckDB, too.
    """
    world = build_world(size="tiny", businesses=len(PLANS), frozen=True, plans=PLANS)
    with loaded(world, directory) as warehouse:
        for day in range(days + 1):
            if day:
                with warehouse.server.paused():
                    advance(world)
                warehouse.loading.run(ALL)
            yield from reconciled(day, warehouse.dbt, warehouse)
            if with_duckdb:
                path = directory / f"day-{day}.duckdb"
                copy_to_duckdb(warehouse, path)
                with duckdb_dbt(path, f"dbt-{day}") as dbt:
                    dbt.attempt(*RECONCILE)
                with duckdb.connect(path) as connection:
                    yield from _read(day, "DuckDB", connection.execute(VERDICTS.format(MODELS)).fetchall())
                path.unlink()


def reconciled(day: int, dbt: Dbt, warehouse: Warehouse, schema: str = MODELS) -> Iterator[Verdict]:
    """Build and reconcile what is loaded into a Postgres; `schema` is where dbt builds."""
    dbt.attempt(*RECONCILE)
    yield from _read(day, "Postgres", warehouse.ask(VERDICTS.format(schema)))


def _read(day: int, warehouse: str, rows: list[tuple[object, ...]]) -> Iterator[Verdict]:
    for check, verdict, severity, count, difference in rows:
        yield Verdict(
            day, warehouse, str(check), str(verdict), str(severity), int(str(count)), Decimal(str(difference))
        )
