"""What the benchmark's figures are made of; the benchmark itself is run by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import requests

from benchmarks import goals, instructions, limits, report
from benchmarks.bench import Result, RunFailedError
from benchmarks.contenders import LISTS, as_sent, described
from benchmarks.environments import PROJECT
from benchmarks.figures import (
    in_flight,
    lower_bound,
    medians,
    record_set,
    refused_share,
    waiting_bound,
)
from benchmarks.lists import BULK, FORTY
from benchmarks.models.books import make_books
from benchmarks.sage import Books, Request, Sage
from tap_sage_accounting.streams.sales import SalesInvoices

if TYPE_CHECKING:
    from pathlib import Path


def asked(start: float, *, took: float = 0.1, status: int = 200, business: str | None = "b") -> Request:
    return Request("contacts", business, {}, status, start, start + took)


def test_an_empty_list_takes_one_request_and_a_started_page_counts_whole() -> None:
    rows = {"a": {"contacts": 0, "services": 200, "others": 900}, "b": {"contacts": 401}}
    assert lower_bound(rows, ("contacts", "services"), 200) == (1 + 1) + (3 + 1)


def test_medians_leave_out_what_a_run_could_not_measure() -> None:
    assert medians([{"wall": 3.0, "share": 1.0}, {"wall": 1.0}, {"wall": 2.0, "share": 0.5}]) == {"wall": 2.0}


def test_requests_that_overlap_are_in_flight_together() -> None:
    assert in_flight([asked(0, took=1), asked(0.5, took=1), asked(0.9, took=1), asked(2, took=1)]) == 3
    assert in_flight([asked(0, took=1), asked(1, took=1)]) == 1


def test_no_two_amounts_of_the_books_that_are_read_are_equal() -> None:
    with Sage(Books(ledger_entries=300)) as sage:
        address = sage.open()
        [business] = sage.rows
        headers = {"Authorization": f"Bearer {address.access_token}", "X-Business": business}
        params = {"attributes": "all", "items_per_page": "200"}
        page = requests.get(f"{address.api_url}/ledger_entries", headers=headers, params=params, timeout=30).json()
    amounts = [amount for row in page["$items"] for amount in (row["debit"], row["credit"]) if float(amount)]
    assert len(amounts) == len(set(amounts)) > 100


def test_waiting_takes_as_many_round_trips_as_there_are_turns_and_three_before() -> None:
    assert waiting_bound(50, 8, 0.3) == pytest.approx(10 * 0.3)


def test_refusals_of_the_first_minute_are_forgiven() -> None:
    requests = [asked(0, status=429), asked(6), asked(7, status=429), asked(8), asked(9)]
    assert refused_share(requests, minute=5) == 0.25
    assert refused_share(requests, minute=5, after=0) == 0.4


def test_records_count_as_equal_byte_for_byte_whenever_they_were_extracted() -> None:
    def line(record: str, extracted: str) -> bytes:
        return f'{{"type":"RECORD","stream":"s","record":{record},"time_extracted":"{extracted}"}}'.encode()

    early = record_set([line('{"id":"1","net":1.0}', "now"), b'{"type":"STATE","value":{}}'])
    assert early == record_set([line('{"id":"1","net":1.0}', "later")])
    assert early != record_set([line('{"id":"1","net":1.00}', "now")])
    assert early != record_set([line('{"id":"1","net":1.0}', "now")] * 2)


def test_others_get_the_same_list_in_the_form_in_which_sage_sends_it() -> None:
    reported = described(SalesInvoices)
    assert reported["params"]["attributes"] == "all"
    assert set(SalesInvoices.flags) < set(reported["params"])
    properties = reported["schema"]["properties"]
    assert properties["$path"]["type"] == ["string", "null"]
    assert properties["total_amount"]["type"] == ["string", "null"]
    assert "additional_attributes" not in properties
    assert "$path" in properties["contact"]["properties"]


def test_lists_inside_a_schema_are_turned_into_their_sent_form_too() -> None:
    lines = {"type": ["array", "null"], "items": {"type": ["object", "null"], "properties": {"path": {}, "n": {}}}}
    assert set(as_sent(lines)["items"]["properties"]) == {"$path", "n"}


def test_only_lists_that_exist_are_compared() -> None:
    assert len(set(FORTY)) == 40
    assert set(FORTY) | set(BULK) <= LISTS


def test_the_cost_of_a_command_is_measured_and_its_records_are_counted(tmp_path: Path) -> None:
    script = 'print(\'{"type": "RECORD", "stream": "s"}\\n\' * 3 + \'{"type": "STATE"}\'); raise SystemExit(3)'
    order = {
        "command": [sys.executable, "-c", f"x = bytearray(40_000_000)\n{script}"],
        "environment": {},
        "directory": str(tmp_path),
        "keep": True,
        "timeout": 30,
    }
    done = subprocess.run(
        [sys.executable, PROJECT / "benchmarks" / "measure.py"],
        input=json.dumps(order).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    reported = json.loads(done.stdout)
    assert (reported["code"], reported["records"]) == (3, 3)
    assert reported["peak_mb"] > 40
    assert reported["cpu"] > 0
    assert (tmp_path / "stdout").read_bytes().count(b"\n") == 4


def kept(**medians_by_entrant: dict[str, float]) -> dict[str, Any]:
    runs = {name: [figures] * 3 for name, figures in medians_by_entrant.items()}
    scenario = {"what": "", "medians": medians_by_entrant, "runs": runs, "failures": {"dlt": "broke"}}
    machine = {"processor": "p", "cores": 2, "memory_gib": 4, "system": "s", "python": "3"}
    return {"scenarios": {"cpu": scenario}, "machine": machine}


def test_the_table_says_how_many_times_our_figure_the_others_need() -> None:
    table = report.table(kept(ours={"cpu_per_100k": 2.0}, template={"cpu_per_100k": 7.0}))
    row = next(line for line in table.splitlines() if "CPU per 100,000 records" in line)
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["2.00 s", "7.00 s (3.5 times)", "failed"]


def test_a_wider_run_of_ours_has_a_row_of_its_own_beside_the_others() -> None:
    figures = {"ours": {"wall": 4.0}, "ours x32": {"wall": 2.0}, "template": {"wall": 40.0}}
    results = kept(**figures)
    results["scenarios"] = {"latency 300 ms, much": results["scenarios"]["cpu"]}
    rows = [line for line in report.table(results).splitlines() if "wall time" in line]
    assert "(10.0 times)" in rows[0]
    assert "32 in flight" in rows[1]
    assert "(20.0 times)" in rows[1]


def test_the_page_keeps_everything_around_the_table(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write(readme, "new")
    assert readme.read_text() == f"before\n{report.BEGIN}\n\nnew\n{report.END}\nafter\n"
    assert report.has_marks(readme)
    readme.write_text("nothing")
    assert not report.has_marks(readme)


def test_a_goal_says_whether_it_is_reached_and_by_which_figure() -> None:
    def verdict(template: float) -> str:
        return goals.verdicts(kept(ours={"cpu_per_100k": 2.0}, template={"cpu_per_100k": template}))[0]

    assert verdict(6.0) == "yes: CPU, SDK template tap in ours: 3 (at least 3)"
    assert verdict(5.0).startswith("NO: ")


def test_a_goal_whose_scenario_did_not_run_is_not_taken_for_reached() -> None:
    assert goals.verdicts({"scenarios": {}})[0] == "not measured, or failed: CPU, SDK template tap in ours"


def test_what_the_records_alone_cost_leaves_start_up_out(tmp_path: Path) -> None:
    whole = Result("", {"ours": [{"cpu": 3.0, "records": 50_000.0, "cpu_per_100k": 6.0}]})
    smallest = Result("", {"ours": [{"cpu": 1.0}]})
    reported = report.keep(tmp_path / "results.json", {"cpu": whole, "startup smallest run": smallest})
    assert reported["scenarios"]["cpu"]["medians"]["ours"]["cpu_beyond_start_per_100k"] == 4.0


@pytest.fixture(scope="module")
def made_books() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create schema sage")
    for table, lines in {"sales_invoices": "invoice_lines", "other_payments": "payment_lines"}.items():
        connection.execute(f"create table sage.{table} as select '[{{}}]'::json as {lines}")
    make_books(connection, 5_000)
    return connection


def test_made_books_are_about_as_large_as_requested_and_none_of_their_records_is_a_copy(
    made_books: duckdb.DuckDBPyConnection,
) -> None:
    for table in ("ledger_entries", "sales_invoices", "contact_payments", "contacts"):
        counted = made_books.execute(
            f"select count(*), count(distinct (business_id, id)) from streams.{table}"
        ).fetchone()
        assert counted
        assert counted[0] == counted[1] > 40
    entries = made_books.execute("select count(*) from streams.ledger_entries").fetchone()
    assert entries
    assert entries[0] == pytest.approx(5_000, rel=0.1)


def test_made_books_balance(made_books: duckdb.DuckDBPyConnection) -> None:
    unbalanced = "select source from made.entry group by source having sum(amount) <> 0"
    assert made_books.execute(unbalanced).fetchall() == []
    closing = (
        "select sum(closing_balance_debit) - sum(closing_balance_credit) from streams.trial_balance group by from_date"
    )
    assert {total for (total,) in made_books.execute(closing).fetchall()} == {0}


def test_the_table_of_limits_compares_times_and_refusals() -> None:
    scenario = next(each for each in limits.SCENARIOS if "60 a minute" in each.title)
    *_, row = limits.table([scenario._replace(requests=90)]).splitlines()
    title, requests, seconds, refused, _, greedy_seconds, greedy_refused = row.strip("| ").split(" | ")
    assert (title, requests) == (scenario.title, "90")
    assert 60 <= int(seconds.removesuffix(" s")) <= int(greedy_seconds.removesuffix(" s")) + 2
    assert 3 <= int(refused) <= int(greedy_refused) + 8


COUNTED = """==4711== Cachegrind, a high-precision tracing profiler
==4711==
==4711== I   refs:      {:,}
"""
"""The end of what valgrind 3.19 writes."""


def test_a_conversion_that_takes_twice_the_instructions_counts_as_slower() -> None:
    before, now = (instructions.counted(COUNTED.format(2_000_000_000 + each)) for each in (250_000_000, 500_000_000))
    assert (before, now) == (2_250_000_000, 2_500_000_000)
    words, is_slower = instructions.compare([(before, now)] * 3)
    assert is_slower
    assert words == "2,500,000,000 instructions, 1.1111 times the 2,250,000,000 before"
    assert not instructions.compare([(now, before)] * 3)[1]


def test_one_run_that_threads_made_longer_does_not_count_as_slower() -> None:
    assert not instructions.compare([(1000, 1200), (1010, 1001), (1020, 1090)])[1]
    assert instructions.compare([(1200, 1100), (1010, 1100), (1000, 1090)])[1]
    assert not instructions.compare([(1000, 1050)])[1]


def test_a_run_whose_instructions_were_not_counted_is_no_quick_one() -> None:
    with pytest.raises(RunFailedError, match="no such tool"):
        instructions.counted("==4711== no such tool")


def test_instructions_are_compared_with_a_revision_that_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.instructions"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "revision" in done.stderr
