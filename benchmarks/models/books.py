"""Books of any size in the tap's tables: those of a small simulated Sage, and generated ones beside them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
from psycopg import sql

from benchmarks.environments import clean_environment
from benchmarks.sage import Books, Sage

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = "sage"
TODAY = date(2026, 6, 30)
"""The last day of the made books, which is the small Sage's today."""
BUSINESSES = 5
DAYS = 3 * 365
ENTRIES_OF_A_CONTACT = 500
"""Large books have more customers and suppliers, not busier ones."""
LINES = {"line_of_invoice": "sales_invoices.invoice_lines", "line_of_payment": "other_payments.payment_lines"}
"""By variable of streams.sql: the lines of a loaded record that lend what stays equal."""

Columns = dict[str, dict[str, str]]
"""The columns of the tables, with their types in Postgres."""


def load_a_small_sage(url: str, directory: Path) -> None:
    """Load a simulated Sage into Postgres with the tap and its target, which make the tables.

    Args:
        url: the database, as SQLAlchemy writes it.
        directory: for configurations, tokens and logs.

    Raises:
        subprocess.CalledProcessError: tap or target failed. Their logs are in the directory.
    """
    with Sage(Books("tiny", 1)) as sage:
        address = vars(sage.open())
        names = ("client_id", "client_secret", "refresh_token", "api_url", "auth_url", "token_url")
        settings = {name: address[name] for name in names}
        settings["token_store"] = f"sqlite:///{directory / 'tokens.sqlite'}"
        messages = directory / "messages.jsonl"
        _program("tap-sage-accounting", settings, directory, produces=messages)
    _program("target-postgres", {"sqlalchemy_url": url, "default_target_schema": SCHEMA}, directory, takes=messages)


def _program(
    name: str, settings: dict[str, Any], directory: Path, *, takes: Path | None = None, produces: Path | None = None
) -> None:
    (config := directory / f"{name}.json").write_text(json.dumps(settings))
    with (
        (directory / f"{name}.log").open("wb") as log,
        (takes or Path("/dev/null")).open("rb") as source,
        (produces or directory / f"{name}.out").open("wb") as sink,
    ):
        command = [str(Path(sys.executable).with_name(name)), f"--config={config}"]
        subprocess.run(command, stdin=source, stdout=sink, stderr=log, env=clean_environment(), check=True)  # noqa: S603


class Made:
    """Books that are made, in a DuckDB beside what the tap loaded.

    Args:
        path: the database, which must not exist.
        entries: about how many the ledger has.
    """

    def __init__(self, path: Path, entries: int) -> None:
        self.path = path
        self.entries = entries

    def make(self, loaded: psycopg.Connection) -> None:
        """Copy what the tap loaded into Postgres, and make the rest beside it."""
        columns = columns_of(loaded)
        with duckdb.connect(self.path) as connection:
            connection.execute(f"create schema {SCHEMA}")
            for table, kinds in columns.items():
                self._copy(loaded, connection, table, kinds)
            make_books(connection, self.entries)
            for table in _streams(connection):
                made, _ = _split(connection, table, columns)
                values = [f'made."{name}"' for name in made]
                connection.execute(_insertion(connection, table, columns, values, f"streams.{table}"))

    def fill(self, loaded: psycopg.Connection) -> None:
        """Bring what was made into Postgres, beside what the tap loaded."""
        columns = columns_of(loaded)
        file = self.path.with_suffix(".csv")
        with duckdb.connect(self.path) as connection:
            for table in _streams(connection):
                made, _ = _split(connection, table, columns)
                connection.execute(f"copy streams.{table} to '{file}' (header false)")
                loaded.execute(f"create temp table made ({', '.join(f'{name} text' for name in made)})")
                with loaded.cursor().copy("copy made from stdin (format csv)") as copy, file.open("rb") as rows:
                    while block := rows.read(1 << 20):
                        copy.write(block)
                values = [_typed(name, columns[table][name]) for name in made]
                loaded.execute(_insertion(connection, table, columns, values, "made"))
                loaded.execute("drop table made")
        file.unlink()
        loaded.commit()
        loaded.autocommit = True
        loaded.execute("vacuum analyze")

    def forget(self) -> None:
        """Drop from DuckDB what the books were made of, so that only what a target leaves is there."""
        with duckdb.connect(self.path) as connection:
            connection.execute("drop schema made cascade; drop schema streams cascade; checkpoint")

    def _copy(
        self, loaded: psycopg.Connection, connection: duckdb.DuckDBPyConnection, table: str, kinds: dict[str, str]
    ) -> None:
        """Copy a table as target-duckdb has it where `decimals` is `text`: what is nested is JSON, the rest is text."""
        types = {name: "JSON" if kind.startswith(("jsonb", "text[]")) else "VARCHAR" for name, kind in kinds.items()}
        rows = self.path.with_suffix(".json")
        query = sql.SQL("select to_json(t)::text from {} t").format(sql.Identifier(SCHEMA, table))
        rows.write_text("\n".join(row for (row,) in loaded.execute(query).fetchall()))
        source = f"read_json('{rows}', format = 'newline_delimited', columns = {json.dumps(types)})"
        connection.execute(f"create table {SCHEMA}.{table} as select * from {source}")  # noqa: S608 - own names
        rows.unlink()


def make_books(connection: duckdb.DuckDBPyConnection, entries: int) -> None:
    """Make books in the schemas `made` and `streams`, beside the tables of a small Sage."""
    variables = {
        "entries": entries,
        "businesses": BUSINESSES,
        "contacts": max(10, entries // ENTRIES_OF_A_CONTACT // BUSINESSES),
        "products": max(100, entries // 5000),
        "days": DAYS,
        "today": f"date '{TODAY}'",
    }
    for name, value in variables.items():
        connection.execute(f"set variable {name} = {value}")
    for name, place in LINES.items():
        table, _, column = place.partition(".")
        line = f"(select json_extract({column}, '$[0]') from {SCHEMA}.{table} where {column} is not null limit 1)"  # noqa: S608
        connection.execute(f"set variable {name} = {line}")
    for script in ("books.sql", "streams.sql"):
        connection.execute((Path(__file__).parent / script).read_text())


def _streams(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Name the streams that were made."""
    names = """select table_name from information_schema.tables
        where table_schema = 'streams' and table_name <> 'document' order by table_name"""
    yield from [str(name) for (name,) in connection.execute(names).fetchall()]


def _split(connection: duckdb.DuckDBPyConnection, table: str, columns: Columns) -> tuple[list[str], list[str]]:
    """Return which columns of a stream were made, and which stay equal."""
    made = [str(row[0]) for row in connection.execute(f"describe streams.{table}").fetchall()]
    return made, [name for name in columns[table] if name not in made]


def _insertion(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Columns, values: list[str], source: str
) -> str:
    """Write the statement that inserts made records, with what stays equal from one that was loaded."""
    made, equal = _split(connection, table, columns)
    names = ", ".join(f'"{name}"' for name in made + equal)
    values = values + [f'kept."{name}"' for name in equal]
    kept = f"(select * from {SCHEMA}.{table} where _sdc_deleted_at is null limit 1) as kept"  # noqa: S608 - own names
    return f"insert into {SCHEMA}.{table} ({names}) select {', '.join(values)} from {source} as made cross join {kept}"  # noqa: S608


def _typed(name: str, kind: str) -> str:
    """Convert a text to a type of Postgres."""
    if kind == "jsonb[]":
        return f'array(select jsonb_array_elements(made."{name}"::jsonb))'
    return f'made."{name}"::{kind}'


def columns_of(loaded: psycopg.Connection) -> Columns:
    """Read which columns the tables have."""
    query = """select relname, attname, format_type(atttypid, atttypmod) from pg_attribute
        inner join pg_class on pg_class.oid = attrelid
        where relnamespace = %s::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
        order by 1, attnum"""
    columns: Columns = defaultdict(dict)
    for table, column, kind in loaded.execute(query, [SCHEMA]).fetchall():
        columns[table][column] = kind
    return columns
