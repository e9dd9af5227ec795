#!/usr/bin/env python
"""Run the Airflow example for real, and compare what it loads with the books.

Airflow gets an environment of its own, made by uv. A simulated Sage has many businesses and access tokens that live for
seconds only, so that tasks renew them all the time; tokens, state and rows are in one PostgreSQL server. Then:

1. one process after the other reads all businesses, for comparison;
2. a scheduler with LocalExecutor runs both DAGs at once, several businesses at a time;
3. days pass, one tap is killed in the middle, and the scheduler runs both DAGs again;
4. `airflow dags test` runs the transactional DAG, with the businesses in four groups; and once more after a row of an
   invoice was changed, so that the models no longer tie.

Each time, the models that the DAGs built are to tie as well.

    python scripts/check_airflow.py --environments DIRECTORY
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import yaml

ROOT = Path(__file__).parent.parent

from sage_sandbox.books import build_world  # noqa: E402
from sage_sandbox.books.conventions import PLANS  # noqa: E402
from sage_sandbox.faults import Faults  # noqa: E402
from sage_sandbox.server import SandboxServer  # noqa: E402
from sage_workbench.embedded_postgres import postgres_server  # noqa: E402
from sage_workbench.pipeline import PROGRAMS, Books  # noqa: E402
from sage_workbench.tables import Warehouse  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sage_sandbox.api import Call

REQUIREMENTS = ("apache-airflow>=3.1,<4", "apache-airflow-providers-postgres", "asyncpg", "psycopg2-binary")
DAGS = {
    "sage_transactional": "tap-sage-accounting--transactional",
    "sage_reference": "tap-sage-accounting--reference",
}
STALE = """update sage.sales_invoices set outstanding_amount = outstanding_amount + 10
    where id = (select id from sage.sales_invoices where status ->> 'id' = 'UNPAID' order by updated_at limit 1)"""
"""Falsifies the invoice that changed longest ago: the next run does not read it again."""
REQUESTS_PER_MINUTE = 900
TOKEN_LIFETIME = 10.0
"""Seconds that an access token lives; the tap renews it when a fifth of them is left."""
PATIENCE = 1500
"""Seconds for all DAG runs of one step."""
WITH_BOOKS = tuple(plan for plan in PLANS if plan.country in {"CA", "GB", "IE"})
"""Elsewhere, Sage offers nothing of a selection: a run of such a business alone fails, and so does its task."""
SERVER = {"max_connections": "100"}
"""As PostgreSQL comes. The demonstration's 40 are too few for Airflow with the tasks of four slots beside it."""


@dataclass(frozen=True)
class Airflow:
    """An installed Airflow with a home of its own."""

    programs: Path
    home: Path
    environment: dict[str, str]

    def run(self, *arguments: str, **variables: str) -> str:
        """Run one of Airflow's commands; give what it prints.

        Raises:
            SystemExit: it failed; with the end of what it had to say.
        """
        return run(str(self.programs / "airflow"), *arguments, environment={**self.environment, **variables})

    def fail(self, *arguments: str, **variables: str) -> str:
        """Run one of Airflow's commands, which must fail; give all that it prints.

        Raises:
            SystemExit: it did not fail.
        """
        command = [str(self.programs / "airflow"), *arguments]
        environment = {**self.environment, **variables}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        if not done.returncode:
            raise SystemExit(f"{' '.join(command)} should have failed:\n{done.stdout[-5000:]}")
        return done.stdout + done.stderr

    @contextmanager
    def running(self, **variables: str) -> Iterator[None]:
        """Start what a deployment has: API server, DAG processor and scheduler; end them afterwards."""
        with ExitStack() as stack:
            for name in ("api-server", "dag-processor", "scheduler"):
                log = stack.enter_context((self.home / f"{name}.log").open("a"))
                process = subprocess.Popen(  # noqa: S603 - our own command
                    [self.programs / "airflow", name],
                    env={**self.environment, **variables},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                stack.callback(end, process)
            yield


def run(*command: str, environment: dict[str, str]) -> str:
    """Run a program to its end.

    Raises:
        SystemExit: it failed; with the end of what it had to say.
    """
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}")
    return done.stdout


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def airflow_programs(directory: Path) -> Path:
    """Make, or find, the environment that holds Airflow, resolved once and installed from what was resolved."""
    place = directory / "airflow"
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        python, environment = str(place / "bin" / "python"), dict(os.environ)
        run("uv", "venv", "-q", "--python", sys.executable, str(place), environment=environment)
        (place / "requirements.in").write_text("\n".join(REQUIREMENTS))
        constraints = str(place / "constraints.txt")
        resolve = ("uv", "pip", "compile", "-q", "--python", python, "-o", constraints, str(place / "requirements.in"))
        run(*resolve, environment=environment)
        run("uv", "pip", "install", "-q", "--python", python, "-r", constraints, environment=environment)
        (place / "complete").touch()
    return place / "bin"


@dataclass(frozen=True)
class Laboratory:
    """A simulated Sage, a PostgreSQL server, and a directory for everything else."""

    sage: SandboxServer
    postgres: str
    directory: Path
    slots: int

    def database(self, name: str, driver: str = "postgresql+psycopg") -> str:
        """Give the address of a database, which is made when it is not there yet."""
        plain = self.postgres.replace("postgresql+psycopg:", "postgresql:")
        with psycopg.connect(plain, autocommit=True) as connection, suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(f"create database {name}")
        return plain.replace("/postgres?", f"/{name}?").replace("postgresql:", f"{driver}:")

    def settings(self, name: str) -> dict[str, str]:
        """Give the variables of one pipeline: state and rows of its own, and the tokens that all share."""
        tap = self.sage.tap_config(token_store=self.database("tokens"))
        return {
            **{f"TAP_SAGE_ACCOUNTING_{key.upper()}": str(value) for key, value in tap.items()},
            # Deletions that Sage does not report are to be looked for after every run.
            **{f"{each.upper().replace('-', '_')}_DELETION_SWEEP_DAYS": "0" for each in DAGS.values()},
            "MELTANO_DATABASE_URI": self.database(f"state_{name}"),
            "TARGET_POSTGRES_SQLALCHEMY_URL": self.database(name),
            **dbt_settings(self.database(name)),
        }

    def environment(self) -> dict[str, str]:
        """Give the variables that every program here sees."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "HOME": str(self.directory), "PATH": f"{PROGRAMS}{os.pathsep}{kept['PATH']}"}

    def project(self) -> Path:
        """Copy what a worker needs of this repository."""
        place = self.directory / "project"
        if not place.exists():
            place.mkdir()
            for name in ("meltano.yml", "logging.yaml"):
                shutil.copy(ROOT / name, place)
            shutil.copytree(ROOT / "transform", place / "transform", ignore=shutil.ignore_patterns("target", "logs"))
        return place

    def airflow(self, programs: Path) -> Airflow:
        """Set up an Airflow that finds the example's DAGs."""
        (home := self.directory / "airflow-home").mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        airflow = Airflow(
            programs,
            home,
            {
                **self.environment(),
                "PATH": f"{programs}{os.pathsep}{self.environment()['PATH']}",
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "examples" / "airflow" / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__PARALLELISM": str(self.slots + 1),
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
                "AIRFLOW__API__PORT": str(port),
                "AIRFLOW__API__WORKERS": "1",
                "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database("airflow", "postgresql+psycopg2"),
                "SAGE_PROJECT": str(self.project()),
                "SAGE_SLOTS": str(self.slots),
                "SAGE_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE),
                "SAGE_RETRY_SECONDS": "5",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        airflow.run("db", "migrate")
        airflow.run("pools", "set", "sage", str(self.slots), "Businesses that are read at once")
        airflow.run("pools", "set", "sage_tables", "1", "Who makes tables")
        return airflow

    def tie(self, name: str) -> str:
        """Say how many checks of the models tie.

        Raises:
            SystemExit: none do, or one differs.
        """
        query = "select verdict, count(*) from sage_finance.sage__reconciliation group by verdict"
        with psycopg.connect(self.database(name, "postgresql")) as connection:
            verdicts: dict[str, int] = dict(connection.execute(query).fetchall())
        if not verdicts.get("ties") or verdicts.get("differs"):
            raise SystemExit(f"{name}: the models do not tie: {verdicts}")
        return f"{verdicts['ties']:,} checks tie"

    def check(self, name: str, *extractors: str) -> str:
        """Compare every row that some extractors should have loaded with the books; say what was compared.

        Raises:
            SystemExit: something is missing, stale or different.
        """
        books = Books.of(self.sage)
        wanted = {stream for extractor in extractors for stream in selection(extractor)}
        businesses = self.sage.world.businesses
        wrong = Warehouse(self.database(name, "postgresql"), books, {}).wrong(wanted, businesses)
        if wrong:
            raise SystemExit(f"{name}: {len(wrong)} differences\n" + "\n".join(wrong[:20]))
        count = sum(place[0] in wanted for place in books.alive)
        return f"{count:,} rows of {len(businesses)} businesses in {len(wanted)} tables equal the books"


def dbt_settings(database: str) -> dict[str, str]:
    """Give the variables by which dbt finds a database."""
    parts = urlsplit(database.replace("+psycopg", ""))
    return {
        "DBT_POSTGRES_HOST": parse_qs(parts.query)["host"][0],
        "DBT_POSTGRES_USER": parts.netloc.removesuffix("@"),
        "DBT_POSTGRES_DATABASE": parts.path[1:],
    }


def selection(extractor: str) -> set[str]:
    """Read from `meltano.yml` which streams an extractor selects."""
    plugins = yaml.safe_load((ROOT / "meltano.yml").read_text())["plugins"]["extractors"]
    [found] = [plugin for plugin in plugins if plugin["name"] == extractor]
    return {rule.removesuffix(".*") for rule in found["select"]}


def one_process_at_a_time(laboratory: Laboratory) -> float:
    """Read all businesses in one process, and once more for the other selection; return the seconds."""
    began = time.monotonic()
    for extractor in DAGS.values():
        run(
            str(PROGRAMS / "meltano"),
            *("--cwd", str(laboratory.project()), "--environment", "prod", "run", extractor, "target-postgres"),
            environment={
                **laboratory.environment(),
                **laboratory.settings("one"),
                "MELTANO_SYS_DIR_ROOT": str(laboratory.directory / "meltano"),
                "TAP_SAGE_ACCOUNTING_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE),
            },
        )
    return time.monotonic() - began


def on_demand(airflow: Airflow) -> dict[str, str]:
    """Copy the example's DAGs without their schedules, so that none starts by itself; give the variables for that."""
    (directory := airflow.home / "dags").mkdir()
    example = Path(airflow.environment["AIRFLOW__CORE__DAGS_FOLDER"], "sage.py").read_text("utf-8")
    on_demand, schedules = re.subn(r'"@\w+"', "None", example)
    assert schedules == len(DAGS), example  # noqa: S101 - a check is what this is
    (directory / "sage.py").write_text(on_demand, "utf-8")
    return {"AIRFLOW__CORE__DAGS_FOLDER": str(directory)}


class Scheduler:
    """Both DAGs, triggered and watched in Airflow's own database."""

    def __init__(self, laboratory: Laboratory, airflow: Airflow) -> None:
        self._airflow = airflow
        self._database = laboratory.database("airflow", "postgresql")

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Query Airflow's database."""
        with psycopg.connect(self._database) as connection:
            return connection.execute(query, values).fetchall()

    def wait_for_dags(self) -> None:
        """Wait until the DAGs are parsed, and let them run."""
        wait_until(lambda: len(self.ask("select 1 from dag where dag_id = any(%s)", list(DAGS))) == len(DAGS))
        for dag in DAGS:
            self._airflow.run("dags", "unpause", "--yes", dag)

    def run(self, run_id: str) -> tuple[float, list[tuple[Any, ...]]]:
        """Run both DAGs at once.

        Returns:
            Seconds from the start of the first task to the end of the last one, and DAG, index and tries of each
            mapped task.

        Raises:
            SystemExit: a run failed.
        """
        for dag in DAGS:
            self._airflow.run("dags", "trigger", "--run-id", run_id, dag)
        states = "select dag_id, state from dag_run where run_id = %s and state in ('success', 'failed')"
        wait_until(lambda: len(self.ask(states, run_id)) == len(DAGS))
        if any(state != "success" for _, state in self.ask(states, run_id)):
            failed = "select dag_id, task_id, map_index from task_instance where run_id = %s and state <> 'success'"
            raise SystemExit(f"{run_id}: {self.ask(states, run_id)}\n{self.ask(failed, run_id)}")
        span = "select extract(epoch from max(end_date) - min(start_date)) from task_instance where run_id = %s"
        [(seconds,)] = self.ask(span, run_id)
        tasks = "select dag_id, map_index, try_number from task_instance where run_id = %s and task_id = 'load'"
        return float(seconds), self.ask(tasks, run_id)


def wait_until(condition: Any) -> None:
    """Wait until something is so.

    Raises:
        SystemExit: it took too long.
    """
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("Airflow did not finish in time.")
        time.sleep(1)


class Assassin:
    """Kills the tap that reads one business in the middle of its work, once."""

    def __init__(self, sage: SandboxServer, business_id: str) -> None:
        self.killed: list[int] = []
        self._business_id = business_id
        self._variables = {
            "TAP_SAGE_ACCOUNTING_API_URL": sage.api_url,
            "TAP_SAGE_ACCOUNTING_BUSINESS_IDS": json.dumps([business_id]),
        }

    def __call__(self, call: Call) -> None:
        """Called with each request that the simulated Sage gets."""
        if self.killed or call.business != self._business_id or call.name != "sales_invoices":
            return
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.Error):
                is_tap = any(part.endswith("/tap-sage-accounting") for part in process.info["cmdline"] or ())
                if is_tap and self._variables.items() <= process.environ().items():
                    process.kill()
                    self.killed.append(process.pid)


def run_all(laboratory: Laboratory, airflow: Airflow) -> None:
    """Run every step and print what it found."""
    sage, businesses = laboratory.sage, list(laboratory.sage.world.businesses)
    alone = one_process_at_a_time(laboratory)
    print(f"one process: {alone:.0f} s; {laboratory.check('one', *DAGS.values())}", flush=True)

    with airflow.running(**laboratory.settings("workers"), **on_demand(airflow)):
        scheduler = Scheduler(laboratory, airflow)
        scheduler.wait_for_dags()
        seconds, tasks = scheduler.run("full")
        assert len(tasks) == len(DAGS) * len(businesses), tasks  # noqa: S101 - a check is what this is
        outcome = f"{seconds:.0f} s, {len(tasks)} mapped tasks, {laboratory.slots} at once"
        print(f"scheduler, full: {outcome}; {laboratory.check('workers', *DAGS.values())}", flush=True)
        print(f"scheduler, full: {laboratory.tie('workers')}", flush=True)

        sage.advance(2)
        sage.on_request = assassin = Assassin(sage, businesses[len(businesses) // 2])
        seconds, tasks = scheduler.run("changes")
        repeated = [f"{dag}[{index}]" for dag, index, tries in tasks if tries > 1]
        outcome = laboratory.check("workers", *DAGS.values())
        print(f"scheduler, changes of two days: {seconds:.0f} s; {outcome}; {laboratory.tie('workers')}", flush=True)
        print(f"killed {len(assassin.killed)} tap; tasks that ran again: {', '.join(repeated) or 'none'}")
        if len(assassin.killed) != 1 or len(repeated) != 1:
            raise SystemExit("The killed tap's task, and no other, should have run again.")

    # Last, because Airflow remembers the DAGs of a test with their schedules.
    airflow.run("dags", "test", "sage_transactional", SAGE_SHARDS="4", **laboratory.settings("tested"))
    print(f"airflow dags test, 4 groups: {laboratory.check('tested', DAGS['sage_transactional'])}", flush=True)

    with psycopg.connect(laboratory.database("tested", "postgresql")) as connection:
        connection.execute(STALE)
    failed = airflow.fail("dags", "test", "sage_transactional", SAGE_SHARDS="4", **laboratory.settings("tested"))
    verdict = re.search(r"The books do not tie\. .+?: outstanding_amounts differs by 10\.0000 [^)]+\)", failed)
    print(f"airflow dags test, an invoice changed: {verdict and verdict[0]}", flush=True)
    if not verdict:
        raise SystemExit(failed[-5000:])

    refused = dict(sage.grants.refusals)
    print(f"tokens: {sage.grants.refreshes} renewals, refused: {refused or 'none'}")
    if refused:
        raise SystemExit("A grant was lost or nearly so.")


def main() -> None:
    """Check the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, help="directory to keep Airflow's environment in")
    parser.add_argument("--businesses", type=int, default=20)
    parser.add_argument("--slots", type=int, default=4, help="businesses that are read at once")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds that an answer of Sage takes")
    options = parser.parse_args()
    with ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="airflow-", ignore_cleanup_errors=True)
        directory = Path(stack.enter_context(scratch))
        programs = airflow_programs(options.environments or directory / "environments")
        world = build_world(size="tiny", businesses=options.businesses, frozen=True, plans=WITH_BOOKS)
        faults = Faults(access_token_lifetime=TOKEN_LIFETIME, latency=options.latency, detail_flags_on_lists=True)
        postgres = stack.enter_context(postgres_server(SERVER))
        sage = stack.enter_context(SandboxServer(world, faults=faults))
        laboratory = Laboratory(sage, postgres, directory, options.slots)
        print(run(str(programs / "airflow"), "version", environment=laboratory.environment()).strip(), flush=True)
        run_all(laboratory, laboratory.airflow(programs))


if __name__ == "__main__":
    main()
