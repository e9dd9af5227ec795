"""Models that keep what did not change hold, row by row, what a full build makes of the same books."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest
import yaml

from sage_sandbox.books import advance, build_world
from sage_workbench.dbt_process import TRANSFORM, Dbt
from sage_workbench.finance_warehouse import ALL, MODELS, SCHEMA, Warehouse, copy_to_duckdb, loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

KEPT = ("sage__general_ledger", "sage__invoice_lines")
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
    f"delete from purchase_invoices where id = (select min(id) from purchase_invoices where {HERE})",
)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    world = build_world(size="tiny", businesses=2, frozen=True)
    with loaded(world, tmp_path_factory.mktemp("incremental")) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def incremental(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the models, which keeps what did not change, and looks back at nothing else."""
    project = tmp_path_factory.mktemp("project")
    for name in ("models", "macros", "tests"):
        (project / name).symlink_to(TRANSFORM / name)
    settings = yaml.safe_load((TRANSFORM / "dbt_project.yml").read_text())
    settings["vars"] |= {"sage_incremental": True, "sage_lookback_days": 0}
    (project / "dbt_project.yml").write_text(yaml.safe_dump(settings))
    return project


def days(warehouse: Warehouse) -> Iterator[int]:
    """Let a day pass in the books, and change what was loaded long ago."""
    yield 0
    with warehouse.server.paused():
        advance(warehouse.server.world)
    warehouse.loading.run(ALL)
    warehouse.connection.execute(f"set search_path to {SCHEMA}")
    for edit in EDITS:
        assert warehouse.connection.execute(edit).rowcount > 0, edit
    yield 1


def test_an_incremental_build_holds_what_a_full_one_does(
    warehouse: Warehouse, incremental: Path, tmp_path: Path
) -> None:
    file, fresh = tmp_path / "warehouse.duckdb", tmp_path / "fresh.duckdb"
    of_duckdb = {"DBT_TARGET": "duckdb", "DBT_DUCKDB_PATH": str(file)}
    full = ("run", "--full-refresh", "--select", *KEPT)
    with Dbt(tmp_path / "postgres", warehouse.variables, incremental) as dbt:
        for day in days(warehouse):
            dbt.run(*BUILD)
            copy_to_duckdb(warehouse, fresh)
            replace_loaded(file, fresh)
            with Dbt(tmp_path / f"duckdb-{day}", of_duckdb, incremental) as in_duckdb:
                in_duckdb.run(*BUILD)
        assert warehouse.ask("select count(distinct xmin::text) from sage__general_ledger") > [(1,)]
        kept = rows_of(warehouse.ask), rows_of(lambda query: read(file, query))
        dbt.run(*full)
    with Dbt(tmp_path / "duckdb-full", of_duckdb, incremental) as dbt:
        dbt.run(*full)
    assert kept == (rows_of(warehouse.ask), rows_of(lambda query: read(file, query)))


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
