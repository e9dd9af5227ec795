"""Every list comes to an end: by all of its rows, or by a failure that says what Sage does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import List, filled_world, key
from tap_sage_accounting.exceptions import IncompleteRunError
from tap_sage_accounting.extraction import consistency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_sandbox.api import Call
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

ROWS = 28
PAGE = 5
LISTS = ("contacts", "ledger_entries", "sales_quotes")
"""Oldest first and sorted; newest first; not sorted, with deletions that are not reported."""


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(filled_world(LISTS, ROWS)) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stream", "what", "envelope"),
    [
        ("contacts", "first_page", {}),
        ("ledger_entries", "first_page", {"$next": None}),
        ("sales_quotes", "first_page", {"$page": None}),
        ("contacts", "first_page", {"$page": None, "$total": None}),
        ("ledger_entries", "first_page", {"$page": 0, "$total": 0}),
        ("sales_quotes", "same_page", {}),
        ("contacts", "same_page", {"$total": None}),
        ("ledger_entries", "same_page", {"$total": 10**9}),
        ("sales_quotes", "same_page", {"$total": 3}),
        ("contacts", "same_page", {"$itemsPerPage": 1}),
        ("ledger_entries", "fresh_rows", {}),
        ("sales_quotes", "fresh_rows", {"$total": ROWS}),
        ("contacts", "envelope", {"$page": 3}),
        ("ledger_entries", "envelope", {"$page": 7}),
    ],
    ids=str,
)
def test_a_list_without_an_end_fails_in_words(
    server: SandboxServer, run_tap: RunTap, stream: str, what: str, envelope: dict[str, Any]
) -> None:
    fault = server.faults.add(Fault(stream, what, envelope=envelope, times=None))
    run = run_tap(*LISTS, page_size=PAGE)
    assert isinstance(run.error, IncompleteRunError), run.log
    [failed] = run.tap.report.failed
    assert failed.stream == stream
    assert "unexpected" not in failed.reason
    assert not any("taken for hidden" in line for line in run.log)
    most_pages = consistency.MAX_GROWTH * (ROWS // PAGE + 1) + consistency.SPARE_PAGES
    assert len(run.records[stream]) <= most_pages * PAGE
    assert len(server.requests.of(stream)) <= (1 + consistency.MAX_SWEEPS) * (most_pages + 20)
    [business] = server.world.businesses
    assert run.bookmark(stream, business) is None
    assert all(len(run.records[other]) == ROWS for other in LISTS if other != stream)

    server.faults.script.remove(fault)
    server.requests.clear()
    warehouse = Warehouse()
    warehouse.load(message for message in run.messages if message.get("stream") != stream)
    again = run_tap(*LISTS, page_size=PAGE, state=run.state)
    assert again.error is None
    warehouse.load(again.messages)
    assert disagreements(server.world, warehouse, LISTS) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "envelope",
    [
        {"$itemsPerPage": 0},
        {"$itemsPerPage": -5},
        {"$itemsPerPage": None},
        {"$itemsPerPage": 10**9},
        {"$itemsPerPage": 10**400},
        {"$itemsPerPage": str(PAGE)},
        {"$itemsPerPage": 3},
        {"$itemsPerPage": {}},
        {"$total": None},
        {"$total": str(ROWS)},
        {"$total": -1},
        {"$total": ROWS + 0.5},
        {"$total": None, "$next": "/list?page=1"},
        {"$total": None, "$next": None},
        {"$total": None, "$next": None, "$page": None},
        {"$next": "/list?page=1"},
        {"$next": "https://elsewhere.example/"},
        {"$next": None},
        {"$page": None},
        {"$page": "1st"},
    ],
    ids=str,
)
def test_an_odd_envelope_costs_no_row(server: SandboxServer, run_tap: RunTap, envelope: dict[str, Any]) -> None:
    server.faults.add(Fault("*", "envelope", envelope=envelope, times=None))
    run = run_tap(*LISTS, page_size=PAGE)
    assert run.error is None
    warehouse = Warehouse()
    warehouse.load(run.messages)
    assert disagreements(server.world, warehouse, LISTS) == []
    assert {len(run.records[stream]) for stream in LISTS} == {ROWS}


@pytest.mark.parametrize("total", [10**20, 10**400, 10**15])
def test_a_total_that_cannot_be_breaks_nothing(server: SandboxServer, run_tap: RunTap, total: int) -> None:
    server.faults.add(Fault("contacts", "envelope", envelope={"$total": total}, times=None))
    run = run_tap(*LISTS, page_size=PAGE)
    assert {len(run.records[stream]) for stream in LISTS} == {ROWS}
    assert all("unexpected" not in outcome.reason for outcome in run.tap.report.failed)


@pytest.mark.slow
@pytest.mark.parametrize("total", [ROWS + 2 * PAGE, 50 * ROWS])
@pytest.mark.parametrize("page", [{}, {"$page": None}], ids=["numbered", "without a number"])
def test_a_total_that_is_too_high_does_not_lead_beyond_the_end_of_a_list_that_is_read_in_parts(
    server: SandboxServer, run_tap: RunTap, page: dict[str, Any], total: int
) -> None:
    server.faults.poison = {key(2): "full"}
    server.faults.add(Fault("contacts", "envelope", envelope={"$total": total, **page}, times=None))
    run = run_tap("contacts", page_size=PAGE)
    assert {row["id"] for row in run.records["contacts"]} == {key(number) for number in range(1, ROWS + 1)}
    assert len(server.requests) < 5 * ROWS


@pytest.mark.slow
@pytest.mark.parametrize("stream", LISTS)
@pytest.mark.parametrize("more", [1, PAGE, 2 * PAGE])
def test_a_list_that_grows_at_every_request_is_read_to_its_end(
    server: SandboxServer, run_tap: RunTap, stream: str, more: int
) -> None:
    [business] = server.world.businesses.values()
    rows = List(server.world, business, stream)
    rows._next = 1000
    bursts = iter(range(6))

    def grow(call: Call) -> None:
        if call.path == stream and next(bursts, None) is not None:
            rows.fill(more, server.world.clock.now())

    server.on_request = grow
    run = run_tap(stream, page_size=PAGE, concurrency=1)
    server.on_request = None
    assert run.error is None
    warehouse = Warehouse()
    warehouse.load(run.messages)
    warehouse.load(run_tap(stream, state=run.state).messages)
    assert disagreements(server.world, warehouse, [stream]) == []


@pytest.mark.parametrize("beyond", ["last", "empty", "refused"])
@pytest.mark.parametrize("total", [3, PAGE, 2 * PAGE])
def test_a_total_that_is_too_low_ends_no_list_early_where_no_next_page_is_named(
    server: SandboxServer, run_tap: RunTap, total: int, beyond: Any
) -> None:
    [business] = server.world.businesses.values()
    server.world.clock.advance(timedelta(days=1))
    for stream in LISTS:
        rows = List(server.world, business, stream)
        rows.edit(rows.keys[0])  # the bookmark goes past the rows of later pages
    server.faults.update({"beyond_last": beyond})
    envelope = {"$total": total, "$next": None}
    server.faults.script = [Fault(stream, "envelope", envelope=envelope, times=None) for stream in LISTS]
    runs = [run_tap(*LISTS, page_size=PAGE)]
    server.faults.script = []
    runs.append(run_tap(*LISTS, page_size=PAGE, state=runs[0].state))
    warehouse = Warehouse()
    for run in runs:
        assert run.error is None
        warehouse.load(run.messages)
    assert disagreements(server.world, warehouse, LISTS) == []
    assert not any("taken for hidden" in line for line in runs[0].log)


@pytest.mark.parametrize("beyond", ["last", "empty", "refused"])
@pytest.mark.parametrize("switches", [{}, {"totals": False}], ids=str)
def test_a_full_page_that_is_the_last_one_ends_a_list_whatever_is_answered_beyond_it(
    server: SandboxServer, run_tap: RunTap, beyond: Any, switches: dict[str, Any]
) -> None:
    server.faults.update({"beyond_last": beyond, "next_present": False, **switches})
    for size in (ROWS, ROWS // 2):
        run = run_tap(*LISTS, page_size=size)
        assert run.error is None
        assert {len(run.records[stream]) for stream in LISTS} == {ROWS}


@pytest.mark.parametrize("rows", [3, PAGE, PAGE + 3])
@pytest.mark.parametrize("beyond", ["last", "empty", "refused"])
def test_a_record_that_spoils_pages_hides_no_other_whatever_is_answered_beyond_the_end(
    run_tap: RunTap, beyond: Any, rows: int
) -> None:
    with SandboxServer(filled_world(["contacts"], rows)) as server:
        server.faults.update({"beyond_last": beyond, "poison": {key(2): "full"}})
        run = run_tap("contacts", **server.tap_config(page_size=25))
    assert run.error is None
    assert len(run.records["contacts"]) == rows


def test_a_full_last_page_costs_no_request_where_sage_names_next_pages(server: SandboxServer, run_tap: RunTap) -> None:
    run_tap("ledger_entries", page_size=ROWS // 2)
    assert len(server.requests.of("ledger_entries")) == 2


def test_a_list_that_comes_on_one_page_is_read_whole(server: SandboxServer, run_tap: RunTap) -> None:
    [business] = server.world.businesses.values()
    everything = [row.render() for row in business.collection("contacts").rows.values()]
    envelope = {"$items": everything, "$page": 1, "$next": None, "$itemsPerPage": None}
    server.faults.add(Fault("contacts", "envelope", envelope=envelope, times=None))
    run = run_tap("contacts", page_size=PAGE)
    assert run.error is None
    assert len(run.records["contacts"]) == ROWS
