"""One run of the demonstration: start two servers, let Meltano load one from the other and build the models, report."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psycopg

from sage_demo import report
from sage_demo.models import TASK, dbt_settings, write_report
from sage_demo.postgres import Postgres, make_scratch, tail
from sage_demo.supervision import MARK, supervised
from sage_sandbox.books import advance, build_world
from sage_sandbox.server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUSINESSES = 3
_TAP, _TARGET, _ENVIRONMENT = "tap-sage-accounting", "target-postgres", "demo"
_PROJECT_FILES = ("meltano.yml", "logging.yaml")
_INHERITED = ("PATH", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What the pipeline sees of the user's environment, beside `LC_*`.

None of it can be a setting of Meltano, tap or target, a proxy, or the address of a database.
"""
_DAILY, _HOURLY = "reference", "transactional"
"""Jobs of meltano.yml: what hardly ever changes, and what people work on."""
_CHATTER = ("METRIC", "[info     ] target-postgres")
"""In lines of the log that would drown the reason of a failure."""
_POLL_SECONDS = 0.1
_PROGRESS_SECONDS = 3.0
_END_SECONDS = 2.0
# "7 of 9 PASS name": which one of how many, in the order in which dbt started them. They end in another.
_DBT_DONE = re.compile(r"\d+ (of \d+) (?!START )[A-Z]+ ")
_QUERY = "select date, contact_name, total_amount from sales_invoices order by date desc limit 9"


class DemoError(Exception):
    """The demonstration cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Figures:
    """What one finished run cost: rows loaded, requests to the simulated Sage, seconds of the pipeline."""

    rows: int
    requests: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.rows:,} rows, {self.requests:,} requests, {self.seconds:.1f} s"


class Home:
    """The directory that the demonstration keeps between runs."""

    def __init__(self, project: Path, system_directory: Path | None = None) -> None:
        self.project = project
        self.directory = (system_directory or project / ".meltano") / "demo"
        self.pipeline_log = self.directory / "meltano.log"
        self.pipeline_project = self.directory / "project"
        self.report = self.directory / "report.html"
        self._history = self.directory / "runs.json"
        self._lock = self.directory / "lock"

    @contextlib.contextmanager
    def occupied(self) -> Iterator[None]:
        """Keep other runs out; the system lifts the lock when its holder dies.

        Raises:
            DemoError: Another run is at work.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DemoError(
                    f"The demonstration in {self.directory} is in use by another command; wait for its end."
                ) from error
            yield

    def history(self) -> list[Figures]:
        """Recall the finished runs."""
        if not self._history.exists():
            return []
        return [Figures(**figures) for figures in json.loads(self._history.read_text(encoding="utf-8"))]

    def remember(self, history: list[Figures]) -> None:
        """Keep the finished runs, in one step."""
        unfinished = self._history.with_suffix(".unfinished")
        unfinished.write_text(json.dumps([asdict(figures) for figures in history]), encoding="utf-8")
        unfinished.replace(self._history)

    def token_store_url(self) -> str:
        """Where the tap keeps its tokens: empty for each run, as the simulated Sage's own grants are."""
        for file in self.directory.glob("tokens.sqlite*"):
            file.unlink()
        return f"sqlite:///{self.directory / 'tokens.sqlite'}"

    def prepare_project(self) -> None:
        """Copy the definitions, without `.env`: the user's settings and bookmarks are for the user's own data."""
        self.pipeline_project.mkdir(exist_ok=True)
        for name in _PROJECT_FILES:
            shutil.copy(self.project / name, self.pipeline_project)

    def forget(self) -> None:
        """Delete the data and the history."""
        shutil.rmtree(self.directory)


def run(home: Home) -> None:
    """Run the demonstration once more.

    Raises:
        DemoError: The pipeline failed, or another run is at work.
        PostgresError: The database did not start.
        ReportError: The report could not be written.
        Interrupted: A signal stopped the run.
    """
    with home.occupied(), supervised(scratch := make_scratch(), follow_parent=True) as environment:
        postgres = Postgres(home.directory, environment)
        history = home.history() if postgres.data.exists() else []
        with postgres.running(scratch), _simulated_sage(days=len(history)) as sage:
            _tell_beginning(sage, run_number=len(history) + 1)
            dbt = dbt_environment(home, postgres, environment)
            since = datetime.now(UTC)
            seconds = _run_pipeline(home, sage, {**dbt, **_settings(home, sage, postgres)}, from_scratch=not history)
            with psycopg.connect(postgres.conninfo) as connection:
                warehouse = report.Warehouse(connection)
                history = [*history, Figures(report.loaded(warehouse, since), len(sage.requests), seconds)]
                home.remember(history)
                write_report(home.report, dbt)
                _tell_end(home, warehouse, since, history)


@contextlib.contextmanager
def _simulated_sage(*, days: int) -> Iterator[SandboxServer]:
    """Serve the same books in every run, each run a day later: the days between are replayed."""
    world = build_world(size="demo", businesses=BUSINESSES)
    for day in range(days):
        advance(world, days=1, seed=day)
    with SandboxServer(world) as server:
        yield server


def _settings(home: Home, sage: SandboxServer, postgres: Postgres) -> dict[str, str]:
    """Point tap and target at the two servers; settings in the environment win over those in files."""
    # meltano.yml may choose businesses and a beginning, which are not the simulated Sage's.
    tap = {**sage.tap_config(), "token_store": home.token_store_url(), "business_ids": "[]", "start_date": ""}
    return {
        **{
            f"{_variable(plugin)}_{name.upper()}": str(value)
            for plugin in (_TAP, f"{_TAP}--{_DAILY}", f"{_TAP}--{_HOURLY}")
            for name, value in tap.items()
        },
        f"{_variable(_TARGET)}_SQLALCHEMY_URL": postgres.sqlalchemy_url,
        f"{_variable(_TARGET)}_DEFAULT_TARGET_SCHEMA": report.SCHEMA,
    }


def dbt_environment(home: Home, postgres: Postgres, environment: Mapping[str, str]) -> dict[str, str]:
    """Give dbt its settings, and nothing of the user's."""
    return {**_own(environment), **dbt_settings(home.project, home.directory, postgres), "HOME": str(home.directory)}


def _own(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave of an environment what is no setting."""
    return {name: value for name, value in environment.items() if name in (*_INHERITED, MARK) or name.startswith("LC_")}


def _variable(plugin: str) -> str:
    return plugin.upper().replace("-", "_")


def _run_pipeline(home: Home, sage: SandboxServer, environment: Mapping[str, str], *, from_scratch: bool) -> float:
    """Let Meltano run tap and target; return how many seconds it took."""
    programs = Path(sys.executable).parent
    command = [str(programs / "meltano"), f"--environment={_ENVIRONMENT}", "run"]
    # Bookmarks of an earlier demonstration, whose data were deleted, must not count.
    command += ["--full-refresh", _HOURLY, _DAILY, TASK] if from_scratch else [_HOURLY, TASK]
    path = f"{programs}{os.pathsep}{environment.get('PATH', '')}"
    home.prepare_project()
    begun = time.monotonic()
    with home.pipeline_log.open("wb") as log:
        pipeline = subprocess.Popen(  # noqa: S603 - a fixed program
            command,
            cwd=home.pipeline_project,
            env={**environment, "PATH": path, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _tell_progress(home, pipeline, sage)
        finally:
            _end(pipeline)
    if pipeline.returncode:
        raise DemoError(
            f"The pipeline failed (exit code {pipeline.returncode}). The end of its log, {home.pipeline_log}:\n"
            f"{tail(home.pipeline_log, without=_CHATTER)}"
        )
    return time.monotonic() - begun


def _end(pipeline: subprocess.Popen[bytes]) -> None:
    """Let Meltano end tap and target, if they still run; the supervisor ends what does not listen."""
    pipeline.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        pipeline.wait(_END_SECONDS)


def _tell_progress(home: Home, pipeline: subprocess.Popen[bytes], sage: SandboxServer) -> None:
    begun = reported = time.monotonic()
    while pipeline.poll() is None:
        time.sleep(_POLL_SECONDS)
        if time.monotonic() - reported >= _PROGRESS_SECONDS:
            reported = time.monotonic()
            log = home.pipeline_log.read_text(encoding="utf-8", errors="replace")
            click.echo(f"{reported - begun:5.0f} s: {progress(log, len(sage.requests))}")


def progress(log: str, requests: int) -> str:
    """Return how far the pipeline is, from its log and the number of requests that the simulated Sage answered."""
    built = _DBT_DONE.findall(log)
    if built:
        return f"{len(built)} {built[-1]} models and tests done"
    return f"{requests:,} requests answered" if requests else "Meltano is starting"


def _tell_beginning(sage: SandboxServer, *, run_number: int) -> None:
    today = f"{sage.world.clock.now():%d %B %Y}"
    click.echo(
        f"Run {run_number}: a simulated Sage with {BUSINESSES} businesses, where it is {today}, at {sage.api_url}"
    )
    click.echo("Postgres is up. Meltano runs tap-sage-accounting, target-postgres and dbt.")


def _tell_end(home: Home, warehouse: report.Warehouse, since: datetime, history: list[Figures]) -> None:
    click.echo("== Rows per table and business ==")
    click.echo("\n".join(report.rows_table(warehouse, since)))
    click.echo("== What an accountant checks first ==")
    click.echo("\n".join(report.answers_table(warehouse)))
    click.echo("== Do the finance models tie to Sage? Comparisons by business, check and month ==")
    click.echo("\n".join(report.verdicts_table(warehouse)))
    click.echo("== What it took ==")
    if len(history) > 1:
        click.echo(f"first run: {history[0]}")
    click.echo(f"this run:  {history[-1]}")
    click.echo("Run it again: Sage will have moved on by a day, and what changed is what travels.")
    click.echo(f"The report, a page for your browser, is {home.report}")
    program = Path(sys.executable).with_name("sage-demo")
    if program.is_relative_to(home.project):
        program = program.relative_to(home.project)
    click.echo(
        f'The data are in {home.directory / "pgdata"}. Query them: {shlex.quote(str(program))} psql -c "{_QUERY}"'
    )
