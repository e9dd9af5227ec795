"""A day later the finance models tie, however the books are kept, and incremental models equal full ones.

`scripts/check_days.py` lets ten days pass.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pytest
import yaml

from sage_sandbox.books import advance, build_world
from sage_workbench.dbt_process import TRANSFORM, Dbt
from sage_workbench.finance_days import PLANS, Verdict, reconciled
from sage_workbench.finance_warehouse import ALL, MODELS, SCHEMA, Warehouse, copy_to_duckdb, loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres

CERTAIN = {"trial_balance", "double_entry", "balance_sheet", "earnings", "cash_flow", "payments", "document_lines"}
KEPT = ("sage__general_ledger", "sage__invoice_lines")
RECONCILED = "reconciled"
BUILD = ("run", "--select", *(f"+{name}" for name in KEPT))
NOW = "_sdc_extracted_at = now() at time zone 'utc'"
HERE = "business_id = (select max(id) from businesses)"
CLOSED = f"{HERE} and not deleted and date between '2025-03-01' and '2025-09-30'"
EDITS = (
    # An entry is dated back and gets another amount; one is deleted, one flagged, and one dropped without a trace.
    f"""update ledger_entries set date = date - 60, debit = debit + 5, {NOW}
    where id = (select min(id) from ledger_entries where {CLOSED} and debit > 0)""",
    f"""update ledger_entries set _sdc_deleted_at = now()
    where id = (select max(id) from ledger_entries where {CLOSED})""",
    f"""update ledger_entries set deleted = true, {NOW}
    where id = (select id from ledger_entries where {CLOSED} order by id offset 7 limit 1)""",
    f"""delete from ledger_entries
    where id = (select id from ledger_entries where {CLOSED} order by id offset 9 limit 1)""",
    # What stands beside old entries and lines changes, and nothing of the entries and lines themselves.
    "update contacts set name = name || ' & Co' where id = (select min(contact ->> 'id') from sales_invoices)",
    f"""update ledger_accounts set name = 'Sundry ' || name
    where id = (select min(ledger_account ->> 'id') from ledger_entries where {HERE})""",
    f"""update transactions set reference = 'Other' where id in (
        select transaction ->> 'id' from ledger_entries where {CLOSED} order by id limit 5)""",
    """update products set description = 'New ' || description where id = (
        select min(products.id) from products
        inner join sales_invoices on invoice_lines[1] -> 'product' ->> 'id' = products.id)""",
    """update financial_settings set year_end_date = '2025-06-30'
    where business_id = (select min(id) from businesses)""",
    # A document loses a line, one is void, and one is dropped.
    f"""update sales_invoices set invoice_lines = invoice_lines[2:], {NOW}
    where id = (select min(id) from sales_invoices where {HERE} and cardinality(invoice_lines) > 1)""",
    f"""update sales_invoices set status = jsonb_build_object('id', 'VOID'), {NOW}
    where id = (select max(id) from sales_invoices where {HERE} and status ->> 'id' = 'UNPAID')""",
    "delete from purchase_invoices where id = (select min(id) from purchase_invoices)",
)


@dataclass(frozen=True)
class Incremental:
    """Models that keep what did not change, in both warehouses, and look back at nothing else.

    Attributes:
        postgres: builds them in Postgres.
        directory: holds the project, the DuckDB, and what dbt writes.
    """

    postgres: Dbt
    directory: Path

    @property
    def file(self) -> Path:
        return self.directory / "warehouse.duckdb"

    def load_duckdb(self, warehouse: Warehouse) -> None:
        """Copy what was loaded into Postgres, in place of what was copied before."""
        copy_to_duckdb(warehouse, fresh := self.directory / "fresh.duckdb")
        replace_loaded(self.file, fresh)

    def build(self, *command: str) -> None:
        """Run dbt in both."""
        self.postgres.run(*command)
        variables = {"DBT_TARGET": "duckdb", "DBT_DUCKDB_PATH": str(self.file)}
        with Dbt(self.directory / f"duckdb-{time.monotonic_ns()}", variables, self.directory / "project") as dbt:
            dbt.run(*command)

    def rows(self, warehouse: Warehouse) -> tuple[dict[str, list[tuple[object, ...]]], ...]:
        """Read both models of both warehouses."""
        return rows_of(warehouse.ask), rows_of(lambda query: read(self.file, query))


@dataclass(frozen=True)
class NextDay:
    """Books of which a day passed after the incremental models were built, loaded and reconciled."""

    warehouse: Warehouse
    incremental: Incremental
    verdicts: list[Verdict]


@pytest.fixture(scope="module")
def next_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NextDay]:
    world = build_world(size="tiny", businesses=len(PLANS), frozen=True, plans=PLANS)
    directory = tmp_path_factory.mktemp("days")
    project = incremental_project(directory / "project")
    with loaded(world, directory) as warehouse, Dbt(directory / "postgres", warehouse.variables, project) as postgres:
        incremental = Incremental(postgres, directory)
        incremental.load_duckdb(warehouse)
        incremental.build(*BUILD)
        with warehouse.server.paused():
            advance(world)
        warehouse.loading.run(ALL)
        # Elsewhere than what the incremental models have kept.
        with Dbt(directory / "reconciled", warehouse.variables | {"DBT_SCHEMA": RECONCILED}) as dbt:
            verdicts = [*reconciled(1, dbt, warehouse, RECONCILED)]
        yield NextDay(warehouse, incremental, verdicts)


def incremental_project(project: Path) -> Path:
    """Make a project with the models."""
    project.mkdir()
    for name in ("models", "macros", "tests"):
        (project / name).symlink_to(TRANSFORM / name)
    settings = yaml.safe_load((TRANSFORM / "dbt_project.yml").read_text())
    settings["vars"] |= {"sage_incremental": True, "sage_lookback_days": 0}
    (project / "dbt_project.yml").write_text(yaml.safe_dump(settings))
    return project


@pytest.mark.slow
def test_a_day_later_everything_ties_however_the_books_are_kept(next_day: NextDay) -> None:
    found = next_day.verdicts
    assert [each for each in found if each.verdict == "differs"] == []
    for check in CERTAIN:
        # A year and more, but for a month in which a business made no document.
        months = sum(each.count for each in found if each.check == check and each.verdict in {"ties", "explained"})
        assert months >= 11 * len(PLANS), check


def test_each_switch_of_what_is_not_known_of_sage_stands_both_ways() -> None:
    switches = [vars(plan.conventions) for plan in PLANS]
    untried = {"trial_balance_lag"}
    for name in switches[0].keys() - untried:
        assert len({each[name] for each in switches}) > 1, name
    assert {each["voids"] for each in switches} == {"flag", "reverse", "both"}
    assert {each["tax_settlement"] for each in switches} == {"journal", "transaction", "none"}


@pytest.mark.slow
def test_an_incremental_build_holds_what_a_full_one_does(next_day: NextDay) -> None:
    """A day has passed, and what was loaded long ago has changed."""
    warehouse, incremental = next_day.warehouse, next_day.incremental
    warehouse.connection.execute(f"set search_path to {SCHEMA}")
    for edit in EDITS:
        assert warehouse.connection.execute(edit).rowcount > 0, edit
    incremental.load_duckdb(warehouse)
    incremental.build(*BUILD)
    assert warehouse.ask("select count(distinct xmin::text) from sage__general_ledger") > [(1,)]
    kept = incremental.rows(warehouse)
    incremental.build("run", "--full-refresh", "--select", *KEPT)
    assert kept == incremental.rows(warehouse)


def rows_of(ask: Callable[[str], list[tuple[object, ...]]]) -> dict[str, list[tuple[object, ...]]]:
    """Read both models, sorted."""
    rows = {name: sorted(ask(f"select * from {MODELS}.{name}"), key=repr) for name in KEPT}
    assert all(rows.values())
    return rows


def read(file: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(file) as connection:
        return connection.execute(query).fetchall()


def replace_loaded(file: Path, fresh: Path) -> None:
    """Put what was loaded now in the place of what was loaded before, beside the models."""
    with duckdb.connect(file) as connection:
        connection.execute(f"attach '{fresh}' as fresh (read_only); create schema if not exists {SCHEMA}")
        tables = "select table_name from information_schema.tables where table_catalog = 'fresh'"
        for (table,) in connection.execute(tables).fetchall():
            connection.execute(f'create or replace table {SCHEMA}."{table}" as from fresh.{SCHEMA}."{table}"')
    fresh.unlink()
