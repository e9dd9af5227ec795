"""What a user waits for: tap and target together, and how the target's settings change that.

uv run python -m benchmarks.pipeline
uv run python -m benchmarks.pipeline --write
uv run python -m benchmarks.pipeline --given 'target-duckdb=./target_duckdb-0.9.0-py3-none-any.whl duckdb==2.0.0'

Every run loads the same books into an empty database or directory. The runs take turns. What each left behind is
compared, row by row, with what the target's own settings leave. With those of meltano.yml it must be the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import yaml
from psycopg import sql

from benchmarks import report
from benchmarks.environments import PROJECT, clean_environment, environment
from benchmarks.sage import Books, Sage
from sage_demo.postgres import Postgres, make_scratch
from sage_demo.supervision import supervised

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BOOKS = Books("demo", 3, ledger_entries=1_350)
"""About 13,000 records of all kinds, some thousand trial balance rows among them."""
SCHEMA = "sage"
PAGE = PROJECT / "docs" / "platforms" / "targets.md"
BEGIN, END = "<!-- pipeline:begin -->", "<!-- pipeline:end -->"
AS_HERE = "as in meltano.yml"
Settings = dict[str, Any]

ENTRANTS: dict[str, dict[str, Settings]] = {
    "target-postgres": {
        "its own settings": {},
        "validate_records: false": {"validate_records": False},
        "use_copy: true": {"use_copy": True},
        "validate_records: false, use_copy: true": {"validate_records": False, "use_copy": True},
        "validate_records: false, batch_size_rows: 500": {"validate_records": False, "batch_size_rows": 500},
        "validate_records: false, add_record_metadata: false": {
            "validate_records": False,
            "add_record_metadata": False,
            "activate_version": False,
        },
        AS_HERE: {},
    },
    "target-duckdb": {
        "its own settings": {},
        "batch_size_rows: 500": {"batch_size_rows": 500},
        "data_flattening_max_level: 1": {"data_flattening_max_level": 1},
        AS_HERE: {},
    },
    "target-jsonl": {AS_HERE: {}},
}
"""The settings to compare, by target. The first of each are the measure of what must arrive."""
GIVEN = "--given"
"""The end of the name of a target whose requirements were given: another release, which no index has."""
ALONE = "tap alone"
OTHER_SHAPE = "flattening"
"""In the name of settings that make other tables, of which only the rows can be counted."""

DIGEST_DUCKDB = r"""
import duckdb, json, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
tables = connection.execute("select table_name from information_schema.tables where table_schema = 'sage'").fetchall()
for [table] in tables:
    rows = f'select md5(t::varchar) as row from (from sage."{table}") as t'
    query = f"select count(*), md5(string_agg(row, '' order by row)) from ({rows})"
    print(json.dumps([table, *connection.execute(query).fetchone()]))
"""


@dataclass
class Landed:
    """What a run left behind: rows and a digest of them, by table."""

    rows: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def differs(self, other: Landed, *, shape: bool) -> list[str]:
        """Name the tables that are not as the other's; without `shape`, only rows are counted."""
        return sorted(
            name
            for name in self.rows.keys() | other.rows.keys()
            if self.rows.get(name) != other.rows.get(name)
            or (shape and self.digests.get(name) != other.digests.get(name))
        )


@dataclass(frozen=True)
class Cost:
    """What one run took: CPU seconds of tap, target and database server, and seconds on the clock."""

    tap: float
    target: float
    server: float
    wall: float


class Laboratory:
    """A simulated Sage, a Postgres and the targets' environments."""

    def __init__(self, sage: Sage, postgres: Postgres, scratch: Path, given: Mapping[str, str]) -> None:
        self._sage = sage
        self._postgres = postgres
        self._scratch = scratch
        loaders = yaml.safe_load((PROJECT / "meltano.yml").read_text())["plugins"]["loaders"]
        self._loaders = {loader["name"]: loader for loader in loaders}
        for name, requirements in given.items():
            self._loaders[f"{name}{GIVEN}"] = {**self._loaders[name], "pip_url": requirements}
        self._pythons = {
            name: environment(scratch, name, tuple(loader["pip_url"].split()))
            if "pip_url" in loader
            else Path(sys.executable)
            for name, loader in self._loaders.items()
            if name.removesuffix(GIVEN) in ENTRANTS
        }

    def versions(self) -> dict[str, str]:
        """Return the name of each target with its version."""
        program = (
            "import sys; from importlib.metadata import entry_points\n"
            "[command] = entry_points(group='console_scripts', name=sys.argv[1]); print(command.dist.version)"
        )
        return {
            name: f"{name.removesuffix(GIVEN)} {_printed(str(python), '-c', program, name.removesuffix(GIVEN)).strip()}"
            for name, python in self._pythons.items()
        }

    def run(self, target: str | None, settings: str) -> tuple[Cost, Landed]:
        """Run the tap, alone or into a target, with nothing there yet.

        Raises:
            RuntimeError: one of them failed.
        """
        with tempfile.TemporaryDirectory(dir=self._scratch) as place:
            directory = Path(place)
            if target == "target-postgres":
                self._execute(f"drop schema if exists {SCHEMA} cascade")
            tap = self._tap(directory)
            load = self._target(target, settings, directory) if target else None
            cost = self._measure(tap, load, directory)
            return cost, self._landed(target, directory) if target else Landed()

    def _tap(self, directory: Path) -> list[str]:
        address = self._sage.open()
        config = {
            "client_id": address.client_id,
            "client_secret": address.client_secret,
            "refresh_token": address.refresh_token,
            "api_url": address.api_url,
            "auth_url": address.auth_url,
            "token_url": address.token_url,
            "token_store": f"sqlite:///{directory / 'tokens.sqlite'}",
        }
        return [str(Path(sys.executable).with_name("tap-sage-accounting")), _config(directory, "tap", config)]

    def _target(self, target: str, settings: str, directory: Path) -> list[str]:
        declared = {each["name"]: each["value"] for each in self._loaders[target]["settings"] if "value" in each}
        name = target.removesuffix(GIVEN)
        places: dict[str, Settings] = {
            "target-postgres": {"sqlalchemy_url": self._postgres.sqlalchemy_url, "default_target_schema": SCHEMA},
            "target-duckdb": {"path": str(directory / "warehouse.duckdb"), "default_target_schema": SCHEMA},
            "target-jsonl": {"destination_path": str(directory), "do_timestamp_file": False},
        }
        chosen = declared if settings == AS_HERE else ENTRANTS[name][settings]
        return [
            str(self._pythons[target].with_name(name)),
            _config(directory, "target", {**chosen, **places[name]}),
        ]

    def _measure(self, tap: list[str], target: list[str] | None, directory: Path) -> Cost:
        server = self._server_cpu()
        began = time.monotonic()
        with (directory / "tap.log").open("wb") as tap_log, (directory / "target.log").open("wb") as target_log:
            source = subprocess.Popen(  # noqa: S603 - our own tap
                tap,
                stdout=subprocess.PIPE if target else subprocess.DEVNULL,
                stderr=tap_log,
                env=clean_environment(),
            )
            started = [source]
            if target:
                sink = subprocess.Popen(  # noqa: S603 - the targets to compare
                    target,
                    stdin=source.stdout,
                    stdout=subprocess.DEVNULL,
                    stderr=target_log,
                    env=clean_environment(),
                )
                started.append(sink)
            if source.stdout:
                source.stdout.close()
            ended = [os.wait4(each.pid, 0) for each in started]
        wall = time.monotonic() - began
        for process, (_, status, _) in zip(started, ended, strict=True):
            process.returncode = os.waitstatus_to_exitcode(status)
        if any(process.returncode for process in started):
            logs = "".join((directory / name).read_text()[-2000:] for name in ("tap.log", "target.log"))
            raise RuntimeError(f"{[process.args for process in started]} failed:\n{logs}")
        used = [usage.ru_utime + usage.ru_stime for _, _, usage in ended]
        return Cost(used[0], sum(used[1:]), self._server_cpu() - server, wall)

    def _server_cpu(self) -> float:
        """Return the CPU seconds of the database server so far, sessions that have ended included."""
        pid = int((self._postgres.data / "postmaster.pid").read_text().split()[0])
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    def _landed(self, target: str, directory: Path) -> Landed:
        found = Landed()
        name = target.removesuffix(GIVEN)
        for table, rows, digest in getattr(self, f"_read_{name.partition('-')[2]}")(directory, self._pythons[target]):
            found.rows[table], found.digests[table] = rows, digest
        return found

    def _read_postgres(self, _directory: Path, _python: Path) -> Iterator[tuple[str, int, str]]:
        with closing(psycopg.connect(self._postgres.conninfo)) as connection:
            names = "select table_name from information_schema.tables where table_schema = %s"
            for [table] in connection.execute(names, [SCHEMA]).fetchall():
                # What the target adds is about the run, not about the record.
                query = sql.SQL(
                    "select count(*), md5(string_agg(row, '' order by row)) from"
                    " (select md5((select jsonb_object_agg(key, value) from jsonb_each(to_jsonb(t))"
                    "  where not starts_with(key, '_sdc'))::text) as row from {} t) rows"
                ).format(sql.Identifier(SCHEMA, table))
                counted = connection.execute(query).fetchone()
                if counted:
                    yield table, counted[0], counted[1]

    def _read_duckdb(self, directory: Path, python: Path) -> Iterator[tuple[str, int, str]]:
        for line in _printed(str(python), "-c", DIGEST_DUCKDB, str(directory / "warehouse.duckdb")).splitlines():
            table, rows, digest = json.loads(line)
            yield table, rows, digest

    def _read_jsonl(self, directory: Path, _python: Path) -> Iterator[tuple[str, int, str]]:
        for file in directory.glob("*.jsonl"):
            lines = sorted(file.read_bytes().splitlines())
            yield file.stem, len(lines), hashlib.sha256(b"\n".join(lines)).hexdigest()

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._postgres.conninfo) as connection:
            connection.execute(statement)


def _printed(*command: str) -> str:
    """Run one of our own programs; return what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own


def _config(directory: Path, name: str, content: Mapping[str, Any]) -> str:
    path = directory / f"{name}.json"
    path.write_text(json.dumps(content))
    return f"--config={path}"


@dataclass
class Result:
    """What the runs with some settings cost, and the tables that they left otherwise than the target's own settings."""

    costs: list[Cost] = field(default_factory=list)
    different: list[str] = field(default_factory=list)


def compare(laboratory: Laboratory, targets: list[str], runs: int) -> tuple[dict[tuple[str, str], Result], int]:
    """Run everything in turns; return what each cost and how many rows arrived.

    Raises:
        RuntimeError: the settings of meltano.yml, or another target, leave something else.
    """
    results: dict[tuple[str, str], Result] = defaultdict(Result)
    right: dict[str, Landed] = {}
    for turn in range(runs):
        results[ALONE, ""].costs.append(laboratory.run(None, "")[0])
        for target in targets:
            for settings in ENTRANTS[target.removesuffix(GIVEN)]:
                cost, landed = laboratory.run(target, settings)
                result = results[target, settings]
                result.costs.append(cost)
                expected = right.setdefault(target, landed)
                result.different = landed.differs(expected, shape=OTHER_SHAPE not in settings)
                if result.different and settings == AS_HERE:
                    raise RuntimeError(f"{target}, {settings}: other rows in {', '.join(result.different)}")
                sys.stderr.write(f"{turn + 1}/{runs} {target}, {settings}: {cost} {' '.join(result.different)}\n")
    counted = {target: sum(landed.rows.values()) for target, landed in right.items()}
    if len(set(counted.values())) != 1:
        raise RuntimeError(f"The targets hold different numbers of rows: {counted}")
    return results, next(iter(counted.values()))


def table(
    results: Mapping[tuple[str, str], Result], rows: int, load: float, versions: Mapping[str, str] | None = None
) -> str:
    """Write the medians as Markdown."""
    heads = ("Pipeline", "Target's settings", *(f"CPU: {part}" for part in ("tap", "target", "database", "all")))
    lines = [f"| {' | '.join(heads)} | Wall | Rows a second | Rows |", f"|{'---|' * 9}"]
    for (target, settings), result in results.items():
        tap, sink, server, wall = (
            statistics.median(getattr(cost, name) for cost in result.costs)
            for name in ("tap", "target", "server", "wall")
        )
        if target != "target-postgres":
            server = 0.0  # what it did besides is not this target's
        cells = [f"{each:.1f} s" if each else "" for each in (tap, sink, server, tap + sink + server, wall)]
        cells.append(f"{round(rows / wall, -2):,.0f}")
        shown = f"`{settings}`" if ":" in settings else settings
        name = (versions or {}).get(target, target)
        lines.append(f"| {name} | {' | '.join([shown, *cells, _verdict(target, settings, result)])} |")
    machine = report.machine()
    runs_each = min(len(result.costs) for result in results.values())
    text = (
        f"Medians of {runs_each} runs in turns, each loading {rows:,} rows of all streams of three businesses into an "
        f"empty place. {machine['cores']} cores ({machine['processor']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}), on which the simulated Sage ran as well; load {load:.1f} "
        "at the start. The database is a Postgres without fsync."
    )
    return "\n".join([*lines, "", text, ""])


def _verdict(target: str, settings: str, result: Result) -> str:
    if target == ALONE:
        return ""
    if result.different:
        return f"**not the same** in {len(result.different)} tables"
    return "as many" if OTHER_SHAPE in settings else "the same"


def main() -> None:
    """Measure, print, and perhaps write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each; medians are reported (default: %(default)s)")
    parser.add_argument("--only", default=",".join(ENTRANTS), help="targets, separated by commas (all: %(default)s)")
    parser.add_argument("--given", action="append", default=[], help="NAME=REQUIREMENTS of another release of a target")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(PROJECT)}")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path(tempfile.gettempdir()) / "tap-sage-accounting-benchmark",
        help="where the environments stay between runs (default: %(default)s)",
    )
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    given = dict(each.split("=", 1) for each in options.given)
    targets = [*options.only.split(","), *(f"{name}{GIVEN}" for name in given)]
    load = os.getloadavg()[0]
    place = make_scratch()
    try:
        with (
            Sage(BOOKS) as sage,
            supervised(make_scratch(), follow_parent=False) as variables,
            Postgres(place, variables).running(place) as postgres,
        ):
            laboratory = Laboratory(sage, postgres, options.scratch, given)
            text = table(*compare(laboratory, targets, options.runs), load, laboratory.versions())
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if options.write:
        report.write(PAGE, text, BEGIN, END)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
