"""The command: build books of several sizes in Postgres and DuckDB, and print what that costs.

uv run python -m benchmarks.models
uv run python -m benchmarks.models --entries 100000 --warehouses duckdb
uv run python -m benchmarks.models --write
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import psutil
import psycopg

from benchmarks import report
from benchmarks.bench import start
from benchmarks.contenders import Command
from benchmarks.environments import PROJECT, clean_environment
from benchmarks.models.books import Made, load_a_small_sage
from sage_demo.postgres import DATABASE, USER, Postgres, make_scratch
from sage_demo.supervision import supervised

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUNDS = {"postgres": 30.0, "duckdb": 20.0}
"""Seconds on the clock that a million entries may take on two quiet cores."""
SERVER = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
"""What a server of a few gigabytes is given; Postgres as it is installed suits the smallest machine."""
MILLION = 1_000_000
PAGE = PROJECT / "docs" / "operations" / "speed.md"
BEGIN, END = "<!-- models:begin -->", "<!-- models:end -->"
COUNTED = "select count(*) from sage_finance.sage__general_ledger"


@dataclass(frozen=True)
class Cost:
    """What one build took.

    Attributes:
        wall: seconds on the clock.
        dbt: CPU seconds of dbt, with DuckDB inside it.
        server: CPU seconds of the database server.
        others: CPU seconds of whatever else ran on the machine meanwhile.
        peak_mb: largest memory of dbt (with DuckDB), or of the server's sessions together without shared buffers.
        slowest: what took longest, with its seconds.
    """

    wall: float
    dbt: float
    server: float
    others: float
    peak_mb: float
    slowest: tuple[tuple[float, str], ...]


class Watched:
    """A database server, whose CPU and memory are watched."""

    def __init__(self, pid: int | None) -> None:
        self._process = psutil.Process(pid) if pid else None
        self.peak_mb = 0.0

    def cpu(self) -> float:
        """Return its CPU seconds so far, ended sessions included."""
        if not self._process:
            return 0.0
        own = self._process.cpu_times()
        total = own.user + own.system + own.children_user + own.children_system
        for each in self._process.children():
            total += sum(each.cpu_times()[:2])
        return float(total)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at the memory of its sessions, five times a second."""
        ended = threading.Event()

        def look() -> None:
            while self._process and not ended.wait(0.2):
                self.peak_mb = max(self.peak_mb, sum(map(_own_memory, self._process.children())) / 2**20)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _own_memory(process: psutil.Process) -> float:
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0.0
    return float(memory.rss - memory.shared)


def build(variables: dict[str, str], server: Watched, directory: Path) -> Cost:
    """Build, test and reconcile all models once.

    Args:
        variables: where dbt finds the warehouse.
        server: the warehouse's server.
        directory: for dbt's artifacts, with which later builds need not parse the models again.

    Raises:
        RunFailedError: dbt failed, as it does where a certain check differs.
    """
    environment = clean_environment(
        **variables, DBT_TARGET_PATH=str(directory), DBT_LOG_PATH=str(directory), DBT_SEND_ANONYMOUS_USAGE_STATS="false"
    )
    places = [f"--project-dir={PROJECT / 'transform'}", f"--profiles-dir={PROJECT / 'transform'}"]
    # As meltano.yml does: unit tests are about the models, not about what was loaded.
    selection = ["--exclude-resource-type", "unit_test"]
    command = [str(Path(sys.executable).with_name("dbt")), "--quiet", "build", *selection, *places]
    used, busy = server.cpu(), _busy()
    with server.watching():
        ran = start(Command(command, environment), directory)
    used, busy = server.cpu() - used, _busy() - busy
    results = json.loads((directory / "run_results.json").read_text())["results"]
    slowest = sorted(((each["execution_time"], each["unique_id"].split(".")[2]) for each in results), reverse=True)
    return Cost(
        wall=ran.seconds,
        dbt=ran.cpu,
        server=used,
        others=max(0.0, busy - used - ran.cpu),
        peak_mb=server.peak_mb or ran.peak_mb,
        slowest=tuple(slowest),
    )


def _busy() -> float:
    """Return the CPU seconds that the machine has worked so far."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def measure(entries: int, warehouses: list[str], runs: int, scratch: Path) -> Iterator[tuple[str, int, list[Cost]]]:
    """Make books of a size and build them in each warehouse; give the warehouse, the entries, and what runs took."""
    place, directory = make_scratch(), Path(tempfile.mkdtemp(prefix="books-", dir=scratch))
    try:
        with (
            supervised(make_scratch(), follow_parent=False) as variables,
            Postgres(place, variables, SERVER).running(place) as postgres,
        ):
            load_a_small_sage(postgres.sqlalchemy_url, directory)
            made = Made(directory / "warehouse.duckdb", entries)
            with psycopg.connect(postgres.conninfo) as connection:
                made.make(connection)
                if "postgres" in warehouses:
                    made.fill(connection)
            made.forget()
            if "postgres" in warehouses:
                settings = {
                    "DBT_POSTGRES_HOST": postgres.socket_directory,
                    "DBT_POSTGRES_USER": USER,
                    "DBT_POSTGRES_DATABASE": DATABASE,
                }
                pid = int((postgres.data / "postmaster.pid").read_text().split()[0])
                (artifacts := directory / "postgres").mkdir()
                costs = [build(settings, Watched(pid), artifacts) for _ in range(runs)]
                with psycopg.connect(postgres.conninfo) as connection:
                    yield "postgres", _one(connection.execute(COUNTED).fetchone()), costs
        if "duckdb" in warehouses:
            settings = {"DBT_TARGET": "duckdb", "DBT_DUCKDB_PATH": str(made.path)}
            (artifacts := directory / "duckdb").mkdir()
            costs = [build(settings, Watched(None), artifacts) for _ in range(runs)]
            with duckdb.connect(made.path) as connection:
                yield "duckdb", _one(connection.execute(COUNTED).fetchone()), costs
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)


def _one(row: tuple[int, ...] | None) -> int:
    return row[0] if row else 0


def table(costs: dict[tuple[str, int], list[Cost]]) -> str:
    """Write the medians as Markdown."""
    lines = [
        "| Warehouse | Ledger entries | Wall | CPU: dbt | CPU: server | CPU: others | Peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for (warehouse, entries), runs in costs.items():
        wall, dbt, server, others, peak = (
            statistics.median(getattr(each, name) for each in runs)
            for name in ("wall", "dbt", "server", "others", "peak_mb")
        )
        own = f"{server:.1f} s" if server else "in dbt"
        cells = [f"{wall:.1f} s", f"{dbt:.1f} s", own, f"{others:.1f} s", f"{peak:.0f} MB"]
        lines.append(f"| {warehouse} | {entries:,} | {' | '.join(cells)} |")
    machine = report.machine()
    foot = (
        f"Medians of {min(map(len, costs.values()))} runs of `dbt build`, with tests and reconciliation, on "
        f"{machine['cores']} cores ({machine['processor']}, {machine['memory_gib']} GiB, {machine['system']}, Python "
        f"{machine['python']}). *Others* is what else the machine did meanwhile."
        " dbt had parsed the models before, but for the first run. The database is a Postgres without fsync, with"
        f" {' and '.join(f'{name} {value}' for name, value in SERVER.items())}."
    )
    return "\n".join([*lines, "", foot, ""])


def verdicts(costs: dict[tuple[str, int], list[Cost]]) -> Iterator[str]:
    """Report whether the bounds hold: the time for a million entries, and growth that is at most linear."""
    sizes: dict[str, dict[int, float]] = {}
    for (warehouse, entries), runs in costs.items():
        sizes.setdefault(warehouse, {})[entries] = statistics.median(each.wall for each in runs)
    for warehouse, walls in sizes.items():
        (small, shortest), (large, longest) = min(walls.items()), max(walls.items())
        if large >= MILLION * 0.95:
            reached = "yes" if longest <= BOUNDS[warehouse] else "NO"
            yield f"{reached}: {warehouse}, {large:,} entries: {longest:.1f} s (at most {BOUNDS[warehouse]:.0f})"
        if small < large:
            reached = "yes" if longest / shortest <= large / small else "NO"
            yield f"{reached}: {warehouse}, growth: {longest / shortest:.1f} times (at most {large / small:.1f})"


def main() -> None:
    """Measure, print, and perhaps write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    add = parser.add_argument
    add("--entries", default="100000,1000000", help="sizes of the ledger, separated by commas (default: %(default)s)")
    add("--warehouses", default=",".join(BOUNDS), help="separated by commas (default: %(default)s)")
    add("--runs", type=int, default=3, help="builds of each; medians are shown (default: %(default)s)")
    add("--write", action="store_true", help=f"put the table into {PAGE.relative_to(PROJECT)}")
    add("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="where the books are kept meanwhile")
    options = parser.parse_args()
    costs: dict[tuple[str, int], list[Cost]] = {}
    for entries in map(int, options.entries.split(",")):
        for warehouse, counted, runs in measure(entries, options.warehouses.split(","), options.runs, options.scratch):
            costs[warehouse, counted] = runs
            walls = ", ".join(f"{each.wall:.1f} s" for each in runs)
            slowest = ", ".join(f"{name} {seconds:.1f} s" for seconds, name in runs[-1].slowest[:8])
            sys.stderr.write(f"{warehouse}, {counted:,} entries: {walls}; {slowest}\n")
    text = table(costs)
    if options.write:
        report.write(PAGE, text, BEGIN, END)
    sys.stdout.write("\n".join([text, *verdicts(costs), ""]))


if __name__ == "__main__":
    main()
