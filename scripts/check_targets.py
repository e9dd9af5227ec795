#!/usr/bin/env python
"""Check how the streams land in targets that are not installed with this project, and print a table of it.

A simulated Sage is extracted once. target-jsonl and target-duckdb load the result, and every value is compared with the
books; from DuckDB it goes to Parquet files and is compared again. target-bigquery and target-snowflake translate the
catalog, for which they need no cloud. Each target gets an environment of its own, made by uv in a directory that may be
kept: --environments DIRECTORY.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from equality import differences  # noqa: E402
from pipeline import ALL, PROGRAMS, Books, catalog_of  # noqa: E402
from test_extraction import key_of  # noqa: E402

from tap_sage_accounting.sandbox.books import build_world  # noqa: E402
from tap_sage_accounting.sandbox.server import SandboxServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    Record = dict[str, Any]
    Rows = dict[tuple[str, str, str], Record]

LONG = "12345678901234567890.1234567891"
KINDS = ("number", "integer", "date", "date-time", "object", "array of objects", "array of texts")

READ_DUCKDB = """
import duckdb, json, sys
database, directory, *tables = sys.argv[1:]
connection = duckdb.connect(database)
for name in tables:
    if directory != "-":
        connection.execute(f"copy sage.\\"{name}\\" to '{directory}/{name}.parquet'")
    source = f"'{directory}/{name}.parquet'" if directory != "-" else f'sage."{name}"'
    found = connection.execute(f"select * from {source}")
    columns = [(column[0], str(column[1])) for column in found.description]
    json.dump({"table": name, "columns": columns, "rows": found.fetchall()}, sys.stdout, default=str)
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
    """How the streams land in one target."""

    target: str
    types: dict[str, Counter[str]]
    columns_lost: int
    rows_lost: str = "not loaded"
    values_changed: str = "not loaded"
    examples: list[str] = field(default_factory=list)


class Environment:
    """A target, installed by itself."""

    def __init__(self, directory: Path, requirement: str, *others: str) -> None:
        self._place = directory / requirement
        if not self._place.exists():
            run("uv", "venv", "-q", "--python", sys.executable, str(self._place))
            run("uv", "pip", "install", "-q", "--python", str(self._place / "bin" / "python"), requirement, *others)

    def run(self, program: str, *arguments: str, given: Path | None = None) -> str:
        """Run one of its programs; give what it prints."""
        return run(str(self._place / "bin" / program), *arguments, given=given)


def run(*command: str, given: Path | None = None) -> str:
    """Run a program to its end.

    Raises:
        SystemExit: it failed; with the end of what it had to say.
    """
    with given.open() if given else open("/dev/null") as lines:  # noqa: PTH123 - both in one
        done = subprocess.run(command, stdin=lines, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed:\n{done.stderr[-3000:]}")
    return done.stdout


@dataclass
class Extract:
    """What the tap put out, and the books that it read."""

    messages: Path
    catalog: Path
    books: Books

    @classmethod
    def of_six_businesses(cls, directory: Path, decimals: str) -> Extract:
        """Extract everything from a simulated Sage once."""
        world = build_world(size="tiny", businesses=6, frozen=True)
        products = next(iter(world.businesses.values())).collections["products"]
        products.change(next(iter(products.rows)), {"cost_price": LONG}, None)
        messages, catalog, config = (directory / name for name in ("messages.jsonl", "catalog.json", "config.json"))
        with SandboxServer(world) as server:
            server.faults.detail_flags_on_lists = True
            store = f"sqlite:///{directory / 'tokens.sqlite'}"
            settings = server.tap_config(token_store=store, decimals=decimals)
            config.write_text(json.dumps(settings))
            catalog.write_text(json.dumps(catalog_of(settings, ALL)))
            messages.write_text(
                run(str(PROGRAMS / "tap-sage-accounting"), f"--config={config}", f"--catalog={catalog}")
            )
            return cls(messages, catalog, Books.of(server))

    def properties(self) -> Iterator[tuple[str, str, Record]]:
        """Tell stream, name and schema of every column."""
        for entry in json.loads(self.catalog.read_text())["streams"]:
            for name, part in entry["schema"]["properties"].items():
                yield entry["stream"], name, part


def kind_of(part: Record) -> str:
    """Tell of which of the kinds a column is."""
    [kind] = [name for name in ([part["type"]] if isinstance(part["type"], str) else part["type"]) if name != "null"]
    if kind == "array":
        return "array of objects" if "properties" in part["items"] else "array of texts"
    return {"x-singer.decimal": "number"}.get(part.get("format", kind), str(part.get("format", kind)))


def types_of(extract: Extract, columns: dict[tuple[str, str], str]) -> dict[str, Counter[str]]:
    """Count the target's types of each kind of column."""
    found: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for stream, name, part in extract.properties():
        if (kind := kind_of(part)) in found and (stream, name) in columns:
            found[kind][columns[stream, name]] += 1
    return found


def lost(extract: Extract, columns: dict[tuple[str, str], str]) -> int:
    """Count the columns that the target does not have."""
    return sum((stream, name) not in columns for stream, name, _ in extract.properties())


def compared(landing: Landing, books: Books, rows: Rows) -> Landing:
    """Compare every value that landed with the books."""
    missing = books.alive.keys() - rows.keys()
    changed = [
        f"{place[0]}.{told}"
        for place, body in books.alive.items()
        if place in rows
        for told in differences(body, rows[place])
    ]
    landing.rows_lost = f"{len(missing)} of {len(books.alive)}"
    landing.values_changed = str(len(changed))
    landing.examples = changed[:3]
    return landing


def exact(value: Any) -> Any:
    """Give a binary fraction as the decimal that it prints as."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def check_jsonl(extract: Extract, environment: Environment, directory: Path) -> Landing:
    """Load with target-jsonl."""
    (lines := directory / "jsonl").mkdir()
    config = directory / "jsonl.json"
    config.write_text(json.dumps({"destination_path": str(lines), "do_timestamp_file": False}))
    environment.run("target-jsonl", f"--config={config}", given=extract.messages)
    rows = {
        (file.stem, row.get("business_id", ""), key_of(row)): row
        for file in lines.glob("*.jsonl")
        for row in (json.loads(line, parse_float=Decimal) for line in file.read_text().splitlines())
    }
    columns = {(stream, name): f"JSON {kind_of(part).partition(' ')[0]}" for stream, name, part in extract.properties()}
    return compared(Landing("target-jsonl", types_of(extract, columns), 0), extract.books, rows)


def check_duckdb(extract: Extract, environment: Environment, directory: Path) -> list[Landing]:
    """Load with target-duckdb, and go on to Parquet."""
    database, config = directory / "warehouse.duckdb", directory / "duckdb.json"
    config.write_text(json.dumps({"path": str(database), "default_target_schema": "sage"}))
    environment.run("target-duckdb", f"--config={config}", given=extract.messages)
    (parquet := directory / "parquet").mkdir()
    landings = []
    for target, place in (("target-duckdb", "-"), ("Parquet, by DuckDB", str(parquet))):
        told = environment.run("python", "-c", READ_DUCKDB, str(database), place, *sorted(ALL))
        tables = [json.loads(line) for line in told.splitlines()]
        columns = {(table["table"], name): kind for table in tables for name, kind in table["columns"]}
        rows = {
            (table["table"], row.get("business_id", ""), key_of(row)): row
            for table in tables
            if table["table"] in extract.books.lists
            for row in (duckdb_row(table["columns"], values) for values in table["rows"])
        }
        landing = Landing(target, types_of(extract, columns), lost(extract, columns))
        landings.append(compared(landing, extract.books, rows))
    return landings


def duckdb_row(columns: list[list[str]], values: list[Any]) -> Record:
    """Read a row, of which DuckDB gives JSON as text."""
    return {
        name: json.loads(value, parse_float=Decimal) if kind == "JSON" and value is not None else exact(value)
        for (name, kind), value in zip(columns, values, strict=True)
    }


def check_translation(target: str, program: str, extract: Extract, environment: Environment) -> Landing:
    """Translate the catalog with a target's own code."""
    tables = [json.loads(line) for line in environment.run("python", "-c", program, str(extract.catalog)).splitlines()]
    columns = {(table["table"], name): kind for table in tables for name, kind in table["columns"]}
    return Landing(target, types_of(extract, columns), lost(extract, columns))


def print_table(landings: list[Landing]) -> None:
    """Print what was found as Markdown."""
    heads = ["target", "columns lost", "rows lost", "values changed", *KINDS]
    print("|", " | ".join(heads), "|")
    print("|", " | ".join("---" for _ in heads), "|")
    for each in landings:
        types = [", ".join(each.types[kind]) for kind in KINDS]
        print("|", " | ".join([each.target, str(each.columns_lost), each.rows_lost, each.values_changed, *types]), "|")
    for each in landings:
        for example in each.examples:
            print(f"{each.target}: {example}")


def main() -> None:
    """Check all targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, help="directory to keep the targets' environments in")
    parser.add_argument(
        "--decimals", choices=["number", "string", "text"], default="number", help="as the tap's setting"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        environments = options.environments or directory / "environments"
        environments.mkdir(parents=True, exist_ok=True)
        extract = Extract.of_six_businesses(directory, options.decimals)
        print_table(
            [
                check_jsonl(extract, Environment(environments, "target-jsonl"), directory),
                *check_duckdb(extract, Environment(environments, "target-duckdb"), directory),
                check_translation(
                    "target-bigquery (z3z1ma)",
                    TRANSLATE_BIGQUERY,
                    extract,
                    # What it is built on imports pkg_resources without asking for it.
                    Environment(environments, "z3-target-bigquery", "setuptools<81"),
                ),
                check_translation(
                    "target-snowflake (MeltanoLabs)",
                    TRANSLATE_SNOWFLAKE,
                    extract,
                    Environment(environments, "meltanolabs-target-snowflake"),
                ),
            ]
        )


if __name__ == "__main__":
    main()
