#!/usr/bin/env python
"""Run the Airbyte source by Airbyte's own means, and compare what they load with the books.

PyAirbyte, the protocol's models and Airbyte's connector tests get a separate environment, made by uv. The access tokens
of a simulated Sage live for seconds only, so that they are renewed during a read. Every run of the
source has a separate home directory, so that nothing but the settings remembers a token. Then:

1. The protocol's models read what the source writes. No message may hold anything that they do not know.
2. PyAirbyte checks, discovers and reads everything into DuckDB.
3. Days pass, records change and are deleted. PyAirbyte reads again, with the settings that were handed back.
4. A third read has Sage list no more of deleted records than their ids.
5. Numbers of 29 digits are read as text and as numbers.
6. The source is killed in the middle of reads, and started again with the states that it left.
7. Sage lets few requests through. The source must report for how long a limit holds a stream.
8. Airbyte's standard tests run, against the program and, where `docker` stands for it, against the "image".

    python scripts/check_airbyte.py --environment DIRECTORY
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

ROOT = Path(__file__).parent.parent

from sage_sandbox.books import build_world  # noqa: E402
from sage_sandbox.server import SandboxServer  # noqa: E402
from sage_workbench.airbyte_attempts import Sync  # noqa: E402
from sage_workbench.equality import differences  # noqa: E402
from sage_workbench.listings import key_of  # noqa: E402
from sage_workbench.pipeline import PROGRAMS, Books  # noqa: E402
from tap_sage_accounting.client import SageStream  # noqa: E402
from tap_sage_accounting.streams import STREAMS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sage_sandbox.store import World
    from sage_workbench.airbyte_attempts import Attempt

    Record = dict[str, Any]
    Rows = dict[tuple[str, str, str], Record]

PYTHON = "3.11"
REQUIREMENTS = ("airbyte>=0.70", "airbyte-cdk>=7", "pytest>=8")
SOURCE = "source-sage-accounting"
TOKEN_LIFETIME = 1.0
"""Seconds that an access token lives."""
LONG = "12345678901234567890.1234567891"
KILLED_AT = (300, 600, 900)
"""For which of its requests a source is killed: in the middle of a read of some 1,200."""
LIMIT = (100, 25.0)
"""Requests that Sage lets through, in so many seconds. The source looks every 10 s whether a limit holds it."""
WITHOUT_CHANGES = {stream.name for stream in STREAMS if not stream.changed_since}

FORGETFUL = """#!/bin/sh
# A container: what the source writes to its disk is gone when it ends.
HOME=$(mktemp -d) && export HOME
XDG_DATA_HOME=$HOME && export XDG_DATA_HOME
exec {program} "$@"
"""
DRIVE = """
import json, sys, time
from pathlib import Path
import airbyte
from airbyte.caches import DuckDBCache

order = json.loads(Path(sys.argv[1]).read_text())
settings, handed_back = Path(order["settings"]), []
found = {"check": None, "handed_back_by_check": 0, "handed_back_by_read": 0}

def keep(config):
    handed_back.append(config["refresh_token"])
    settings.write_text(json.dumps(config))

def source():
    return airbyte.get_source(
        "source-sage-accounting",
        config=json.loads(settings.read_text()),
        local_executable=order["program"],
        config_change_callback=keep,
    )

source().check()
found["handed_back_by_check"] = len(handed_back)
reader = source()
found["streams"] = len(reader.get_available_streams())
reader.select_streams(order["streams"] or "*")
database = Path(order["database"])
cache = DuckDBCache(db_path=database, cache_dir=database.parent / "messages")
began = time.monotonic()
result = reader.read(cache=cache)
found["seconds"] = time.monotonic() - began
found["handed_back_by_read"] = len(handed_back) - found["handed_back_by_check"]
found["records"] = result.processed_records
found["tables"] = list(result.streams)
print(json.dumps(found))
"""
DUMP = """
import duckdb, json, sys
from pathlib import Path

path, rows, *tables = sys.argv[1:]
with Path(rows).open("w") as out, duckdb.connect(path, read_only=True) as database:
    for table in tables:
        found = database.execute(f'select * from main."{table}"')
        columns = [(column[0], str(column[1])) for column in found.description]
        out.write(json.dumps({"table": table, "columns": columns, "rows": found.fetchall()}, default=str) + chr(10))
"""
VALIDATE = """
import sys
from enum import Enum
from pydantic import BaseModel
from airbyte_protocol.models import AirbyteMessage

FREE = {"AirbyteStateBlob"}

def unknown(model, place):
    if type(model).__name__ not in FREE:
        for name in model.model_extra or ():
            yield f"{place}.{name}"
    for name in type(model).model_fields:
        value = getattr(model, name)
        for index, each in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(each, BaseModel):
                yield from unknown(each, f"{place}.{name}")

found, count = set(), 0
for line in sys.stdin:
    count += 1
    message = AirbyteMessage.model_validate_json(line)
    found.update(unknown(message, message.type.value))
print(count, *sorted(found), sep=chr(10))
"""
STANDARD_TESTS = '''
import json, os, subprocess
from pathlib import Path
from airbyte_cdk.models import AirbyteMessageSerializer, Type
from airbyte_cdk.sources import Source
from airbyte_cdk.test.standard_tests import SourceTestSuiteBase


class CommandLine(Source):
    """The program, as the suite wants a source."""

    def _run(self, *arguments):
        done = subprocess.run([os.environ["SOURCE"], *arguments], capture_output=True, text=True)
        assert done.stderr == "", done.stderr
        return [AirbyteMessageSerializer.load(json.loads(line)) for line in done.stdout.splitlines()]

    def _only(self, kind, *arguments):
        [message] = [message for message in self._run(*arguments) if message.type is kind]
        return message

    def _file(self, content):
        path = Path(os.environ["SCRATCH"]) / f"{id(content)}.json"
        path.write_text(json.dumps(content))
        return f"{path}"

    def spec(self, logger):
        return self._only(Type.SPEC, "spec").spec

    def check(self, logger, config):
        return self._only(Type.CONNECTION_STATUS, "check", "--config", self._file(dict(config))).connectionStatus

    def discover(self, logger, config):
        return self._only(Type.CATALOG, "discover", "--config", self._file(dict(config))).catalog

    @classmethod
    def read_catalog(cls, catalog_path):
        return catalog_path

    def read(self, logger, config, catalog, state=None):
        yield from self._run("read", "--config", self._file(dict(config)), "--catalog", catalog)


class TestSource(SourceTestSuiteBase):
    connector = CommandLine
'''
DOCKER = '''#!{python}
"""Stands for Docker where there is none: `docker run --rm [-v HOST:INSIDE]... IMAGE COMMAND ...` runs the program."""
import os, sys

arguments, places = sys.argv[1:], {{}}
if arguments == ["--version"]:
    sys.exit(print("Docker version 0"))
assert arguments[:2] == ["run", "--rm"], arguments
arguments = arguments[2:]
while arguments[0] in ("-v", "-e"):
    option, value, *arguments = arguments
    if option == "-v":
        host, inside = value.split(":")[:2]
        places[inside] = host
os.execv("{program}", ["{program}", *(places.get(each, each) for each in arguments[1:])])
'''


@dataclass(frozen=True)
class Scratch:
    """A directory, an environment in it, and the program to be tested."""

    directory: Path
    environment: Path
    program: Path

    @classmethod
    def make(cls, directory: Path, environment: Path) -> Scratch:
        """Install what is needed, unless that was done before."""
        if not environment.exists():
            run("uv", "venv", "-q", "--python", PYTHON, str(environment))
            run("uv", "pip", "install", "-q", "--python", str(environment / "bin" / "python"), *REQUIREMENTS)
        program = directory / SOURCE
        program.write_text(FORGETFUL.format(program=PROGRAMS / SOURCE))
        program.chmod(0o755)
        return cls(directory, environment, program)

    def python(self, *arguments: str, given: str | None = None, **variables: str) -> str:
        """Run the environment's Python; give what it prints."""
        offline = {"AIRBYTE_OFFLINE_MODE": "1", "DO_NOT_TRACK": "1", "NO_COLOR": "1"}
        interpreter = str(self.environment / "bin" / "python")
        return run(interpreter, *arguments, given=given, variables={**offline, **variables})

    def source(self, *arguments: str) -> str:
        """Run the source; give its messages."""
        return run(str(self.program), *arguments)

    def write(self, name: str, content: Any) -> Path:
        """Write a JSON file."""
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(content))
        return path

    def tables(self, name: str) -> Iterator[Record]:
        """Go through the tables that PyAirbyte made."""
        with (self.directory / f"{name}.rows").open() as lines:
            yield from map(json.loads, lines)


def run(*command: str, given: str | None = None, variables: dict[str, str] | None = None) -> str:
    """Run a program to its end.

    Raises:
        SystemExit: it failed; with the end of what it had to say.
    """
    done = subprocess.run(  # noqa: S603
        command, input=given, capture_output=True, text=True, check=False, env={**os.environ, **(variables or {})}
    )
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done.stdout


# 1. The protocol


def check_protocol(scratch: Scratch, server: SandboxServer) -> None:
    """Read every message of every command with the protocol's models."""
    config = str(scratch.write("protocol.config", server.tap_config()))
    catalog = str(scratch.directory / "protocol.catalog.json")
    said = {"spec": scratch.source("spec"), "check": scratch.source("check", "--config", config)}
    lines = [json.loads(line) for line in said["check"].splitlines()]
    [handed_back] = [line["control"]["connectorConfig"]["config"] for line in lines if line["type"] == "CONTROL"]
    scratch.write("protocol.config", handed_back)
    said["discover"] = scratch.source("discover", "--config", config)
    [found] = [line["catalog"] for line in map(json.loads, said["discover"].splitlines()) if line["type"] == "CATALOG"]
    scratch.write(
        "protocol.catalog",
        {
            "streams": [
                {"stream": stream, "sync_mode": stream["supported_sync_modes"][-1], "destination_sync_mode": "append"}
                for stream in found["streams"]
            ]
        },
    )
    said["read"] = scratch.source("read", "--config", config, "--catalog", catalog)
    for command, messages in said.items():
        count, *unknown = scratch.python("-c", VALIDATE, given=messages).split()
        print(f"protocol: {command}: {count} messages, unknown to the models: {', '.join(unknown) or 'nothing'}")
        require(not unknown, "messages hold what the protocol does not know")
    kinds = Counter(json.loads(line)["type"] for line in said["read"].splitlines())
    print(f"protocol: read: {dict(kinds)}")


# 2. to 4. PyAirbyte


def read_by_pyairbyte(scratch: Scratch, server: SandboxServer, name: str, config: Path, **order: Any) -> Books:
    """Let PyAirbyte check, discover and read; return how it went, and give the books that it read."""
    refreshed, refused = server.grants.refreshes, server.grants.refusals.total()
    usual = {"program": str(scratch.program), "database": str(scratch.directory / "cache.duckdb"), "streams": None}
    order = {"settings": str(config), **usual, **order}
    found = scratch.python("-c", DRIVE, str(scratch.write(f"{name}.order", order)))
    result = json.loads(found.splitlines()[-1])
    scratch.python("-c", DUMP, order["database"], str(scratch.directory / f"{name}.rows"), *result["tables"])
    refreshed, refused = server.grants.refreshes - refreshed, server.grants.refusals.total() - refused
    print(
        f"{name}: {result['streams']} streams, {result['records']} records in {result['seconds']:.1f} s; handed back "
        f"{result['handed_back_by_check']} + {result['handed_back_by_read']} of {refreshed} tokens, {refused} refused"
    )
    require(result["handed_back_by_check"] + result["handed_back_by_read"] == refreshed, "a token was not handed back")
    require(result["handed_back_by_read"] > 0, "no token was rotated during the read")
    require(refused == 0, "a used token was sent again")
    return Books.of(server)


def rows_of(scratch: Scratch, name: str, books: Books) -> Rows:
    """Read the rows that PyAirbyte loaded, of the streams that are lists."""
    return {
        (table["table"], row.get("business_id") or "", key_of(row)): row
        for table in scratch.tables(name)
        if table["table"] in books.lists
        for row in (read_row(table["columns"], values) for values in table["rows"])
    }


def read_row(columns: list[list[str]], values: list[Any]) -> Record:
    """Read a row, of which DuckDB gives JSON as text."""
    return {name: read_value(kind, value) for (name, kind), value in zip(columns, values, strict=True)}


def read_value(kind: str, value: Any) -> Any:
    """Read a value by the type of its column."""
    if value is None:
        return None
    if kind == "JSON":
        return json.loads(value, parse_float=Decimal)
    return Decimal(value) if kind.startswith("DECIMAL") else value


def compare(scratch: Scratch, name: str, books: Books) -> None:
    """Compare what PyAirbyte loaded with the books."""
    deletions = (
        read_row(table["columns"], values)
        for table in scratch.tables(name)
        if table["table"] == "deletions"
        for values in table["rows"]
    )
    require_equal(name, rows_of(scratch, name, books), deletions, books)


def require_equal(name: str, rows: Rows, deletions: Iterable[Record], books: Books) -> None:
    """Compare every value with the books; rows that are no longer in them must be known to be deleted."""
    missing = books.alive.keys() - rows.keys()
    changed = [
        f"{'.'.join(place)}: {found}"
        for place, body in books.alive.items()
        if place in rows and (found := differences(body, rows[place]))
    ]
    in_deletions = {(row["stream"], row["business_id"], row["id"]) for row in deletions}
    beyond = rows.keys() - books.alive.keys()
    flagged = {place for place in beyond if rows[place].get("deleted_at")}
    by_id = {place for place in beyond - flagged if place in in_deletions}
    # PyAirbyte merges streams that are read whole, too; Airbyte's destinations replace them.
    left = {place for place in beyond - flagged - by_id if place[0] not in WITHOUT_CHANGES}
    wrongly_flagged = [place for place in books.alive.keys() & rows.keys() if rows[place].get("deleted_at")]
    print(
        f"{name}: {len(rows)} rows of {len({place[0] for place in rows})} lists; of {len(books.alive)} in the books "
        f"{len(missing)} missing, {len(changed)} different; {len(beyond)} no longer in the books: {len(flagged)} with "
        f"deleted_at, {len(by_id)} in 'deletions' only, {len(beyond - flagged - by_id - left)} of streams "
        f"that are read whole, {len(left)} untold"
    )
    for each in (*sorted(missing)[:3], *changed[:3], *sorted(left)[:3], *wrongly_flagged[:3]):
        print("  ", each)
    require(not (missing or changed or left or wrongly_flagged), f"{name}: the rows are not the books")


def compare_the_rest(scratch: Scratch, name: str, server: SandboxServer, books: Books) -> None:
    """Compare single objects, the user and the trial balance."""
    tables = {
        table["table"]: [read_row(table["columns"], values) for values in table["rows"]]
        for table in scratch.tables(name)
    }
    wrong = [
        (stream, business_id)
        for (stream, business_id), body in books.objects.items()
        for row in tables[stream or "businesses"]
        if row["business_id"] == business_id and differences(body, row)
    ]
    wrong += [("user", "")] * bool(differences(server.world.user, tables["user"][0]))
    lines = {(row["business_id"], row["from_date"], row["ledger_account_id"]): row for row in tables["trial_balance"]}
    wrong += [
        ("trial_balance", business_id)
        for (business_id, from_date, account), line in books.trial_balance.items()
        for side in ("debit", "credit")
        if Decimal(lines[business_id, from_date, account][side]) != Decimal(str(line[side]))
    ]
    print(f"{name}: {len(books.objects)} single objects and {len(lines)} lines of trial balances, {len(wrong)} wrong")
    require(not wrong, f"{name}: {wrong[:3]}")


def check_pyairbyte(scratch: Scratch, server: SandboxServer) -> None:
    """Read everything, what changed, and what changed again."""
    server.faults.access_token_lifetime = TOKEN_LIFETIME
    config = scratch.write("config", server.tap_config(deletion_sweep_days=0))
    books = read_by_pyairbyte(scratch, server, "full", config)
    compare(scratch, "full", books)
    compare_the_rest(scratch, "full", server, books)
    server.advance(3)
    books = read_by_pyairbyte(scratch, server, "incremental", config)
    compare(scratch, "incremental", books)
    compare_the_rest(scratch, "incremental", server, books)
    server.faults.tombstones = "id_only"
    server.advance(3)
    compare(scratch, "ids only", read_by_pyairbyte(scratch, server, "ids only", config))
    server.faults.access_token_lifetime = 300


# 5. Numbers


def check_numbers(scratch: Scratch, server: SandboxServer) -> None:
    """Print what arrives of long numbers, as text and as JSON numbers."""
    business = next(iter(server.world.businesses.values()))
    product = next(iter(business.collections["products"].rows))
    business.collections["products"].change(product, {"cost_price": LONG}, None)
    server.faults.access_token_lifetime = TOKEN_LIFETIME
    for decimals in ("text", "number"):
        name = f"decimals as {decimals}"
        # A login of its own: the other one's tokens are in its own settings.
        config = scratch.write(f"{decimals}.config", json.loads((scratch.directory / "config.json").read_text()))
        config.write_text(json.dumps({**json.loads(config.read_text()), "decimals": decimals}))
        database = str(scratch.directory / f"{decimals}.duckdb")
        streams = ["products", "exchange_rates", "sales_invoices"]
        books = read_by_pyairbyte(scratch, server, name, config, database=database, streams=streams)
        (scratch.directory / "config.json").write_text(config.read_text())
        rows = rows_of(scratch, name, books)
        changed = {place: found for place in rows if (found := differences(books.alive[place], rows[place]))}
        arrived = rows["products", business.id, product]["cost_price"]
        print(f"{name}: {LONG} arrives as {arrived!r}; {len(changed)} of {len(rows)} rows differ from the books")
        for place, found in list(changed.items())[:3]:
            print("  ", ".".join(place), found[:2])
        require(decimals == "number" or not changed, "text is not exact")
    server.faults.access_token_lifetime = 300


# 6. Killed


def check_kills(scratch: Scratch, server: SandboxServer) -> None:
    """Kill a full refresh, and compare what the next attempt brings: Airbyte drops the rows of the failed one."""
    refresh = sync_of(scratch, server, 0)
    killed = attempt(refresh, "killed, full refresh", KILLED_AT[0])
    whole = attempt(refresh, "killed, full refresh")
    books = Books.of(server)
    repeated = refresh.repeated(whole)
    require(killed.incomplete and not repeated, f"rows came twice: {repeated}")
    require_equal("killed, full refresh", rows_in(books, whole), whole.records.get("deletions", ()), books)
    scratch.write("config", refresh.config)


def check_kills_by_change(scratch: Scratch, server: SandboxServer) -> None:
    """Kill a first read by change over and over, while the books move, and compare what all attempts brought."""
    changes = sync_of(scratch, server, -1)
    attempts = []
    for kill_at in KILLED_AT:
        attempts.append(attempt(changes, "killed, by change", kill_at))
        server.advance(1)
    attempts.append(attempt(changes, "killed, by change"))
    books = Books.of(server)
    rows = dict(item for each in attempts for item in rows_in(books, each).items())
    deletions = [row for each in attempts for row in each.records.get("deletions", ())]
    require_equal("killed, by change", rows, deletions, books)
    scratch.write("config", changes.config)


def sync_of(scratch: Scratch, server: SandboxServer, mode: int, page_size: int = 5) -> Sync:
    """Make a sync of everything, in the first or last mode of each stream."""
    config = json.loads((scratch.directory / "config.json").read_text())
    config |= {"page_size": page_size, "decimals": "text"}
    lines = scratch.source("discover", "--config", str(scratch.write("config", config))).splitlines()
    [catalog] = [line["catalog"] for line in map(json.loads, lines) if line["type"] == "CATALOG"]
    return Sync(server, scratch.program, scratch.directory, config, catalog["streams"], mode=mode)


def attempt(sync: Sync, name: str, kill_at: int | None = None) -> Attempt:
    """Make an attempt, print how it went, and require that it was killed or complete."""
    done = sync.attempt(kill_at)
    print(
        f"{name}: exit code {done.code}, {sum(map(len, done.records.values()))} records, "
        f"{len(done.statuses) - len(done.incomplete)} streams complete, {len(done.incomplete)} begun"
    )
    require(done.code == (-signal.SIGKILL if kill_at else 0), "the read ended in another way")
    require(kill_at or not done.incomplete, f"incomplete: {done.incomplete}")
    return done


def rows_in(books: Books, done: Attempt) -> Rows:
    """Return what an attempt brought, of the streams that are lists."""
    return {place: row for place, row in done.rows.items() if place[0] in books.lists}


# 7. Limited


def check_limit(scratch: Scratch, server: SandboxServer) -> None:
    """Read everything through a limit; every stream that it holds must say so, and until when."""
    server.faults.rate_limit, server.faults.minute = LIMIT
    refused = server.requests.stats()["by_status"].get("429", 0)
    limited = sync_of(scratch, server, -1, page_size=200)
    done = attempt(limited, "limited")
    server.faults.rate_limit = None
    refused = server.requests.stats()["by_status"].get("429", 0) - refused
    found = [(status, status.get("reasons", ())) for statuses in done.statuses.values() for status in statuses]
    waits = [
        (float(reason["rate_limited"]["quota_reset"]) - float(status["emitted_at"])) / 1000
        for status, reasons in found
        for reason in reasons
        if reason["type"] == "RATE_LIMITED"
    ]
    print(f"limited: {refused} requests refused, {len(waits)} times RATE_LIMITED, for {waits} s")
    require(refused and waits and all(0 <= wait <= LIMIT[1] + 1 for wait in waits), "the limit is not reported")
    count, *unknown = scratch.python("-c", VALIDATE, given=done.output).split()
    require(not unknown, f"of {count} messages, some hold what the protocol does not know: {unknown}")
    books = Books.of(server)
    require_equal("limited", rows_in(books, done), done.records.get("deletions", ()), books)
    scratch.write("config", limited.config)


# 8. Airbyte's own tests


def run_standard_tests(scratch: Scratch, server: SandboxServer) -> None:
    """Run the connector tests of Airbyte's development kit."""
    connector = scratch.directory / "connectors" / SOURCE
    connector.mkdir(parents=True)
    shutil.copy(ROOT / "airbyte" / "metadata.yaml", connector)
    config = json.loads((scratch.directory / "config.json").read_text())
    store = f"sqlite:///{scratch.directory / 'acceptance.sqlite'}"
    (connector / "config.json").write_text(json.dumps({**config, "decimals": "text", "token_store": store}))
    broken = {**config, "refresh_token": "never-issued-0001", "access_token": None, "token_store": f"{store}2"}
    (connector / "invalid_config.json").write_text(json.dumps({k: v for k, v in broken.items() if v is not None}))
    entries = {"config_path": "config.json", "status": "succeed"}
    sections: Record = {
        "spec": {"tests": [{"config_path": "config.json"}]},
        "connection": {"tests": [entries, {"config_path": "invalid_config.json", "status": "failed"}]},
        "discovery": {"tests": [{"config_path": "config.json"}]},
        "basic_read": {
            "tests": [
                {
                    "config_path": "config.json",
                    "empty_streams": [
                        {"name": name, "bypass_reason": "no business of the simulated Sage has any"}
                        for name in sorted(empty_streams(server))
                    ],
                }
            ]
        },
    }
    accepted = {"connector_image": "none", "acceptance_tests": sections, "test_strictness_level": "high"}
    (connector / "acceptance-test-config.yml").write_text(yaml.safe_dump(accepted))
    (connector / "test_standard.py").write_text(STANDARD_TESTS)
    programs = scratch.directory / "programs"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER.format(python=sys.executable, program=scratch.program))
    (programs / "docker").chmod(0o755)
    began = time.monotonic()
    found = scratch.python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "airbyte_cdk.test.standard_tests.pytest_hooks"),
        *("--rootdir", str(connector), str(connector)),
        *("--connector-image", "stand-in", "--read-from-streams", "all", "--read-scenarios", "config"),
        *("-W", "error::airbyte_cdk.test.standard_tests.DiscoveredCatalogWarning", "-rA"),
        SOURCE=str(scratch.program),
        SCRATCH=str(scratch.directory),
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
    )
    for line in found.splitlines():
        if line.startswith(("PASSED", "FAILED", "SKIPPED", "ERROR")) or " passed" in line:
            print("standard tests:", line)
    print(f"standard tests: {time.monotonic() - began:.0f} s")


def empty_streams(server: SandboxServer) -> set[str]:
    """Name the lists that no business has a row of."""
    businesses = server.world.businesses.values()
    held = {name for each in businesses for name, rows in each.collections.items() if rows.rows}
    held |= {name for each in businesses for name in each.objects}
    return {stream.name for stream in STREAMS} - held - {"businesses", "user", "trial_balance", "deletions"}


def require(holds: object, message: str) -> None:
    """End with an error unless something holds.

    Raises:
        SystemExit: it does not.
    """
    if not holds:
        raise SystemExit(f"NOT AS IT SHOULD BE: {message}.")


def world_of_plus() -> World:
    """Make a business in each country, all of the edition that has everything: a full refresh needs that."""
    world = build_world(size="tiny", businesses=9, frozen=True)
    for business in list(world.businesses.values()):
        if business.edition != "Plus" or business.country not in SageStream.countries:
            del world.businesses[business.id]
    return world


def main() -> None:
    """Check everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, help="directory to keep Airbyte's environment in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        scratch = Scratch.make(directory, options.environment or directory / "environment")
        with SandboxServer(world_of_plus()) as server:
            server.faults.detail_flags_on_lists = True
            check_protocol(scratch, server)
        with SandboxServer(world_of_plus()) as server:
            server.faults.detail_flags_on_lists = True
            check_pyairbyte(scratch, server)
            check_numbers(scratch, server)
            check_kills(scratch, server)
            check_kills_by_change(scratch, server)
            check_limit(scratch, server)
            server.faults.tombstones = "full"
            run_standard_tests(scratch, server)


if __name__ == "__main__":
    main()
