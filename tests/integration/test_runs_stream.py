"""The log of runs as rows: how each run ended and how fresh each list is, without a request."""

from __future__ import annotations

import copy
import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import timestamp
from sage_workbench.damage import BAD
from sage_workbench.merge import Warehouse
from sage_workbench.plain_books import filled_world
from support.presence import present
from tap_sage_accounting.api.request_gate import RequestGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]
    Row = dict[str, Any]

STREAMS = ("contacts", "sales_quotes", "user")
LOGGED = ("runs", "run_reads", *STREAMS)


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(filled_world(("contacts", "sales_quotes"), 3, businesses=2)) as running:
        yield running


def rows_of(*runs: Run) -> list[Row]:
    """The table of runs in a target that merges by key, in the order in which runs began."""
    warehouse = Warehouse()
    for run in runs:
        warehouse.load(run.messages)
    return [*warehouse.tables["runs"].values()]


def reads_of(run: Run) -> dict[tuple[str, str], Row]:
    return {(row["stream"], row["business_id"]): row for row in run.records["run_reads"]}


def test_a_run_has_one_row_that_says_what_it_read_and_what_that_took(server: SandboxServer, run_tap: RunTap) -> None:
    run = run_tap(*LOGGED)
    [row] = rows_of(run)
    assert re.fullmatch("[0-9a-f]{32}", row["run_id"])
    assert row["version"] == run.tap.plugin_version
    assert row["started_at"] == timestamp(server.world.clock.now())
    assert row["ended_at"] >= row["started_at"]
    counts = {"businesses": 2, "businesses_resting": 0, "reads": 5, "reads_skipped": 0, "reads_failed": 0}
    assert {name: row[name] for name in counts} == counts
    assert (row["status"], row["reason"], row["reads_complete"]) == ("complete", None, 5)
    assert row["records"] == sum(len(run.records[name]) for name in STREAMS) == 13
    assert (row["requests"], row["requests_refused"], row["seconds_waited"]) == (
        len(server.requests) - 1,
        0,
        0,
    )  # one was for a token


def test_each_read_has_a_row_with_what_it_brought(server: SandboxServer, run_tap: RunTap) -> None:
    run = run_tap(*LOGGED)
    [log] = rows_of(run)
    reads = reads_of(run)
    places = {(stream, owner) for stream in ("contacts", "sales_quotes") for owner in server.world.businesses}
    assert reads.keys() == places | {("user", "-")}
    assert {row["records"] for (stream, _), row in reads.items() if stream != "user"} == {3}
    assert {(row["status"], row["reason"], row["run_id"], row["started_at"]) for row in reads.values()} == {
        ("complete", None, log["run_id"], log["started_at"])
    }


def test_the_log_of_runs_costs_no_request_and_is_there_only_if_selected(server: SandboxServer, run_tap: RunTap) -> None:
    run_tap(*LOGGED)
    with_log = len(server.requests)
    server.requests.clear()
    run = run_tap(*STREAMS)
    assert len(server.requests) == with_log - 1  # the first run got a token
    assert not {"runs", "run_reads"} & run.state["bookmarks"].keys()
    assert not [message for message in run.messages if message.get("stream") in ("runs", "run_reads")]
    streams = run.tap.catalog_dict["streams"]
    selected = {
        entry["tap_stream_id"]: metadata["metadata"].get("selected-by-default")
        for entry in streams
        for metadata in entry["metadata"]
        if metadata["breadcrumb"] == []
    }
    assert (selected["runs"], selected["run_reads"], selected["contacts"]) == (False, False, True)


def test_what_was_skipped_or_failed_has_a_reason_in_a_word_and_no_text_of_sage(
    server: SandboxServer, run_tap: RunTap
) -> None:
    first, other = server.world.businesses.values()
    first.permissions = {**first.permissions, "sales": "no_access"}
    server.faults.add(Fault("contacts", 400, business=other.id))
    run = run_tap(*LOGGED)
    [row] = rows_of(run)
    assert (row["status"], row["reads_complete"], row["reads_skipped"], row["reads_failed"]) == ("incomplete", 3, 1, 1)
    reads = reads_of(run)
    assert {key: (each["status"], each["reason"]) for key, each in reads.items() if each["status"] != "complete"} == {
        ("sales_quotes", first.id): ("skipped", "rights"),
        ("contacts", other.id): ("failed", "fatal_api"),
    }
    rows = [*run.records["runs"], *run.records["run_reads"]]
    written = json.dumps([{**each, "version": ""} for each in rows], default=str)  # a version may hold any digits
    assert first.name not in written
    assert "400" not in written


def test_a_run_that_was_killed_is_running_until_the_next_one_finds_it(run_tap: RunTap) -> None:
    whole = run_tap(*LOGGED)
    is_begun = next(n for n, message in enumerate(whole.messages) if message["type"] == "STATE")
    killed = copy.copy(whole)
    killed.messages = whole.messages[: is_begun + 4]
    [row] = rows_of(killed)
    assert (row["status"], row["ended_at"]) == ("running", None)
    after = run_tap(*LOGGED, state=killed.state)
    found, new = rows_of(killed, after)
    same = ("run_id", "started_at", "version", "businesses", "reads")
    assert {name: found[name] for name in same} == {name: row[name] for name in same}
    assert (found["status"], found["ended_at"]) == ("interrupted", None)
    assert new["status"] == "complete"
    third = run_tap(*LOGGED, state=after.state)
    assert [each["status"] for each in rows_of(killed, after, third)] == ["interrupted", "complete", "complete"]


def test_a_run_that_fails_as_a_whole_says_of_what_kind_that_was(server: SandboxServer, run_tap: RunTap) -> None:
    server.faults.add(Fault("sales_quotes", 503, by="gateway", times=None))
    run = run_tap(*LOGGED, patience=1)
    [row] = rows_of(run)
    assert run.error is not None
    assert row["status"] in ("failed", "incomplete")
    assert row["reason"] == ("service_unavailable" if row["status"] == "failed" else None)
    assert row["ended_at"]
    assert ("contacts", next(iter(server.world.businesses))) in reads_of(run)


def test_a_run_of_which_sage_refused_everything_says_so(server: SandboxServer, run_tap: RunTap) -> None:
    for owner in server.world.businesses.values():
        owner.permissions = dict.fromkeys(owner.permissions, "no_access")
    [row] = rows_of(run_tap("runs", "sales_quotes"))
    assert (row["status"], row["reads_skipped"], row["records"]) == ("refused", 2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad!r:.30}")
def test_a_state_that_was_spoiled_brings_no_row_of_a_run_that_never_was(run_tap: RunTap, bad: Any) -> None:
    running = {
        "run_id": "1" * 32,
        "status": "running",
        "started_at": "2026-06-01T00:00:00Z",
        "version": "1",
        "reads": 5,
    }
    for name in running:
        run = run_tap("runs", "contacts", state={"bookmarks": {"runs": {**running, name: bad}, "contacts": {}}})
        assert run.error is None
        for row in run.records["runs"]:
            assert set(row) <= {*run.schemas[0]["schema"]["properties"]}
            if row["status"] == "interrupted":
                assert name in ("version", "reads")
                assert bad != row.get(name) or bad in (None, 0, "1e400")  # which may be a number, and a version
    run = run_tap("runs", "contacts", state={"bookmarks": {"runs": bad, "contacts": {}}})
    assert [row["status"] for row in run.records["runs"]] == ["running", "complete"]


@pytest.mark.parametrize(
    "stream_maps",
    [
        {"run_reads": {"shown": "reason.upper()"}},
        {"run_reads": {"business_id": "None"}},
        {"runs": {"shown": "1 / 0 if status == 'complete' else None"}},
    ],
    ids=str,
)
def test_rows_of_the_run_that_a_stream_map_fails_on_cost_no_bookmark(
    server: SandboxServer, run_tap: RunTap, stream_maps: Row
) -> None:
    run = run_tap(*LOGGED, stream_maps=stream_maps)
    assert str(run.error).startswith("1 read failed (runs). Everything else was delivered")
    assert [line for line in run.log if "the expression for 'shown'" in line or "leaves 'business_id' empty" in line]
    assert run.messages[-1]["type"] == "STATE"
    assert all(run.bookmark("contacts", owner) for owner in server.world.businesses)


def test_a_run_that_fails_says_why_where_its_own_rows_fail_too(server: SandboxServer, run_tap: RunTap) -> None:
    server.faults.add(Fault("sales_quotes", 503, by="gateway", times=None))
    run = run_tap(*LOGGED, patience=1, stream_maps={"run_reads": {"business_id": "None"}})
    assert "stream map" not in str(run.error)
    assert any("leaves 'business_id' empty" in line for line in run.log)


def test_waiting_for_a_limit_is_counted_in_seconds_of_the_run(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(present(RequestGate.__init__.__kwdefaults__), "minute", 1.0)
    run = run_tap(*LOGGED, requests_per_minute=2)
    [row] = rows_of(run)
    assert row["requests"] == len(server.requests) - 1 or row["requests"] == len(server.requests)
    assert row["seconds_waited"] > 0


def test_lists_of_a_business_that_rests_have_no_rows(server: SandboxServer, run_tap: RunTap) -> None:
    streams = (*LOGGED, "transactions")
    state: Any = None
    runs = []
    for _ in range(2):
        runs.append(run_tap(*streams, state=state, idle_business_hours=24))
        state = runs[-1].state
        with server.paused():
            server.world.clock.advance(timedelta(hours=1))
    row = rows_of(*runs)[-1]
    assert (row["businesses"], row["businesses_resting"], row["status"]) == (2, 2, "complete")
    assert {stream for stream, _ in reads_of(runs[-1])} == {"user"}
