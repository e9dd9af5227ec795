#!/usr/bin/env python
"""Build the finance models in Snowflake's dialect on an emulator, and compile and parse them in BigQuery's.

Neither warehouse runs here. fakesnow translates what dbt sends to Snowflake and runs it: everything must build and tie.
For BigQuery, dbt compiles with the columns that were loaded, and sqlglot parses every statement. A separate environment
has dbt's adapters and the emulator, as nothing else needs them.

    python scripts/check_warehouses.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import duckdb

from benchmarks.environments import environment
from sage_sandbox.books import build_world
from sage_workbench.dbt_process import TRANSFORM
from sage_workbench.finance_warehouse import SCHEMA, copy_to_duckdb, loaded

REQUIREMENTS = ("dbt-core>=1.11,<1.12", "dbt-snowflake>=1.11", "dbt-bigquery>=1.11", "fakesnow>=0.12", "sqlglot>=27")
PROFILES = {
    "sage": {
        "target": "snowflake",
        "outputs": {
            "snowflake": {
                "type": "snowflake",
                "account": "none",
                "user": "none",
                "password": "none",
                "database": "WAREHOUSE",
                "schema": "SAGE_FINANCE",
                "warehouse": "none",
                "threads": 1,
            },
            "bigquery": {
                "type": "bigquery",
                "method": "oauth",
                "project": "none",
                "dataset": "sage_finance",
                "threads": 1,
            },
        },
    }
}
PROJECT = {
    "name": "own",
    "version": "1.0.0",
    "profile": "sage",
    # The emulator understands no comments of Snowflake's.
    "models": {"sage_accounting": {"+persist_docs": {"relation": False, "columns": False}}},
}
BUILD_ON_FAKESNOW = """
import sys, fakesnow
with fakesnow.patch(db_path=sys.argv[1]):
    from dbt.cli.main import dbtRunner
    done = dbtRunner().invoke(["build", "--exclude-resource-type", "unit_test", "--target", "snowflake"])
sys.exit(0 if done.success else 1)
"""
COMPILE_FOR_BIGQUERY = """
import json, pathlib, re, sys
from unittest.mock import MagicMock
import agate, sqlglot
from dbt.adapters.bigquery import BigQueryAdapter
from dbt.adapters.bigquery.connections import BigQueryConnectionManager
from dbt.adapters.contracts.connection import AdapterResponse
from dbt.cli.main import dbtRunner

columns = json.loads(pathlib.Path(sys.argv[1]).read_text())

def execute(self, query, *_, **__):
    [table] = re.findall(r"table_name in \\('(\\w+)'", query)
    rows = [(name, "STRING") for name in columns.get(table, [])]
    return AdapterResponse("OK"), agate.Table(rows, ["column_name", "data_type"], [agate.Text(), agate.Text()])

def open_none(cls, connection):
    connection.state, connection.handle = "open", MagicMock()
    return connection

BigQueryAdapter.execute = execute
BigQueryAdapter.get_relation = lambda *_, **__: None
BigQueryConnectionManager.open = classmethod(open_none)
done = dbtRunner().invoke(["--no-populate-cache", "--quiet", "compile", "--target", "bigquery"])
assert done.success, done.exception
files = sorted(pathlib.Path("target/compiled").rglob("*.sql"))
for file in files:
    statement = sqlglot.parse_one(file.read_text(), read="bigquery")
    for each in statement.find_all(sqlglot.exp.DataType):
        # BigQuery's numeric has at most nine decimals, and 29 digits before them.
        if each.this == sqlglot.exp.DataType.Type.DECIMAL and each.expressions:
            digits, decimals = (int(part.name) for part in each.expressions)
            assert decimals <= 9 and digits - decimals <= 29, (file, each.sql())
print(f"BigQuery: {len(files)} statements compiled and parsed.")
"""


def main() -> None:
    """Check both warehouses."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    python = environment(Path(tempfile.gettempdir()), "warehouses", REQUIREMENTS)
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        columns = load(directory)
        (directory / "dbt_packages").mkdir()
        (directory / "dbt_packages" / "sage_accounting").symlink_to(TRANSFORM)
        (directory / "packages.yml").write_text(json.dumps({"packages": [{"local": "dbt_packages/sage_accounting"}]}))
        (directory / "dbt_project.yml").write_text(json.dumps(PROJECT))
        (directory / "profiles.yml").write_text(json.dumps(PROFILES))
        (directory / "columns.json").write_text(json.dumps(columns))
        run(python, BUILD_ON_FAKESNOW, "snowflake", directory)
        run(python, COMPILE_FOR_BIGQUERY, "columns.json", directory)


def load(directory: Path) -> dict[str, list[str]]:
    """Load a simulated Sage as Snowflake's target names things, for the emulator; return the columns of each table."""
    (directory / "loading").mkdir()
    (directory / "snowflake").mkdir()
    copy = directory / "loading" / "copy.duckdb"
    with loaded(build_world(size="tiny", businesses=3, frozen=True), directory / "loading") as warehouse:
        copy_to_duckdb(warehouse, copy)
    columns: dict[str, list[str]] = {}
    with duckdb.connect(directory / "snowflake" / "WAREHOUSE.db") as connection:
        connection.execute(f"attach '{copy}' as loaded (read_only); create schema {SCHEMA.upper()}")
        tables = "select table_name from information_schema.tables where table_catalog = 'loaded' and table_schema = ?"
        for (table,) in connection.execute(tables, [SCHEMA]).fetchall():
            names = [row[0] for row in connection.execute(f'describe loaded.{SCHEMA}."{table}"').fetchall()]
            upper = ", ".join(f'"{name}" as "{name.upper()}"' for name in names)
            connection.execute(
                f'create table {SCHEMA.upper()}."{table.upper()}" as select {upper} from loaded.{SCHEMA}."{table}"'  # noqa: S608
            )
            columns[table] = names
    return columns


def run(python: Path, program: str, argument: str, directory: Path) -> None:
    """Run a program in the environment of the adapters.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    subprocess.run([python, "-c", program, argument], cwd=directory, check=True)  # noqa: S603 - our own programs


if __name__ == "__main__":
    main()
