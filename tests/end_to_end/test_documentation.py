"""What the documentation says can be done: its commands run, its settings are settings, its queries are right."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml
from psycopg.rows import dict_row

from sage_sandbox.books import advance, build_world, trial_balance
from sage_sandbox.server import SandboxServer
from sage_workbench.attached_files import files_in, stored
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.pipeline import PROGRAMS, Books, catalog_of, pipe
from sage_workbench.runs import Recorder
from support.browsers import Browser, allowing, command
from support.doctors import see
from support.package_index import PACKAGE_INDEX
from support.pages import DOCS, PAGES, ROOT, all_blocks, blocks_of, chosen
from tap_sage_accounting import timestamps
from tap_sage_accounting.commands.login import login
from tap_sage_accounting.commands.status import status
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_workbench.runs import Run
    from support.pages import Block

    Record = dict[str, Any]
    RunTap = Callable[..., Run]

TIMEOUT = 600
"""Seconds for all commands of a page."""
A_TARGET = """\
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "STATE":
        print(json.dumps(message["value"]), flush=True)
"""
"""The least that a Singer target does: reads everything, confirms states."""


# Commands


def is_run(block: Block) -> bool:
    return block.language == "sh" and not block.is_elsewhere


def records_in(path: Path) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for line in path.read_text().splitlines():
        message = json.loads(line)
        if message["type"] == "RECORD":
            found.setdefault(message["stream"], []).append(message["record"])
    return found


def check_selection(directory: Path) -> None:
    records = records_in(directory / "some.jsonl")
    assert set(records) == {"contacts", "sales_invoices"}
    assert all("email" in record and "bank_account_details" not in record for record in records["contacts"])


def check_backfill(directory: Path) -> None:
    assert records_in(directory / "again.jsonl")["sales_invoices"]


def check_state(directory: Path) -> None:
    bookmarks = json.loads((directory / "state.json").read_text())["bookmarks"]
    assert bookmarks["sales_invoices"]["partitions"][0]["replication_key_value"]


def check_figures(directory: Path) -> None:
    figures = dict(line.rsplit(" ", 1) for line in (directory / "sage.prom").read_text().splitlines())
    assert figures["sage_exit_code"] == figures["sage_failed"] == figures["sage_refused"] == "0"
    assert float(figures["sage_finished_seconds"]) > 1.7e9
    assert int(figures['sage_records{stream="contacts"}']) > 0
    assert "Run finished: " in (directory / "page.log").read_text()
    [rules] = [yaml.safe_load(block.text) for block in chosen("yaml", "alerts.yml")]
    named = set(re.findall(r"\bsage_\w+", " ".join(rule["expr"] for rule in rules["groups"][0]["rules"])))
    assert named <= set(figures)


def check_files(directory: Path) -> None:
    records = records_in(directory / "out.jsonl")["attachments"]
    assert stored(records).keys() == {(record["business_id"], record["id"]) for record in records} != set()
    assert all(f"files/{name}" in (directory / "page.log").read_text() for name in files_in(directory / "files"))


def hold_a_state(sage: SandboxServer, directory: Path) -> None:
    tap = TapSageAccounting(config=json.loads((directory / "config.json").read_text()), message_writer=Recorder())
    for name, stream in tap.streams.items():
        stream.selected = name == "sales_invoices"
    tap.sync_all()
    (directory / "state.json").write_text(json.dumps(tap.state))
    sage.requests.clear()


BEFORE = {"backfill": hold_a_state}
"""What a page's commands begin with, where that is more than settings."""
CHECKS = {
    "backfill": check_backfill,
    "files": check_files,
    "hourly": check_state,
    "monitoring": check_figures,
    "selecting": check_selection,
}
"""What a page's commands leave behind, for those that say so."""


@pytest.fixture
def small_sage() -> Iterator[SandboxServer]:
    with SandboxServer(build_world(size="tiny", businesses=1, frozen=True)) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", sorted({block.page for block in all_blocks() if is_run(block)}), ids=lambda page: page.stem
)
def test_the_commands_on_a_page_run(page: Path, small_sage: SandboxServer, tmp_path: Path) -> None:
    sage = small_sage.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}")
    (tmp_path / "config.json").write_text(json.dumps(sage))
    (tmp_path / "state.json").write_text("{}")
    if prepare := BEFORE.get(page.stem):
        prepare(small_sage, tmp_path)
    target = tmp_path / "bin" / "your-target"
    target.parent.mkdir()
    # The path of an interpreter may hold spaces, which the first line of a script cannot.
    target.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(A_TARGET)}\n")
    target.chmod(0o755)
    script = tmp_path / "page.sh"
    script.write_text("\n".join(["set -eu", *steps(page, sage, tmp_path)]))
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{target.parent}:{PROGRAMS}:{os.environ['PATH']}",
        **{f"TAP_SAGE_ACCOUNTING_{name.upper()}": value for name, value in sage.items()},
    }
    assert run_script(script, environment) == 0, (tmp_path / "page.log").read_text()[-3000:]
    if check := CHECKS.get(page.stem):
        check(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "api_url"),
    [
        (None, None),
        ("exit 1", None),
        ("cat > /dev/null", None),
        ("cat > /dev/null; echo '{}'", "http://127.0.0.1:1/v3.1"),
    ],
    ids=["no target", "it fails", "it confirms nothing", "the tap fails"],
)
def test_the_loop_without_meltano_keeps_its_state_when_something_fails(
    small_sage: SandboxServer, tmp_path: Path, target: str | None, api_url: str | None
) -> None:
    sage = small_sage.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}", patience=0)
    (tmp_path / "config.json").write_text(json.dumps({**sage, **({"api_url": api_url} if api_url else {})}))
    (tmp_path / "state.json").write_text(state := '{"bookmarks": {"contacts": {}}}')
    if target is not None:
        (tmp_path / "your-target").write_text(f"#!/bin/sh\n{target}\n")
        (tmp_path / "your-target").chmod(0o755)
    [block] = [each for each in blocks_of(DOCS / "recipes" / "hourly.md") if is_run(each)]
    (script := tmp_path / "loop.sh").write_text(block.text)
    code = run_script(script, {"HOME": str(tmp_path), "PATH": f"{tmp_path}:{PROGRAMS}:/usr/bin:/bin"})
    assert code != 0
    assert (tmp_path / "state.json").read_text() == state


def steps(page: Path, sage: Record, directory: Path) -> Iterator[str]:
    """What a reader does: save the settings that a page shows, with their own credentials, and run its commands."""
    for block in blocks_of(page):
        if block.language == "json" and block.title == "config.json":
            shown = directory / f"config-{block.line}.json"
            shown.write_text(json.dumps({**json.loads(block.text), **sage}))
            yield f"cp {shown} config.json"
        elif is_run(block):
            yield f"echo '== {block} ==' >&2\n{block.text}"


def run_script(script: Path, environment: dict[str, str]) -> int:
    with script.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", script],
            cwd=script.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            return process.wait(TIMEOUT)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def test_the_output_shown_is_what_the_commands_print(
    server: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_tap: RunTap
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".venv").mkdir()
    monkeypatch.setenv("MELTANO_PROJECT_ROOT", str(tmp_path))
    log = run_tap().log
    browser = Browser(monkeypatch)
    browser.use(allowing())
    printed = command(login, server, tmp_path).output
    browser.close()
    printed += command(status, server, tmp_path).output
    lines = [masked(line) for line in [*log, *printed.splitlines()]]
    blocks = blocks_of(DOCS / "start" / "sage.md")
    shown = [line for each in blocks if each.language == "text" and not each.title for line in each.text.splitlines()]
    assert len(shown) > 20
    for line in filter(None, shown):
        if not line.startswith("https://"):  # the real Sage's address
            pattern = ".*".join(map(re.escape, masked(line).split("...")))
            assert any(re.fullmatch(pattern, each) for each in lines), line


def test_the_end_of_a_run_is_shown_as_it_is(run_tap: RunTap) -> None:
    """On the books that the pages name, but for seconds and single requests."""

    def without_chance(line: str) -> str:
        return re.sub(r"\d+ requests|[\d.]+ s", "", line)

    [end] = [line for line in run_tap().log if line.startswith("Run finished")]
    shown = [line for block in all_blocks() for line in block.text.splitlines() if line.startswith("Run finished")]
    assert len(shown) >= 3
    assert {without_chance(line) for line in shown} == {without_chance(end)}


def test_the_doctor_is_shown_as_it_prints(
    small_sage: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timestamps, "now", lambda: small_sage.world.clock.now() + timedelta(days=151))
    [shown] = chosen("text", "on the smallest simulated Sage")
    assert see(small_sage, tmp_path).text.strip() == shown.text.strip()


def masked(line: str) -> str:
    """Hide what differs from run to run: numbers, dates and places."""
    return re.sub(r"\d+", "0", re.sub(r"sqlite:\S+?(?=\.? |\.?$)", "STORE", line))


# Settings


def test_the_settings_for_the_simulated_sage_are_those_that_it_serves() -> None:
    page = (DOCS / "start" / "first-hour.md").read_text()
    said = dict(re.findall(r"^TAP_SAGE_ACCOUNTING_(\w+)=(\S+)$", page, flags=re.MULTILINE))
    with SandboxServer(build_world(size="tiny", businesses=1)) as server:
        served = {
            name: getattr(server, name.lower()).replace(server.base_url, "http://127.0.0.1:8000") for name in said
        }
    assert said == served
    assert {"API_URL", "AUTH_URL", "TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET"} == set(said)


def test_personal_data_do_not_leave_the_tap(server: SandboxServer, run_tap: RunTap) -> None:
    [recipe] = [block for block in chosen("json", "config.json") if block.page.stem == "personal-data"]
    settings = {name: value for name, value in json.loads(recipe.text).items() if name.startswith("stream_map")}
    [documents] = [block for block in chosen("json") if block.page.stem == "personal-data" and not block.title]
    settings["stream_maps"] |= json.loads(documents.text)["stream_maps"]
    contacts = [
        row.render() for each in server.world.businesses.values() for row in each.collections["contacts"].rows.values()
    ]
    names = {name for each in contacts for name in (each["name"], each["email"]) if name}
    run = run_tap("contacts", "contact_persons", "addresses", "sales_invoices", **settings)
    assert run.error is None
    assert set(run.records) == {"contacts", "sales_invoices"}
    reported = json.dumps(run.records, default=str)
    assert len(names) > 10
    assert [name for name in names if json.dumps(name)[1:-1] in reported] == []
    hashes = {record["name"] for record in run.records["contacts"]}
    assert len(hashes) == len({each["name"] for each in contacts})
    customers = {record["contact_name"] for record in run.records["sales_invoices"]} - {None}
    assert customers
    assert customers <= hashes
    assert all(record["contact_id"] for record in run.records["sales_invoices"])


def test_taking_out_a_bookmark_reads_everything_again_and_keeps_track_of_deletions(
    server: SandboxServer, run_tap: RunTap
) -> None:
    state = run_tap("sales_invoices").state
    with server.paused() as world:
        advance(world, days=5, seed=3)
    for partition in state["bookmarks"]["sales_invoices"]["partitions"]:
        del partition["replication_key_value"], partition["replication_key"]
    books = Books.of(server)
    deleted = {key for name, _, key in books.deleted if name == "sales_invoices"}
    found = {record["id"]: record for record in run_tap("sales_invoices", state=state).records["sales_invoices"]}
    assert {key for name, _, key in books.alive if name == "sales_invoices"} <= set(found)
    assert deleted
    assert all(found[key]["deleted_at"] for key in deleted)


# Figures


def test_a_quiet_run_takes_as_many_requests_as_is_said(small_sage: SandboxServer, tmp_path: Path) -> None:
    jobs = {
        "transactional": {stream.name for stream in STREAMS if not (stream.retired or stream.static)},
        "reference": {stream.name for stream in STREAMS if stream.static and not stream.retired} | {"deletions"},
    }
    page = (DOCS / "operations" / "costs.md").read_text()
    said = dict(re.findall(r"^\| The job `(\w+)`[^|]*\| (\d+) \|", page, flags=re.MULTILINE))
    config = small_sage.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}")
    assert {job: str(quiet_run(small_sage, config, streams)) for job, streams in jobs.items()} == said


def quiet_run(sage: SandboxServer, config: Record, streams: set[str]) -> int:
    """Count the requests of a second run in which nothing has changed since the first."""
    state: Record = {}
    asked = 0
    for _ in range(2):
        recorder = Recorder()
        tap = TapSageAccounting(config=config, state=state, message_writer=recorder)
        for name, stream in tap.streams.items():
            stream.selected = name in streams
        before = len(sage.requests)
        tap.sync_all()
        asked = len(sage.requests) - before
        state = [message["value"] for message in recorder.messages if message["type"] == "STATE"][-1]
        with sage.paused() as world:
            world.clock.advance(timedelta(hours=1))
    return asked


# Queries

QUERIES = [block for block in chosen("sql") if not block.is_elsewhere]
ASKED = {
    "businesses",
    "contact_payments",
    "contacts",
    "ledger_accounts",
    "ledger_entries",
    "sales_credit_notes",
    "sales_invoices",
    "sales_quick_entries",
    "transactions",
    "trial_balance",
}
"""The streams that the queries read."""


class Warehouse:
    """The books of some businesses in a Postgres, and the date there."""

    def __init__(self, url: str, books: Books, server: SandboxServer) -> None:
        self._conninfo = url.replace("postgresql+psycopg://", "postgresql://")
        self.books = books
        self.businesses = server.world.businesses
        self.today = books.moment.date()

    def ask(self, query: str) -> list[Record]:
        """Run a query as if it were today in the books; empty for a command."""
        with psycopg.connect(self._conninfo, row_factory=dict_row) as connection:
            connection.execute("set search_path to sage")
            cursor = connection.execute(query.replace("current_date", f"date '{self.today}'"))
            return cursor.fetchall() if cursor.description else []

    def answer(self, title: str) -> list[Record]:
        """Run the query that has a title in the documentation."""
        [block] = chosen("sql", title)
        return self.ask(block.text)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    directory = tmp_path_factory.mktemp("queries")
    world = build_world(size="tiny", businesses=2, frozen=True)
    advance(world, days=10, seed=1)
    with SandboxServer(world) as server, postgres_server() as url:
        config = server.tap_config(token_store=f"sqlite:///{directory / 'tokens.sqlite'}")
        files = {
            "config": config,
            "catalog": catalog_of(config, ASKED),
            "target": {"sqlalchemy_url": url, "default_target_schema": "sage"},
        }
        for name, content in files.items():
            (directory / f"{name}.json").write_text(json.dumps(content))
        tap = [PROGRAMS / "tap-sage-accounting", "--config=config.json", "--catalog=catalog.json"]
        absolute = [str(each).replace("=", f"={directory}/") for each in tap]
        pipe([*absolute], [PROGRAMS / "target-postgres", f"--config={directory / 'target.json'}"], directory)
        yield Warehouse(url, Books.of(server), server)


@pytest.mark.postgres
def test_every_query_runs(warehouse: Warehouse) -> None:
    empty = {block.title or str(block) for block in QUERIES if not warehouse.ask(block.text)}
    view = next(str(block) for block in QUERIES if block.page.stem == "moving")
    assert empty == {"check-against-sage", view}


@pytest.mark.postgres
def test_the_trial_balance_is_sages_own(warehouse: Warehouse) -> None:
    rows = warehouse.answer("trial-balance")
    for business in warehouse.businesses.values():
        sages = trial_balance(business, date(2000, 1, 1), warehouse.today)["ledger_accounts"]
        expected = sorted(
            (Decimal(each["closing_balance"]["debit"]), Decimal(each["closing_balance"]["credit"])) for each in sages
        )
        found = sorted((row["debit"], row["credit"]) for row in rows if row["business_id"] == business.id)
        assert found == [each for each in expected if any(each)]
        assert sum(debit for debit, _ in found) == sum(credit for _, credit in found) > 0


@pytest.mark.postgres
def test_the_check_against_sage_finds_a_wrong_entry(warehouse: Warehouse) -> None:
    assert warehouse.answer("check-against-sage") == []
    [entry] = warehouse.ask("select business_id, id, date from ledger_entries where deleted is not true limit 1")
    change = "update ledger_entries set debit = debit + {} where id = '{}'"
    warehouse.ask(change.format(1, entry["id"]))
    wrong = warehouse.answer("check-against-sage")
    warehouse.ask(change.format(-1, entry["id"]))
    assert {row["business_id"] for row in wrong} == {entry["business_id"]}
    assert min(row["to_date"] for row in wrong) >= entry["date"]


@pytest.mark.postgres
def test_profits_of_all_months_add_up_to_the_result_in_the_trial_balance(warehouse: Warehouse) -> None:
    kinds = {"SALES", "OTHER_INCOME", "DIRECT_EXPENSES", "OVERHEADS", "DEPRECIATION"}
    rows = warehouse.answer("profit-and-loss")
    assert len(rows) > 12
    for business in warehouse.businesses.values():
        accounts = {row.id for row in business.collections["ledger_accounts"].rows.values() if kind_of(row) in kinds}
        sages = trial_balance(business, date(2000, 1, 1), warehouse.today)["ledger_accounts"]
        result = sum(
            Decimal(each["closing_balance"]["credit"]) - Decimal(each["closing_balance"]["debit"])
            for each in sages
            if each["id"] in accounts
        )
        own = [row for row in rows if row["business_id"] == business.id]
        assert sum(row["profit"] for row in own) == result != 0
        for row in own:
            parts = [row[name] or 0 for name in ("sales", "other_income", "direct_expenses", "overheads")]
            assert row["profit"] == parts[0] + parts[1] - parts[2] - parts[3]


def kind_of(account: Any) -> str:
    return str(account.render()["ledger_account_type"]["id"])


@pytest.mark.postgres
def test_aged_debtors_add_up_to_the_control_account(warehouse: Warehouse) -> None:
    rows = warehouse.answer("aged-debtors")
    control = {row["business_id"]: row["balance"] - row["by_journals"] for row in warehouse.answer("trade-debtors")}
    assert set(control) == set(warehouse.businesses)
    for business_id, balance in control.items():
        own = [row for row in rows if row["business_id"] == business_id]
        assert sum(row["owed"] for row in own) == balance != 0
        for row in own:
            buckets = [row[name] or 0 for name in ("not_due", "up_to_30_days", "up_to_60_days", "older")]
            assert sum(buckets) == row["owed"]


@pytest.mark.postgres
def test_sales_by_product_are_the_invoices_less_carriage(warehouse: Warehouse) -> None:
    [invoices] = warehouse.ask(
        "select sum(base_currency_net_amount - coalesce(base_currency_shipping_net_amount, 0)) as net"
        " from sales_invoices where deleted_at is null and status ->> 'id' not in ('DRAFT', 'VOID')"
    )
    assert sum(row["net"] for row in warehouse.answer("sales-by-product")) == invoices["net"] > 0


# Features


def test_every_feature_leads_to_the_page_that_shows_it_and_names_what_there_is() -> None:
    page = (DOCS / "features.md").read_text()
    rows = [row.strip("|").split(" | ") for row in re.findall(r"^\|.*\|$", page, flags=re.MULTILINE)]
    features = [row for row in rows if row[0].strip() != "Feature" and "---" not in row[0]]
    assert len(features) >= 40
    for feature, answer, where in features:
        assert re.search(r"\]\(\w[\w./-]*\.md(#[\w-]+)?\)", where), feature
        assert answer.strip(), feature
    settings = TapSageAccounting.known_settings()
    named = set(re.findall(r"Yes, `(\w+)`", page)) - {"doctor", "runs"}
    assert named
    assert named <= set(settings)
    assert {each["tap_stream_id"] for each in TapSageAccounting(validate_config=False).catalog_dict["streams"]} >= {
        "runs"
    }


# Messages

CLIENT = [
    path
    for path in (ROOT / "tap_sage_accounting").rglob("*.py")
    if not {"airbyte", "schemas", "experiments"} & set(path.relative_to(ROOT).parts)
]
TOLD_OTHERWISE = {"show", "option", "command", "info", "debug", "Property", "add_argument"}
"""What is called with texts that are no errors: output of commands, help, progress."""
NO_ERRORS = {
    "Ready to load, and empty: little can be found out about books without rows.",
    "Ready to load…. Sage differs in … from what was assumed: see below.",
    "Ready to load…. Sage behaves as assumed, as far as these books show.",
    "All requests of this look were sent before. `--deep` sends more.",
    "1 of … businesses that a run reads; `--business` looks at others.",
    "Sage does not count the rows of its lists. It takes the requests below at least.",
    "`--report DIRECTORY` writes down what to report, with no value of the books.",
    "…: the response is something else.",
    "A response has a form that nothing describes.",
    "The shapes of all lists are in ….json.",
    "Sage gave access, and the tokens are stored. Return to the terminal: it shows what to do next.",
    "You can close this tab and go back to the terminal.",
    "Something unexpected happened: see the terminal.",
    "Pages of … records do not begin where the rest of the list does.",
    "Sage has revoked the refresh token.",
    "Sage did not accept the refresh token any more: there was nothing to revoke.",
    "The request to revoke the token was sent, but no response arrived: check at Sage that it is gone.",
    "--forget and --set-back exclude each other.",
    "--everything is for --forget and --set-back.",
    "--everything stands alone: leave out --stream and --business.",
    "Name what to change: --stream, --business or both, or --everything.",
    "--in-place is for --forget and --set-back.",
    "--json is for showing a state.",
    "Name a file, or pipe a state into this command.",
    "…: …, which was read until ….",
    "Unchanged: the next run reads … … in any case.",
}
"""Sentences of a login's last page, of a logout, of a changed state, and those that no user sees.

Those that begin with an option come with the usage of their command."""


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the texts in code, whole, with an ellipsis for what is filled in; documentation and help left out."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Call):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called in TOLD_OTHERWISE:
            return
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.sub(r"%(?:\.\d)?[sdf]", "…", node.value)
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def fits(fragment: str, text: str) -> bool:
    return bool(re.search(".*".join(map(re.escape, fragment.split("…"))), text, flags=re.DOTALL))


def test_every_message_is_explained_and_every_explained_message_exists() -> None:
    found = [text for path in CLIENT for text in texts(ast.parse(path.read_text()))]
    page = (DOCS / "operations" / "troubleshooting.md").read_text()
    explained = re.findall(r"^\| `([^`]+)`", page, flags=re.MULTILINE)
    sentences = {text for text in found if len(text.split()) >= 6 and re.search(r"\.(?: |$)", text)} - NO_ERRORS
    assert len(sentences) > 60
    unexplained = {text for text in sentences if not any(fits(each, text) for each in explained) and text not in page}
    gone = {each for each in explained if not any(fits(each, text) for text in found)}
    assert (unexplained, gone) == (set(), set())


# The site


def test_the_site_fetches_nothing_from_others_and_names_no_package_index() -> None:
    settings = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in settings
    assert not re.search(r"https?://", settings)
    assert [str(page) for page in PAGES if PACKAGE_INDEX.search(page.read_text())] == []
