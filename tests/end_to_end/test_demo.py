"""The demonstration's parts: its Postgres, its report, and that nothing of it outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine, text

from sage_demo import cli, report
from sage_demo.postgres import Postgres, PostgresError, binary
from sage_demo.run import BUSINESSES, DemoError, Figures, Home, progress
from sage_demo.supervision import MARK, Interrupted, marked_processes, supervised
from sage_sandbox.books import advance, build_world
from sage_sandbox.server import SandboxServer
from sage_workbench.embedded_postgres import place_for_postgres, running
from sage_workbench.mart_examples import as_table, examples
from sage_workbench.small_sage import small_world
from support.finance_books import main_figures
from support.finance_page import Page
from support.pages import block_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_sandbox.store import World

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 6, 30, 18, tzinfo=UTC)
TIMEOUT = 600
"""Seconds after which something hangs, on a machine however busy."""


@pytest.fixture
def place() -> Iterator[Path]:
    with place_for_postgres() as directory:
        yield directory


@pytest.fixture
def postgres(place: Path) -> Iterator[Postgres]:
    with running(place) as server:
        yield server


def execute(server: Postgres, *statements: str) -> None:
    with psycopg.connect(server.conninfo) as connection:
        for statement in statements:
            connection.execute(statement)


# Postgres


@pytest.mark.postgres
def test_what_was_committed_is_there_after_a_restart(place: Path) -> None:
    with running(place) as server:
        execute(server, "create table kept as select 12345678901234567.1234 as amount")
    with running(place) as server, psycopg.connect(server.conninfo) as connection:
        assert connection.execute("select amount from kept").fetchone() == (Decimal("12345678901234567.1234"),)


@pytest.mark.postgres
@pytest.mark.parametrize("name", ["long" * 25, "Müller & Söhne", "50% of it, 'quoted'?#1"])
def test_any_directory_will_do(place: Path, name: str) -> None:
    directory = place / name
    directory.mkdir()
    with running(directory) as server:
        execute(server, "create table kept as select 1 as one")
        engine = create_engine(server.sqlalchemy_url)
        with engine.connect() as connection:
            assert connection.scalar(text("select one from kept")) == 1
        engine.dispose()


@pytest.mark.postgres
def test_the_place_for_temporary_files_may_have_any_name_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (odd := place / ("Büro & Lager, " * 9)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    with running(place) as server:
        execute(server, "select 1")


@pytest.mark.postgres
def test_a_server_that_nobody_stopped_is_ended_before_the_next_one_starts(place: Path) -> None:
    with running(place) as abandoned:
        execute(abandoned, "create table kept ()")
        with running(place) as successor:
            execute(successor, "select from kept")


@pytest.mark.postgres
def test_a_server_that_cannot_start_says_why(place: Path) -> None:
    with running(place) as server:
        pass
    (server.data / "postgresql.conf").write_text("no_such_parameter = 1\n")
    with pytest.raises(PostgresError, match="no_such_parameter"), running(place):
        pass


@pytest.mark.postgres
def test_only_its_own_socket_leads_to_the_server(postgres: Postgres) -> None:
    assert postgres.data.stat().st_mode & 0o077 == 0
    with psycopg.connect(postgres.conninfo) as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("",)


# The report


@pytest.fixture
def loaded(postgres: Postgres) -> Postgres:
    execute(
        postgres,
        "create schema sage",
        "create table sage.businesses (id text, name text, business_id text, _sdc_received_at timestamp)",
        "insert into sage.businesses values ('b1', 'Harbour Lights Ltd', 'b1', '2026-06-30 18:00'),"
        " ('b2', 'Atelier d''Été', 'b2', '2026-06-29 18:00')",
        "create table sage.quotes (id text, business_id text, _sdc_received_at timestamp)",
        'create table sage."user" (id text, _sdc_received_at timestamp)',
        """insert into sage."user" values ('u', '2026-06-30 18:00')""",
        "create table sage.ledger_entries (business_id text, _sdc_received_at timestamp)",
        """insert into sage.ledger_entries
        select 'b1', '2026-06-30 18:00'::timestamp from generate_series(1, 4)
        union all select 'b2', '2026-06-29 18:00' from generate_series(1, 2)""",
        "create table sage.sales_invoices (business_id text, _sdc_received_at timestamp)",
        "insert into sage.sales_invoices select 'b1', '2026-06-30 18:00' from generate_series(1, 5)",
        "create schema sage_finance",
        "create table sage_finance.sage__trial_balance"
        " (business_id text, month date, closing_debit numeric, closing_credit numeric)",
        """insert into sage_finance.sage__trial_balance values
        ('b1', '2026-05-01', 1, 2), ('b1', '2026-06-01', 100, 0), ('b1', '2026-06-01', 0, 100),
        ('b2', '2026-06-01', 10, 0), ('b2', '2026-06-01', 0, 9.99)""",
        "create table sage_finance.sage__aged_receivables (business_id text, base_outstanding numeric)",
        "insert into sage_finance.sage__aged_receivables values ('b1', 1300), ('b1', -65.5)",
        "create table sage_finance.sage__aged_payables (business_id text, base_outstanding numeric)",
        "insert into sage_finance.sage__aged_payables values ('b1', 40), ('b1', 2)",
        "create table sage_finance.int_sage__coverage (business_id text, has_purchase_documents boolean)",
        "insert into sage_finance.int_sage__coverage values ('b1', true), ('b2', false)",
        "create table sage_finance.sage__reconciliation (business_id text, verdict text)",
        """insert into sage_finance.sage__reconciliation values
        ('b1', 'ties'), ('b1', 'ties'), ('b1', 'explained'), ('b2', 'differs'), ('b2', 'not checked')""",
    )
    return postgres


@pytest.mark.postgres
def test_the_report_counts_rows_per_table_and_business_and_what_this_run_loaded(loaded: Postgres) -> None:
    with psycopg.connect(loaded.conninfo) as connection:
        lines = report.rows_table(report.Warehouse(connection), since=NOW)
    assert lines[-1] == "without rows: quotes"
    cells = {line.split()[0]: line.split()[1:] for line in lines[2:-1]}
    # Columns in the order of the names: Atelier d'Été, Harbour Lights Ltd.
    assert cells["ledger_entries"] == ["2", "4", "4"]
    assert cells["sales_invoices"] == ["0", "5", "5"]
    assert cells["user"] == ["0", "0", "1"]
    assert cells["total"] == ["3", "10", "11"]


@pytest.mark.postgres
def test_rows_that_an_earlier_run_loaded_do_not_count_for_this_one(loaded: Postgres) -> None:
    with psycopg.connect(loaded.conninfo) as connection:
        warehouse = report.Warehouse(connection)
        assert report.loaded(warehouse, NOW - timedelta(days=2)) == 14
        assert report.loaded(warehouse, NOW) == 11
        assert report.loaded(warehouse, NOW + timedelta(seconds=1)) == 0


@pytest.mark.postgres
def test_the_results_are_those_of_the_models_and_show_when_a_trial_balance_is_out(loaded: Postgres) -> None:
    with psycopg.connect(loaded.conninfo) as connection:
        lines = report.answers_table(report.Warehouse(connection))
    atelier, harbour = lines[2:]
    assert re.split(r" {2,}", atelier)[1:] == ["10.00", "9.99", "OUT BY 0.01", "0.00", "not known"]
    assert re.split(r" {2,}", harbour)[1:] == ["100.00", "100.00", "balanced", "1,234.50", "42.00"]


def test_progress_counts_the_models_that_are_done_whatever_their_order() -> None:
    lines = [
        "dbt-postgres 13:28:49  1 of 3 START test sage_reconciliation_warnings .... [RUN]",
        "dbt-postgres 13:28:49  3 of 3 START test sage_reconciliation_errors ...... [RUN]",
        "dbt-postgres 13:28:49  3 of 3 PASS sage_reconciliation_errors ............ [PASS in 0.11s]",
        "dbt-postgres 13:28:50  1 of 3 WARN 2 sage_reconciliation_warnings ........ [WARN 2 in 0.12s]",
        "dbt-postgres 13:28:50  2 of 3 OK created sql table model sage_finance.a .. [SELECT 4 in 0.12s]",
    ]
    assert progress("", 0) == "Meltano is starting"
    assert progress("\n".join(lines[:2]), 1367) == "1,367 requests answered"
    assert [progress("\n".join(lines[:count]), 1367) for count in (3, 4, 5)] == [
        "1 of 3 models and tests done",
        "2 of 3 models and tests done",
        "3 of 3 models and tests done",
    ]


@pytest.mark.postgres
def test_the_verdicts_are_counted_by_business(loaded: Postgres) -> None:
    with psycopg.connect(loaded.conninfo) as connection:
        atelier, harbour = report.verdicts_table(report.Warehouse(connection))[2:]
    assert re.split(r" {2,}", atelier)[1:] == ["0", "0", "1", "1"]
    assert re.split(r" {2,}", harbour)[1:] == ["2", "1", "0", "0"]


@pytest.mark.postgres
def test_columns_are_aligned_and_long_names_cut(loaded: Postgres) -> None:
    execute(loaded, "update sage.businesses set name = repeat('Ampère & Sons ', 9) where id = 'b1'")
    with psycopg.connect(loaded.conninfo) as connection:
        lines = report.answers_table(report.Warehouse(connection))
    assert len({len(line) for line in lines}) == 1
    assert "Ampère & Sons Amp..." in "".join(lines)


@pytest.mark.postgres
def test_a_hostile_name_reaches_no_terminal(loaded: Postgres) -> None:
    execute(loaded, r"update sage.businesses set name = E'Acme\n\x1b]0;t\x07\u202e' where id = 'b1'")
    with psycopg.connect(loaded.conninfo) as connection:
        warehouse = report.Warehouse(connection)
        lines = report.answers_table(warehouse) + report.rows_table(warehouse, since=NOW)
    assert [line for line in lines if not line.isprintable()] == []
    assert any("Acme" in line for line in lines)


# What is kept between runs


def test_the_history_of_runs_is_kept(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.occupied():
        assert home.history() == []
        home.remember([Figures(rows=1234, requests=56, seconds=7.89)])
    assert [str(figures) for figures in Home(tmp_path).history()] == ["1,234 rows, 56 requests, 7.9 s"]


def test_two_runs_in_one_directory_do_not_meet(tmp_path: Path) -> None:
    with (
        Home(tmp_path).occupied(),
        pytest.raises(DemoError, match="in use by another command"),
        Home(tmp_path).occupied(),
    ):
        pass


def test_every_run_begins_with_an_empty_token_store(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.occupied():
        stale = home.directory / "tokens.sqlite"
        stale.touch()
        assert home.token_store_url() == f"sqlite:///{stale}"
        assert not stale.exists()


# The command line


@pytest.fixture
def project(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("MELTANO_PROJECT_ROOT", "MELTANO_SYS_DIR_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    (place / "meltano.yml").touch()
    (place / "below").mkdir()
    monkeypatch.chdir(place / "below")
    return place


def test_psql_before_the_first_run_says_what_to_do(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["psql"]) == 1
    assert "uv run meltano run demo" in capsys.readouterr().err
    assert not list(project.glob(".meltano/demo/pgdata"))


@pytest.mark.postgres
def test_psql_gets_the_arguments_and_leaves_no_server(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home = Home(project)
    home.directory.mkdir(parents=True)
    with running(home.directory) as server:
        execute(server, "create schema sage", "create table sage.invoices as select 42 as number")
    assert cli.main(["psql", "-At", "-c", "select number from invoices"]) == 0
    assert capfd.readouterr().out == "42\n"
    assert cli.main(["psql", "-c", "select nonsense"]) == 1
    assert not (server.data / "postmaster.pid").exists()


@pytest.mark.postgres
@pytest.mark.slow
def test_a_report_before_the_models_were_built_says_why_there_is_none(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "transform", project / "transform", ignore=shutil.ignore_patterns("target", "logs"))
    home = Home(project)
    home.directory.mkdir(parents=True)
    with running(home.directory):
        pass
    assert cli.main(["report"]) == 1
    assert "sage__dim_businesses" in capsys.readouterr().err
    assert not home.report.exists()


def test_reset_deletes_what_was_loaded(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(project)
    with home.occupied():
        home.remember([Figures(1, 1, 1.0)])
    assert cli.main(["reset"]) == 0
    assert "begins anew" in capsys.readouterr().out
    assert Home(project).history() == []


def test_outside_of_a_project_the_command_says_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MELTANO_PROJECT_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run"]) == 1
    assert "checkout of the project" in capsys.readouterr().err


def test_meltano_says_where_the_project_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELTANO_PROJECT_ROOT", str(tmp_path))
    monkeypatch.setenv("MELTANO_SYS_DIR_ROOT", str(tmp_path / "system"))
    assert cli.find_home().directory == tmp_path / "system" / "demo"


def test_unknown_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["reset", "--everything"])
    assert "--everything" in capsys.readouterr().err


# Nothing outlives a run

OWNER = textwrap.dedent(
    """
    import subprocess, sys, time
    from pathlib import Path
    from sage_demo.postgres import Postgres, make_scratch
    from sage_demo.supervision import MARK, supervised

    scratch = make_scratch()
    data = Path(sys.argv[1])
    with supervised(scratch, follow_parent=True) as environment, Postgres(data, environment).running(scratch):
        # A pipeline whose own child is in a session of its own.
        child = f"import signal, time; signal.signal(signal.SIGTERM, signal.{sys.argv[2]}); print('up', flush=True)"
        child += "; time.sleep(3600)"
        parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], start_new_session=True)"
        pipeline = [sys.executable, "-c", parent]
        running = subprocess.Popen(pipeline, env=environment, start_new_session=True, stdout=subprocess.PIPE)
        running.stdout.readline()
        print(environment[MARK], scratch, flush=True)
        time.sleep(3600)
    """
)
STARTER = """
import subprocess, sys
subprocess.run([sys.executable, '-c', *sys.argv[1:]])
"""


@pytest.fixture
def start(place: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start an owner below another process, as Meltano is to the demonstration."""
    starters = []

    def start(at_sigterm: str = "SIG_DFL") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", STARTER, OWNER, str(place), at_sigterm]
        starters.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        return starters[-1]

    yield start
    for starter in starters:
        with starter:
            starter.kill()


def mark_and_scratch(starter: subprocess.Popen[str]) -> tuple[str, str]:
    assert starter.stdout
    mark, scratch = starter.stdout.readline().split()
    started = marked_processes(mark)
    assert "postgres" in {process.name() for process in started}
    assert len(started) >= 3
    return mark, scratch


def wait_until_gone(mark: str, scratch: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while marked_processes(mark) or Path(scratch).exists():
        assert time.monotonic() < deadline, f"still there: {marked_processes(mark)}, {scratch}"
        time.sleep(0.05)


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("whom", ["owner", "starter"])
def test_nothing_outlives_a_run_however_it_ends(
    start: Callable[[], subprocess.Popen[str]], whom: str, request_to_stop: signal.Signals
) -> None:
    starter = start()
    mark, scratch = mark_and_scratch(starter)
    target = psutil.Process(starter.pid) if whom == "starter" else psutil.Process(starter.pid).children()[0]
    target.send_signal(request_to_stop)
    wait_until_gone(mark, scratch)


@pytest.mark.postgres
def test_a_process_that_does_not_listen_does_not_outlive_the_run_either(
    start: Callable[[str], subprocess.Popen[str]],
) -> None:
    starter = start("SIG_IGN")
    mark, scratch = mark_and_scratch(starter)
    psutil.Process(starter.pid).children()[0].kill()
    wait_until_gone(mark, scratch)


def test_a_stopped_run_says_what_stopped_it(tmp_path: Path) -> None:
    def stop_in_the_middle() -> None:
        with supervised(tmp_path / "scratch", follow_parent=False):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM") as stopped:
        stop_in_the_middle()
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.postgres
def test_processes_of_others_are_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([binary("postgres"), "--version"], stdout=subprocess.DEVNULL, env={MARK: "another"})
    with supervised(tmp_path / "scratch", follow_parent=False):
        bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    assert stranger.wait() == 0


# The whole

PROGRAMS = Path(sys.executable).parent
PIPELINE_LOG = Path(".meltano", "demo", "meltano.log")
FIGURES = re.compile(r"^this run: +([\d,]+) rows, ([\d,]+) requests, [\d.]+ s$", flags=re.MULTILINE)


def make_checkout(place: Path) -> Path:
    """Make what Meltano needs of a clone, without anything that another run has left there."""
    directory = place / "checkout"
    directory.mkdir()
    for name in ("meltano.yml", "logging.yaml"):
        shutil.copy(ROOT / name, directory)
    shutil.copytree(ROOT / "transform", directory / "transform", ignore=shutil.ignore_patterns("target", "logs"))
    return directory


@pytest.fixture
def checkout(place: Path) -> Path:
    return make_checkout(place)


def environment(checkout: Path, **settings: str) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(checkout.parent),
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        **settings,
    }


def demonstrate(checkout: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["meltano", "run", "demo"],
        cwd=checkout,
        env=environment(checkout, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def everything_told(done: subprocess.CompletedProcess[str], checkout: Path) -> str:
    """What a run showed, and the log of which a failed one shows the end only."""
    return f"{done.stdout}\n== {PIPELINE_LOG} ==\n{(checkout / PIPELINE_LOG).read_text()}"


def processes_of(checkout: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(value.startswith(str(checkout)) for value in process.environ().values()):
                found.append(process)
    return found


def figures(output: str) -> tuple[int, int]:
    found = FIGURES.search(output)
    assert found, output
    rows, requests = (int(figure.replace(",", "")) for figure in found.groups())
    return rows, requests


def kill_in_the_middle(checkout: Path, **settings: str) -> None:
    with subprocess.Popen(
        ["meltano", "run", "demo"],
        cwd=checkout,
        env=environment(checkout, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout
        reported: list[str] = []
        while "requests answered" not in "".join(reported[-1:]):
            assert running.poll() is None, "".join([*reported, *running.stdout])
            reported.append(running.stdout.readline())
        assert len(processes_of(checkout)) >= 4
        running.kill()
    deadline = time.monotonic() + TIMEOUT
    while left := processes_of(checkout):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert not (checkout / ".meltano" / "demo" / "pgdata" / "postmaster.pid").exists()


def check_report(output: str, world: World) -> Path:
    """See that the models tie and that the page shows the books; give its path."""
    verdicts = re.findall(
        r"^.+?  +(\d+) +(\d+) +(\d+) +(\d+)$", output.partition("Do the finance models tie")[2], re.MULTILINE
    )
    assert len(verdicts) == len(world.businesses)
    for ties, _, _, differs in verdicts:
        assert int(ties) > 200
        assert differs == "0"
    [path] = re.findall(r"^The report, a page for your browser, is (.+)$", output, flags=re.MULTILINE)
    page = Page(Path(path).read_text())
    assert page.is_whole_and_needs_nothing_else
    assert "Everything ties." in page.text
    for business in world.businesses.values():
        expected = main_figures(business, world.clock.now().date())
        assert page.figures[business.id] | expected == page.figures[business.id]
        assert f"{expected['receivable']:,.2f}" in output
    return Path(path)


@dataclass(frozen=True)
class Demonstration:
    """A first run, after a killed one, of a user who has a Sage account, a database and settings.

    Attributes:
        answers: the results of the examples on the pages of the models, by their titles.
    """

    place: Path
    checkout: Path
    own_sage: SandboxServer
    first: subprocess.CompletedProcess[str]
    answers: dict[str, str]


def own_settings(own_sage: SandboxServer, place: Path) -> dict[str, str]:
    own = own_sage.tap_config(
        token_store=f"sqlite:///{place / 'own.sqlite'}",
        business_ids=["0123456789abcdef"],
        stream_maps={"contacts": None},
        requests_per_minute=1,
    )
    plugins = ("TAP_SAGE_ACCOUNTING", "TAP_SAGE_ACCOUNTING__TRANSACTIONAL", "TAP_SAGE_ACCOUNTING__REFERENCE")
    settings = {
        **{f"{plugin}_{name.upper()}": json.dumps(value) for plugin in plugins for name, value in own.items()},
        "TARGET_POSTGRES_SQLALCHEMY_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none",
        "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": "elsewhere",
        "TARGET_POSTGRES_TABLE_PREFIX": "own_",
        "MELTANO_STATE_BACKEND_URI": f"file://{place / 'states'}",
        "DBT_POSTGRES_HOST": "127.0.0.1",
        "DBT_POSTGRES_SCHEMA": "own_finance",
        "DBT_POSTGRES_TARGET": "duckdb",
        "DBT_SCHEMA": "own_finance",
        "PGHOST": "127.0.0.1",
        "PGPORT": "1",
        "PGSERVICE": "own",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }
    return {name: value.strip('"') for name, value in settings.items()}


@pytest.fixture(scope="module")
def demonstration() -> Iterator[Demonstration]:
    with place_for_postgres() as place, SandboxServer(small_world()) as own_sage:
        checkout = make_checkout(place)
        settings = own_settings(own_sage, place)
        (checkout / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
        credentials = f"default login {own_sage.client_id} password {own_sage.client_secret}\n"
        (place / ".netrc").write_text(credentials)
        (place / ".netrc").chmod(0o600)
        kill_in_the_middle(checkout, **settings)
        first = demonstrate(checkout, **settings)
        yield Demonstration(place, checkout, own_sage, first, answers_in(checkout) if first.returncode == 0 else {})


def answers_in(checkout: Path) -> dict[str, str]:
    with running(checkout / ".meltano" / "demo") as server, psycopg.connect(server.conninfo) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        return {example.title: as_table(cursor.execute(example.query).fetchall()) for example in examples()}


@pytest.mark.meltano
@pytest.mark.postgres
@pytest.mark.slow
def test_one_command_loads_everything_even_after_a_killed_run_and_the_next_only_what_changed(
    demonstration: Demonstration, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout, first = demonstration.checkout, demonstration.first
    assert first.returncode == 0, everything_told(first, checkout)
    assert "Run 1:" in first.stdout
    assert first.stdout.count(" balanced ") == 3
    assert "OUT BY" not in first.stdout
    assert not processes_of(checkout)
    assert (checkout / "meltano.yml").read_text() == (ROOT / "meltano.yml").read_text()
    world = build_world(size="demo", businesses=BUSINESSES)
    check_report(first.stdout, world)
    [shown, *_] = re.findall(r"```text\n(.*?)this run: ", (ROOT / "docs" / "start" / "demo.md").read_text(), re.DOTALL)
    assert shown in first.stdout

    last_line = first.stdout.splitlines()[-1]
    assert last_line.startswith(f"The data are in {checkout}")
    query = last_line.partition("Query them: ")[2]
    block = block_with("docs/start/demo.md", "sage-demo psql").text
    assert shlex.split(block.splitlines()[-1])[1:] == shlex.split(query)[1:]
    (checkout / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    answer = subprocess.run(
        ["bash", "-euc", block], cwd=checkout, env=environment(checkout), capture_output=True, text=True, check=False
    )
    assert "(9 rows)" in answer.stdout, answer.stderr

    monkeypatch.setenv("MELTANO_PROJECT_ROOT", str(checkout))
    assert cli.main(["run"]) == 0
    second = capsys.readouterr().out
    assert "Run 2:" in second
    assert "01 July 2026" in second
    assert second.count(" balanced ") == 3
    advance(world, days=1, seed=0)
    page = check_report(second, world)
    (rows, requests), (rows_again, requests_again) = figures(first.stdout), figures(second)
    assert rows > 5000
    assert 0 < rows_again < rows / 2
    assert 0 < requests_again < requests * 0.75
    assert f"first run: {rows:,} rows, {requests:,} requests" in second

    shown = Page(page.read_text()).undated
    page.unlink()
    assert cli.main(["report"]) == 0
    assert str(page) in capsys.readouterr().out
    assert Page(page.read_text()).undated == shown


@pytest.mark.meltano
@pytest.mark.postgres
@pytest.mark.slow
def test_examples_on_the_pages_of_the_models_have_the_results_shown(demonstration: Demonstration) -> None:
    shown = {example.title: example.answer for example in examples()}
    assert len(shown) > 20
    assert demonstration.answers == shown


@pytest.mark.meltano
@pytest.mark.postgres
@pytest.mark.slow
def test_the_users_own_sage_and_database_and_the_demonstration_never_meet(demonstration: Demonstration) -> None:
    place, checkout, own_sage, done = (
        demonstration.place,
        demonstration.checkout,
        demonstration.own_sage,
        demonstration.first,
    )
    assert done.returncode == 0, everything_told(done, checkout)
    assert done.stdout.count(" balanced ") == 3
    assert list(own_sage.requests) == []
    assert not (place / "own.sqlite").exists()
    assert not (place / "states").exists()
    kept = b"".join(path.read_bytes() for path in (checkout / ".meltano").rglob("*") if path.is_file())
    assert own_sage.client_secret.encode() not in kept


@pytest.mark.meltano
@pytest.mark.slow
def test_a_failure_is_reported_with_its_reason_and_leaves_no_process(checkout: Path) -> None:
    definitions = (checkout / "meltano.yml").read_text()
    assert "      value: 200\n" in definitions
    (checkout / "meltano.yml").write_text(definitions.replace("      value: 200\n", "      value: 500\n"))
    failed = demonstrate(checkout)
    assert failed.returncode != 0
    assert "The pipeline failed" in failed.stdout
    assert "page_size" in failed.stdout
    assert not processes_of(checkout)
