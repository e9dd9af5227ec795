"""A simulated Sage loaded into a Postgres, a copy of it in DuckDB, and dbt for both."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from sage_sandbox.server import SandboxServer
from sage_workbench.dbt_process import Dbt
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.loading import Loading
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_sandbox.store import World

SCHEMA, MODELS, KEPT = "sage", "sage_finance", "kept"


@dataclass(frozen=True)
class Warehouse:
    """A Postgres that a simulated Sage was loaded into, and dbt, with the variables that lead it there."""

    server: SandboxServer
    loading: Loading
    connection: psycopg.Connection
    dbt: Dbt
    variables: dict[str, str]

    def ask(self, query: str) -> list[tuple[object, ...]]:
        """Query the models' and the tap's tables."""
        self.connection.execute(f"set search_path to {MODELS}, {SCHEMA}")
        return self.connection.execute(query).fetchall()

    def records(self, query: str) -> list[dict[str, Any]]:
        """Query the models' tables; each row is a map from column to value."""
        self.connection.execute(f"set search_path to {MODELS}, {SCHEMA}")
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query).fetchall()

    def differing(self) -> set[str]:
        """The checks that differ for some business in some month."""
        found = self.ask("select distinct check_id from sage__reconciliation where verdict = 'differs'")
        return {str(check) for (check,) in found}

    @contextmanager
    def copies(self) -> Iterator[Callable[[str, str, str], int]]:
        """Yield a function that adds a copy of a business, changed by a statement; remove all copies in the end.

        The statement sees the tap's tables with the rows of the copy alone, which has an id of its own. What it does
        not change is not added.
        """
        with_business = f"""select table_name from information_schema.columns
            where table_schema = '{SCHEMA}' and column_name = 'business_id'"""
        tables = [(sql.Identifier(SCHEMA, str(name)), sql.Identifier(str(name))) for (name,) in self.ask(with_business)]
        added = []

        def add(original: str, copy: str, statement: str) -> int:
            for table, own in tables:
                self._do("create temp table {1} as select * from {0} where business_id = {2}", table, own, original)
                self._do("update {0} set business_id = {1}", own, copy)
            self._do("update businesses set id = {0}", copy)
            if changed := self.connection.execute(statement).rowcount:
                added.append(copy)
            for table, own in tables:
                if changed:
                    self._do("insert into {0} table pg_temp.{1}", table, own)
                self._do("drop table pg_temp.{0}", own)
            return changed

        try:
            yield add
        finally:
            for table, _ in tables:
                self.connection.execute(sql.SQL("delete from {} where business_id = any(%s)").format(table), [added])

    def _do(self, statement: str, *parts: sql.Composable | str) -> None:
        composed = [sql.Literal(part) if isinstance(part, str) else part for part in parts]
        self.connection.execute(sql.SQL(statement).format(*composed))

    @contextmanager
    def changed(self, table: str, statement: str) -> Iterator[int]:
        """Change a table of the tap's, and restore it. Yields how many rows were changed."""
        names = {"table": sql.Identifier(table), "schema": sql.Identifier(SCHEMA), "kept": sql.Identifier(KEPT)}
        self.connection.execute(sql.SQL("create table {kept}.{table} as table {schema}.{table}").format(**names))
        self.connection.execute(f"set search_path to {SCHEMA}")
        try:
            yield self.connection.execute(statement).rowcount
        finally:
            self.connection.execute(sql.SQL("truncate {schema}.{table}").format(**names))
            self.connection.execute(sql.SQL("insert into {schema}.{table} table {kept}.{table}").format(**names))
            self.connection.execute(sql.SQL("drop table {kept}.{table}").format(**names))

    @contextmanager
    def without(self, *tables: str) -> Iterator[None]:
        """Take tables away, and bring them back."""
        for table in tables:
            self.connection.execute(f'alter table {SCHEMA}."{table}" set schema {KEPT}')
        try:
            yield
        finally:
            for table in tables:
                self.connection.execute(f'alter table {KEPT}."{table}" set schema {SCHEMA}')


ALL = frozenset(stream.name for stream in STREAMS)


@contextmanager
def loaded(
    world: World, directory: Path, load: Callable[[Loading], None] = lambda loading: loading.run(ALL)
) -> Iterator[Warehouse]:
    """Load a world into a Postgres of its own; without `load`, all streams of all businesses at once."""
    with SandboxServer(world) as server, postgres_server() as url:
        loading = Loading(server, url, directory, SCHEMA)
        load(loading)
        parts = urlsplit(url.replace("+psycopg", ""))
        variables = {
            "DBT_POSTGRES_HOST": parse_qs(parts.query)["host"][0],
            "DBT_POSTGRES_USER": parts.netloc.removesuffix("@"),
            "DBT_POSTGRES_DATABASE": parts.path[1:],
        }
        with (
            psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection,
            Dbt(directory / "dbt", variables) as dbt,
        ):
            connection.execute(f"create schema {KEPT}")
            yield Warehouse(server, loading, connection, dbt, variables)


def duckdb_dbt(path: Path, name: str) -> Dbt:
    return Dbt(path.with_name(name), {"DBT_TARGET": "duckdb", "DBT_DUCKDB_PATH": str(path)})


def copy_to_duckdb(warehouse: Warehouse, path: Path) -> None:
    """Load the same rows as a target for DuckDB does: texts, but for what is nested."""
    tables = (
        f"select table_name, column_name, data_type from information_schema.columns where table_schema = '{SCHEMA}'"
    )
    columns: dict[str, dict[str, str]] = defaultdict(dict)
    for table, column, kind in warehouse.ask(tables):
        columns[str(table)][str(column)] = "JSON" if kind in ("jsonb", "ARRAY") else "VARCHAR"
    with duckdb.connect(path) as connection:
        connection.execute(f"create schema {SCHEMA}")
        for table, kinds in columns.items():
            rows = path.with_name(f"{table}.json")
            rows.write_text(
                "\n".join(str(row) for (row,) in warehouse.ask(f'select to_json(t)::text from "{table}" t'))
            )
            source = f"read_json('{rows}', format = 'newline_delimited', columns = {json.dumps(kinds)})"
            connection.execute(f'create table {SCHEMA}."{table}" as select * from {source}')
