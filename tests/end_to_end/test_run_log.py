"""What a run says: what a person needs, the right figures, and at its end what ended it."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_workbench.pipeline import catalog_of
from support.terminals import PROGRAMS, Terminal
from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.run.progress import Progress
from tap_sage_accounting.run.report import RunReport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sage_sandbox.server import SandboxServer

MOST_LINES = 60
"""Lines of a run of two businesses at most."""
FIGURES = re.compile(
    r"(\d+) records, (\d+) reads complete, (\d+) skipped, (\d+) failed; (\d+) requests \((\d+) refused\)"
)


@pytest.fixture
def terminal(server: SandboxServer, tmp_path: Path) -> Terminal:
    terminal = Terminal(server, tmp_path)
    terminal.settings["patience"] = 1
    return terminal


def run(terminal: Terminal, *options: str, **environment: Any) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Run the tap; return its exit code, its messages and the lines of its log."""
    done = terminal.start(PROGRAMS / "tap-sage-accounting", terminal.write(), *options, **environment)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.splitlines()


def choose(terminal: Terminal, *streams: str) -> str:
    catalog = terminal.home / "catalog.json"
    catalog.write_text(json.dumps(catalog_of(terminal.settings, streams)))
    return f"--catalog={catalog}"


def figures(log: list[str]) -> list[int]:
    """Return the figures of the one summary in a log."""
    [found] = [match for line in log if (match := FIGURES.search(line))]
    return [*map(int, found.groups())]


def records(messages: list[dict[str, Any]]) -> int:
    return sum(message["type"] == "RECORD" for message in messages)


# How much it says


def test_runs_of_two_businesses_say_no_more_than_a_person_reads(terminal: Terminal) -> None:
    code, messages, first = run(terminal)
    assert code == 0
    state = terminal.home / "state.json"
    state.write_text(json.dumps(messages[-1]["value"]))
    code, _, second = run(terminal, f"--state={state}")
    assert code == 0
    code, _, chosen = run(terminal, choose(terminal, "contacts", "journals"))
    assert code == 0
    for log in (first, second, chosen):
        assert len(log) < MOST_LINES
        assert "Run finished: " in log[-1]
        assert not [line for line in log if "METRIC" in line or "singer_sdk" in line]


def test_the_sdks_lines_come_where_somebody_looks_for_faults(terminal: Terminal) -> None:
    code, _, log = run(terminal, choose(terminal, "contacts"), LOGLEVEL="DEBUG")
    assert code == 0
    assert any("Beginning sync of 'contacts'" in line for line in log)


# METRIC lines


def metrics_of(log: list[str], name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line.partition("METRIC: ")[2]) for line in log if "METRIC: " in line]
    return [line for line in lines if line["metric"] == name]


@pytest.mark.parametrize("streams", [("contacts", "sales_invoices", "journals"), ("businesses", "user", "countries")])
def test_metric_lines_count_the_records_of_each_stream_and_business(terminal: Terminal, streams: tuple[str]) -> None:
    terminal.settings["log_metrics"] = True
    code, messages, log = run(terminal, choose(terminal, *streams))
    assert code == 0
    counted: Counter[tuple[str, str | None]] = Counter()
    for line in metrics_of(log, "record_count"):
        counted[line["tags"]["stream"], (line["tags"]["context"] or {}).get("business_id")] += line["value"]
    delivered = Counter(
        (message["stream"], message["record"].get("business_id")) for message in messages if message["type"] == "RECORD"
    )
    assert +counted == delivered
    assert {stream for stream, _ in counted} == set(streams)


def test_a_metric_line_times_a_stream_and_names_no_business(terminal: Terminal) -> None:
    terminal.settings["log_metrics"] = True
    _, _, log = run(terminal, choose(terminal, "contacts", "journals"))
    timed = metrics_of(log, "sync_duration")
    assert [line["tags"]["stream"] for line in timed] == ["contacts", "journals"]
    assert not [line for line in timed if line["tags"].get("context")]


# What ends a run


def fail_a_stream(sage: SandboxServer) -> None:
    sage.faults.add(Fault("journals", 400, times=None))


def refuse_everything(sage: SandboxServer) -> None:
    sage.faults.add(Fault("contacts", 403, times=None))
    sage.faults.add(Fault("journals", 403, times=None))


def refuse_for_a_day(sage: SandboxServer) -> None:
    sage.faults.add(Fault("journals", 429, times=None, retry_after=86_400))


@pytest.mark.parametrize(
    ("spoil", "summary", "cause"),
    [
        (fail_a_stream, "Run incomplete: ", "2 reads failed (journals)."),
        (refuse_everything, "Run incomplete: ", "Sage refused every read of this run"),
        (refuse_for_a_day, "The run ended early: ", "86400"),
    ],
    ids=["failed", "refused", "ended"],
)
def test_what_ends_a_run_is_its_last_line_and_no_line_before_calls_it_finished(
    terminal: Terminal, spoil: Callable[[SandboxServer], None], summary: str, cause: str
) -> None:
    spoil(terminal.sage)
    code, messages, log = run(terminal, choose(terminal, "contacts", "journals"))
    assert code == 1
    assert " ERROR " in log[-1]
    assert cause in log[-1]
    assert "Run finished" not in "\n".join(log)
    assert sum(summary in line for line in log[-3:]) == 1
    assert figures(log)[0] == records(messages)


def test_a_run_that_begins_no_read_has_no_summary(terminal: Terminal) -> None:
    terminal.settings["business_ids"] = ["no-such-business"]
    code, messages, log = run(terminal)
    assert code == 1
    assert messages == []
    assert "no-such-business" in log[-1]
    assert not [line for line in log if FIGURES.search(line)]


@pytest.mark.parametrize("streams", [("user",), ("contacts", "journals", "sales_invoices")])
def test_output_that_nobody_takes_ends_the_run_in_one_line(terminal: Terminal, streams: tuple[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = run_into(writer, terminal, *streams)
    assert "Nobody reads the output any more" in log[-1]
    assert "Nobody reads the output any more" not in "\n".join(log[:-1])


@pytest.mark.skipif(sys.platform != "linux", reason="no other system has a device that is full")
@pytest.mark.parametrize("streams", [("user",), ("contacts", "journals", "sales_invoices")])
def test_a_full_disk_ends_the_run_in_one_line(terminal: Terminal, streams: tuple[str]) -> None:
    log = run_into(os.open("/dev/full", os.O_WRONLY), terminal, *streams)
    assert "The output cannot be written: No space left on device." in log[-1]
    assert "No space left" not in "\n".join(log[:-1])


def run_into(output: int, terminal: Terminal, *streams: str) -> list[str]:
    """Run the tap with an output that takes nothing; return the lines of its log."""
    done = terminal.start(PROGRAMS / "tap-sage-accounting", terminal.write(), choose(terminal, *streams), output=output)
    os.close(output)
    assert done.returncode == 1
    assert "Run finished" not in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


def test_the_figures_are_those_of_the_books_and_of_the_requests(terminal: Terminal) -> None:
    terminal.sage.requests.clear()
    code, messages, log = run(terminal, choose(terminal, "contacts", "journals", "stock_items"))
    assert code == 0
    asked = sum(request.path != "/token" for request in terminal.sage.requests)
    assert figures(log) == [records(messages), 5, 1, 0, asked, 0]


# How fast it sends requests


@pytest.mark.parametrize("limit", [3, 20, 60])
def test_the_rate_that_is_shown_is_never_above_the_limit(limit: int) -> None:
    gate = RequestGate(concurrency=8, per_minute=limit, minute=0.2)
    progress = Progress(report=RunReport(), gate=gate, planned=lambda: 1, logger=logging.getLogger())
    shown = []
    for _ in range(3 * limit):
        with gate.acquire(None) as ticket:
            gate.accepted(ticket)
        shown.append(int(re.findall(r"(\d+) in the last minute", progress.line())[0]))
    assert max(shown) <= limit


# Without its script


@pytest.mark.parametrize("option", ["--version", "--help", "--discover"])
def test_the_package_runs_where_no_scripts_are_installed(terminal: Terminal, option: str) -> None:
    as_module = terminal.start(sys.executable, "-m", "tap_sage_accounting", option)
    as_script = terminal.start(PROGRAMS / "tap-sage-accounting", option)
    assert as_module.returncode == as_script.returncode == 0
    assert as_module.stdout.replace("python -m tap_sage_accounting", "tap-sage-accounting") == as_script.stdout
