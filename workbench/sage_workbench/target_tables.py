"""Reads back what targets wrote: columns with their types, and rows with their values as they are there."""

from __future__ import annotations

import json
import subprocess
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from sage_workbench.landing import kind_of, placed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sage_workbench.landing import Columns, Record, Rows

    Read = tuple[Columns, Rows]
    Properties = Mapping[tuple[str, str], Record]

READ_DUCKDB = """
import duckdb, json, sys
database, *sources = sys.argv[1:]
connection = duckdb.connect(database)
for stream, source in (pair.split("=", 1) for pair in sources):
    try:
        columns = [column[:2] for column in connection.execute(f"describe select * from {source}").fetchall()]
    except (duckdb.CatalogException, duckdb.IOException):
        continue  # nothing came
    cursor = connection.execute(f"select * from {source}")
    print(json.dumps({"table": stream, "columns": columns, "rows": cursor.fetchall()}, default=str))
"""
READ_BIGQUERY = """
import json, sys
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
client = bigquery.Client(project="local", credentials=AnonymousCredentials())
tables = {table.table_id for table in client.list_tables(sys.argv[1])}  # none where nothing came
for stream in tables.intersection(sys.argv[2:]):
    place = f"local.{sys.argv[1]}.{stream}"
    columns = [
        (field.name, field.field_type + (" REPEATED" if field.mode == "REPEATED" else ""))
        for field in client.get_table(place).schema
    ]
    rows = [[row[name] for name, _ in columns] for row in client.query(f"select * from `{place}`").result()]
    print(json.dumps({"table": stream, "columns": columns, "rows": rows}, default=str))
"""


def read_postgres(url: str, schema: str) -> Read:
    """Read all tables of a schema."""
    with psycopg.connect(url.replace("+psycopg", ""), row_factory=dict_row) as connection:
        set_json_loads(lambda text: json.loads(text, parse_float=Decimal), connection)
        found = connection.execute(
            "select table_name, column_name, data_type, udt_name from information_schema.columns"
            " where table_schema = %s",
            [schema],
        ).fetchall()
        columns = {
            (each["table_name"], each["column_name"]): f"{each['udt_name'][1:]}[]"
            if each["data_type"] == "ARRAY"
            else each["data_type"]
            for each in found
        }
        rows: Rows = {}
        for stream in {stream for stream, _ in columns}:
            rows.update(placed(stream, connection.execute(f'select * from {schema}."{stream}"').fetchall()))
    return columns, rows


def read_jsonl(directory: Path, properties: Properties) -> Read:
    """Read the last version of each record; the mark of a deleted one may say nothing else."""
    rows: Rows = {}
    for file in sorted(directory.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            for place, row in placed(file.stem, [json.loads(line, parse_float=Decimal)]):
                rows[place] = {**rows.get(place, {}), **row}
    return {place: f"JSON {kind_of(part).partition(' ')[0]}" for place, part in properties.items()}, rows


def read_duckdb(python: Path, database: str, sources: Mapping[str, str], properties: Properties) -> Read:
    """Read tables, or files, with the DuckDB of a target's environment.

    Args:
        python: of that environment.
        database: a file, or `:memory:`.
        sources: what to select from, by stream.
        properties: the schemas of all columns.
    """
    pairs = (f"{stream}={source}" for stream, source in sources.items())
    return _rows_of(_printed(python, READ_DUCKDB, database, *pairs), properties)


def read_bigquery(
    python: Path, variables: Mapping[str, str], dataset: str, streams: Iterable[str], properties: Properties
) -> Read:
    """Read all tables of a dataset, with the library of the target's environment."""
    return _rows_of(_printed(python, READ_BIGQUERY, dataset, *streams, environment=variables), properties)


def _printed(python: Path, program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> list[Record]:
    command = [str(python), "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


def _rows_of(tables: Iterable[Record], properties: Properties) -> Read:
    columns: Columns = {}
    rows: Rows = {}
    for table in tables:
        names = [name.lower() for name, _ in table["columns"]]
        columns |= {(table["table"], name): kind for name, (_, kind) in zip(names, table["columns"], strict=True)}
        kinds = {
            name: kind_of(properties[table["table"], name]) for name in names if (table["table"], name) in properties
        }
        for place, row in placed(table["table"], (dict(zip(names, values, strict=True)) for values in table["rows"])):
            read = {name: _nested(value, kinds.get(name, "")) for name, value in row.items()}
            if place in rows:  # in files: a later version of it, or the mark of its deletion, which has little else
                read = rows[place] | {name: value for name, value in read.items() if value is not None}
            rows[place] = read
    return columns, rows


def _nested(value: Any, kind: str) -> Any:
    """Read what is nested and stands as text."""
    is_text = isinstance(value, str) and kind.startswith(("object", "array"))
    return json.loads(value, parse_float=Decimal) if is_text else value
