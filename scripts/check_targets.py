#!/usr/bin/env python
"""Check how the streams land in the targets of meltano.yml, and print a table of it.

As somebody new would, in a fresh copy of the project: `meltano run` loads a simulated Sage into Postgres, DuckDB and
JSON lines, and from DuckDB into Parquet files; Meltano installs the targets as meltano.yml pins them. Every value is
compared with the books. Then three days pass in the simulated Sage, a second run loads what changed, and everything is
compared again, deletions included. target-bigquery and target-snowflake translate the catalog, for which they need no
cloud.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

ROOT = Path(__file__).parent.parent

from sage_sandbox.books import build_world  # noqa: E402
from sage_sandbox.server import SandboxServer  # noqa: E402
from sage_workbench.embedded_postgres import postgres_server  # noqa: E402
from sage_workbench.equality import differences  # noqa: E402
from sage_workbench.pipeline import ALL, PROGRAMS, Books, catalog_of  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Record = dict[str, Any]
    Place = tuple[str, str, str]
    Rows = dict[Place, Record]
    Columns = dict[tuple[str, str], str]

TAP = "tap-sage-accounting"
SCHEMA = "sage"
DAYS = 3
"""Days of business between the two runs."""
LONG = "12345678901234567890.1234567891"
KINDS = ("number", "integer", "date", "date-time", "object", "array of objects", "array of texts")

READ_DUCKDB = """
import duckdb, json, sys
database, directory, *tables = sys.argv[1:]
connection = duckdb.connect(database)
for name in tables:
    source = f"'{directory}/sage_{name}.parquet'" if directory != "-" else f'sage."{name}"'
    columns = [column[:2] for column in connection.execute(f"describe select * from {source}").fetchall()]
    rows = connection.execute(f"select * from {source}").fetchall()
    json.dump({"table": name, "columns": columns, "rows": rows}, sys.stdout, default=str)
    print()
"""
TRANSLATE_BIGQUERY = """
import json, sys
from target_bigquery.core import SchemaResolverVersion, SchemaTranslator

def flat(fields, place=""):
    for field in fields:
        here = f"{place}.{field.name}" if place else field.name
        yield here, field.field_type.upper() + (" REPEATED" if field.mode == "REPEATED" else "")
        yield from flat(field.fields, here)

for entry in json.load(open(sys.argv[1]))["streams"]:
    translator = SchemaTranslator(entry["schema"], {}, resolver_version=SchemaResolverVersion.V1)
    print(json.dumps({"table": entry["stream"], "columns": list(flat(translator.translated_schema))}))
"""
TRANSLATE_SNOWFLAKE = """
import json, sys
from target_snowflake.connector import SnowflakeConnector

connector = SnowflakeConnector(config={"account": "none", "database": "none", "user": "none", "password": "none"})
for entry in json.load(open(sys.argv[1]))["streams"]:
    columns = [(name, str(connector.to_sql_type(part))) for name, part in entry["schema"]["properties"].items()]
    print(json.dumps({"table": entry["stream"], "columns": columns}))
"""


@dataclass
class Landing:
    """How the streams land in one target.

    Attributes:
        rounds: what each run left: rows lost, values changed, deletions not marked.
    """

    target: str
    types: dict[str, Counter[str]]
    columns_lost: int
    rounds: list[tuple[str, str, str]] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)


class Project:
    """A fresh copy of the project, on a simulated Sage of six businesses."""

    def __init__(self, directory: Path, server: SandboxServer, database: str, decimals: str) -> None:
        self.directory = directory / "project"
        self.output = self.directory / "output"
        self.output.mkdir(parents=True)
        for name in ("meltano.yml", "logging.yaml"):
            shutil.copy(ROOT / name, self.directory)
        self.server = server
        self.database = database
        self.settings = server.tap_config(
            token_store=f"sqlite:///{directory / 'tokens.sqlite'}", decimals=decimals, deletion_sweep_days=0
        )
        prefix = TAP.upper().replace("-", "_")
        self._environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("MELTANO_", "TAP_", "TARGET_"))
            },
            **{f"{prefix}_{name.upper()}": str(value) for name, value in self.settings.items()},
            f"{prefix}__SELECT": '["*.*"]',
            "TARGET_POSTGRES_SQLALCHEMY_URL": database,
            # Nothing that is not in the project: no hub, and no settings of the user's.
            "MELTANO_HUB_URL": "http://127.0.0.1:1",
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
        }

    def meltano(self, *arguments: str) -> None:
        """Run Meltano in it."""
        command = [str(PROGRAMS / "meltano"), "--environment=prod", *arguments]
        run(*command, directory=self.directory, environment=self._environment)

    def run_in(self, loader: str, *arguments: str) -> list[Record]:
        """Run Python in the environment of one of its loaders; give the JSON lines that it prints."""
        python = self.directory / ".meltano" / "loaders" / loader / "venv" / "bin" / "python"
        return [json.loads(line) for line in run(str(python), *arguments).splitlines()]

    def properties(self) -> Iterator[tuple[str, str, Record]]:
        """Return stream, name and schema of every column."""
        for entry in catalog_of(self.settings, ALL)["streams"]:
            for name, part in entry["schema"]["properties"].items():
                yield entry["stream"], name, part


def run(*command: str, directory: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a program to its end; give what it prints.

    Raises:
        SystemExit: it failed; with the end of what it had to say.
    """
    done = subprocess.run(  # noqa: S603 - programs of the project and its targets
        command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def kind_of(part: Record) -> str:
    """Return of which of the kinds a column is."""
    [kind] = [name for name in ([part["type"]] if isinstance(part["type"], str) else part["type"]) if name != "null"]
    if kind == "array":
        return "array of objects" if "properties" in part["items"] else "array of texts"
    return {"x-singer.decimal": "number"}.get(part.get("format", kind), str(part.get("format", kind)))


def landing(target: str, project: Project, columns: Columns) -> Landing:
    """Count the target's types of each kind of column, and the columns that it does not have."""
    types: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    lost = 0
    for stream, name, part in project.properties():
        if (stream, name) not in columns:
            lost += 1
        elif (kind := kind_of(part)) in types:
            types[kind][columns[stream, name]] += 1
    return Landing(target, types, lost)


def compare(found: Landing, books: Books, rows: Rows, landed: set[Place]) -> None:
    """Compare every value that landed with the books, and see that what was deleted since the first run is marked."""
    missing = books.alive.keys() - rows.keys()
    changed = [
        f"{place[0]}.{difference}"
        for place, body in books.alive.items()
        if place in rows
        for difference in differences(body, rows[place])
    ]
    deleted = books.deleted.keys() & landed
    unmarked = [place for place in deleted if not rows.get(place, {}).get("deleted_at")]
    found.rounds.append(
        (f"{len(missing)} of {len(books.alive)}", str(len(changed)), f"{len(unmarked)} of {len(deleted)}")
    )
    found.examples += [f"missing: {place[0]}" for place in sorted(missing)[:3]] + changed[:3]


def exact(value: Any) -> Any:
    """Give a binary fraction as the decimal that it prints as."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def place_of(stream: str, row: Record) -> Place:
    """Return by what the books know a row; a mark of a deleted rate has no more than its key."""
    key = row.get("id") or (row.get("path") or "").rpartition("/")[2] or row.get("currency_id")
    return stream, row.get("business_id") or "", str(key)


def read_jsonl(project: Project) -> tuple[Columns, Rows]:
    """Read the last version of each record; the mark of a deleted one may say nothing else."""
    rows: Rows = {}
    for file in project.output.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            row = json.loads(line, parse_float=Decimal)
            place = place_of(file.stem, row)
            rows[place] = {**rows.get(place, {}), **row}
    columns = {(stream, name): f"JSON {kind_of(part).partition(' ')[0]}" for stream, name, part in project.properties()}
    return columns, rows


def read_postgres(project: Project) -> tuple[Columns, Rows]:
    """Read all tables."""
    url = project.database.replace("+psycopg", "")
    with psycopg.connect(url, row_factory=dict_row) as connection:
        set_json_loads(lambda text: json.loads(text, parse_float=Decimal), connection)
        found = connection.execute(
            "select table_name, column_name, data_type, udt_name from information_schema.columns"
            " where table_schema = %s",
            [SCHEMA],
        ).fetchall()
        columns = {
            (each["table_name"], each["column_name"]): f"{each['udt_name'][1:]}[]"
            if each["data_type"] == "ARRAY"
            else each["data_type"]
            for each in found
        }
        rows = {
            place_of(stream, row): row
            for stream in {stream for stream, _ in columns}
            for row in connection.execute(f'select * from {SCHEMA}."{stream}"').fetchall()  # noqa: S608 - own names
        }
    return columns, rows


def read_duckdb(project: Project, parquet: str = "-") -> tuple[Columns, Rows]:
    """Read all tables, or the Parquet files in a directory."""
    database = str(project.output / "warehouse.duckdb")
    tables = project.run_in("target-duckdb", "-c", READ_DUCKDB, database, parquet, *sorted(ALL))
    columns = {(table["table"], name): kind for table in tables for name, kind in table["columns"]}
    rows = {
        place_of(table["table"], row): row
        for table in tables
        for row in (duckdb_row(table["columns"], values) for values in table["rows"])
    }
    return columns, rows


def read_parquet(project: Project) -> tuple[Columns, Rows]:
    """Read the files that the project's job makes of the DuckDB database."""
    project.meltano("run", "parquet:export")
    return read_duckdb(project, str(project.output / "parquet"))


def duckdb_row(columns: list[list[str]], values: list[Any]) -> Record:
    """Read a row, of which DuckDB gives JSON as text."""
    return {
        name: json.loads(value, parse_float=Decimal) if kind == "JSON" and value is not None else exact(value)
        for (name, kind), value in zip(columns, values, strict=True)
    }


LOADED: dict[str, tuple[str, Callable[[Project], tuple[Columns, Rows]]]] = {
    "target-postgres": ("target-postgres", read_postgres),
    "target-jsonl": ("target-jsonl", read_jsonl),
    "target-duckdb": ("target-duckdb", read_duckdb),
    "Parquet, by DuckDB": ("", read_parquet),
}
"""By name: the loader that is run, and what reads the result. Without a loader, what the one before left is read."""
TRANSLATED = {"target-bigquery": TRANSLATE_BIGQUERY, "target-snowflake": TRANSLATE_SNOWFLAKE}


def check_loads(project: Project) -> list[Landing]:
    """Load everything, let days pass, load what changed; compare after each."""
    first = Books.of(project.server)
    landings: dict[str, Landing] = {}
    for name, rows in loaded(project, landings):
        compare(landings[name], first, rows, set())
    project.server.advance(DAYS)
    second = Books.of(project.server)
    for name, rows in loaded(project, landings):
        compare(landings[name], second, rows, set(first.alive))
    return list(landings.values())


def loaded(project: Project, landings: dict[str, Landing]) -> Iterator[tuple[str, Rows]]:
    """Run the pipeline into each target; give what it holds then."""
    for name, (loader, read) in LOADED.items():
        if loader:
            project.meltano("run", TAP, loader)
        columns, rows = read(project)
        landings.setdefault(name, landing(name, project, columns))
        yield name, rows


def check_translations(project: Project) -> Iterator[Landing]:
    """Translate the catalog with the targets' own code."""
    catalog = project.directory / "catalog.json"
    catalog.write_text(json.dumps(catalog_of(project.settings, ALL)))
    project.meltano("install", "--plugin-type=loader", *TRANSLATED)
    for target, program in TRANSLATED.items():
        tables = project.run_in(target, "-c", program, str(catalog))
        columns = {(table["table"], name): kind for table in tables for name, kind in table["columns"]}
        yield landing(target, project, columns)


def print_table(landings: list[Landing]) -> None:
    """Print what was found as Markdown."""
    results = ["rows lost", "values changed", "deletions not marked"]
    heads = ["target", "columns lost", *results, *(f"{each}, {DAYS} days later" for each in results), *KINDS]
    print("|", " | ".join(heads), "|")
    print("|", " | ".join("---" for _ in heads), "|")
    for each in landings:
        types = [", ".join(each.types[kind]) for kind in KINDS]
        rounds = [cell for found in each.rounds for cell in found] or ["not loaded"] * 2 * len(results)
        print("|", " | ".join([each.target, str(each.columns_lost), *rounds, *types]), "|")
    for each in landings:
        for example in each.examples:
            print(f"{each.target}: {example}")


def main() -> None:
    """Check all targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--decimals", choices=["number", "string", "text"], default="number", help="as the tap's setting"
    )
    options = parser.parse_args()
    world = build_world(size="tiny", businesses=6, frozen=True)
    products = next(iter(world.businesses.values())).collections["products"]
    products.change(next(iter(products.rows)), {"cost_price": LONG}, None)
    with (
        tempfile.TemporaryDirectory() as scratch,
        SandboxServer(world) as server,
        postgres_server() as database,
    ):
        server.faults.detail_flags_on_lists = True
        project = Project(Path(scratch), server, database, options.decimals)
        print_table([*check_loads(project), *check_translations(project)])


if __name__ == "__main__":
    main()
