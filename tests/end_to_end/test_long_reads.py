"""The read of a long list that was cut short resumes where it was, and misses nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import LONG_AGO, List, before_page, plain_world
from sage_workbench.processes import TapProcess
from sage_workbench.runs import last_state
from tap_sage_accounting.run.state_parts import INTERRUPTED
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_sandbox.api import Call
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

STREAM = "sales_invoices"
PAGES = 18
KILLED_AFTER = 11
SIZE = 3
SETTINGS: dict[str, Any] = {"page_size": SIZE, "concurrency": 1, "lookback_window": 0}
RESUMABLE = [stream.name for stream in STREAMS if stream.sortable and stream.deleted_since and not stream.retired]


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        yield running


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pages of three rows be worth as much as real ones."""
    monkeypatch.setattr(TapSageAccounting, "between_checkpoints", 0.0)


def long_list(server: SandboxServer, stream: str = STREAM, rows: int = PAGES * SIZE) -> List:
    """A list whose rows were made one after the other, some of them in the same second."""
    made = List(server.world, next(iter(server.world.businesses.values())), stream)
    for number in range(rows):
        made.insert(LONG_AGO + timedelta(minutes=number - number % 5 // 3))
    return made


def pass_time(server: SandboxServer, **time: float) -> None:
    with server.paused():
        server.world.clock.advance(timedelta(**time))


def until_page(run: Run, page: int) -> list[dict[str, Any]]:
    """What a process has put out that is killed when a page was delivered: all up to its last row."""
    rows = [number for number, message in enumerate(run.messages) if message["type"] == "RECORD"]
    return run.messages[: rows[page * SIZE - 1] + 1]


def pages_asked(server: SandboxServer, stream: str = STREAM) -> list[int]:
    """The pages that were requested, in full or not, the requests for deletions left out."""
    asked = (request.params for request in server.requests.of(stream))
    return [int(params["page"]) for params in asked if "deleted_since" not in params]


def test_a_first_load_that_is_killed_goes_on_where_it_was(
    server: SandboxServer, run_tap: RunTap, tmp_path: Path
) -> None:
    rows = long_list(server, rows=50 * 20)
    settings = {**SETTINGS, "page_size": 20}
    tap = TapProcess(server, tmp_path, [STREAM, "deletions"], **settings)
    warehouse = Warehouse()
    warehouse.load(tap.run(kill_when=lambda call: call.path == STREAM and call.page == 31))
    assert tap.killed == 1
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
        for row_id in (rows.keys[4], rows.keys[500], rows.keys[940]):
            rows.edit(row_id)
        for row_id in (rows.keys[0], rows.keys[400], rows.keys[401], rows.keys[820]):
            rows.delete(row_id)
        rows.insert()
        server.world.clock.advance(timedelta(hours=1))
        server.requests.clear()
    resumed = run_tap(STREAM, "deletions", state=tap.state, **settings)
    assert resumed.error is None
    assert any("Going on with 'sales_invoices'" in line for line in resumed.log)
    warehouse.load(resumed.messages)
    assert disagreements(server.world, warehouse, [STREAM]) == []
    assert 20 <= len(pages_asked(server)) <= 25
    assert len(server.requests.of(STREAM)) <= len(pages_asked(server)) + 4
    assert INTERRUPTED not in str(resumed.state)


@pytest.mark.parametrize("stream", RESUMABLE)
def test_every_list_that_sage_sorts_goes_on_where_it_was(server: SandboxServer, run_tap: RunTap, stream: str) -> None:
    long_list(server, stream)
    first = run_tap(stream, **SETTINGS)
    messages = until_page(first, KILLED_AFTER)
    server.requests.clear()
    resumed = run_tap(stream, state=last_state(messages), **SETTINGS)
    warehouse = Warehouse()
    warehouse.load(messages)
    warehouse.load(resumed.messages)
    assert disagreements(server.world, warehouse, [stream]) == []
    assert PAGES - KILLED_AFTER <= len(pages_asked(server, stream)) <= PAGES - KILLED_AFTER + 5


def test_resuming_a_list_that_did_not_change_costs_no_request(server: SandboxServer, run_tap: RunTap) -> None:
    long_list(server)
    run_tap(STREAM, **SETTINGS)
    assert sorted(pages_asked(server)) == list(range(1, PAGES + 1))
    assert len(server.requests.of(STREAM)) == PAGES


def test_lists_of_few_pages_leave_no_word_in_the_state(server: SandboxServer, run_tap: RunTap) -> None:
    long_list(server, rows=4 * SIZE)
    run = run_tap(STREAM, **SETTINGS)
    assert INTERRUPTED not in str(run.messages)


@pytest.mark.parametrize("stream", ["contacts", "ledger_entries", "sales_quotes"])
def test_lists_without_a_certain_order_start_over(server: SandboxServer, run_tap: RunTap, stream: str) -> None:
    long_list(server, stream)
    run = run_tap(stream, **SETTINGS)
    assert INTERRUPTED not in str(run.messages)


@pytest.mark.parametrize("page_size", [1, 7, 200])
def test_another_page_size_makes_no_difference(server: SandboxServer, run_tap: RunTap, page_size: int) -> None:
    rows = long_list(server)
    warehouse = Warehouse()
    messages = until_page(run_tap(STREAM, **SETTINGS), KILLED_AFTER)
    warehouse.load(messages)
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
        for row_id in rows.keys[:20:4]:
            rows.delete(row_id)
        server.requests.clear()
    resumed = run_tap(STREAM, state=last_state(messages), **{**SETTINGS, "page_size": page_size})
    warehouse.load(resumed.messages)
    assert disagreements(server.world, warehouse, [STREAM]) == []
    assert len(resumed.records[STREAM]) < 40 or page_size == 200


def test_pages_that_become_too_heavy_are_read_in_smaller_ones_when_it_goes_on(
    server: SandboxServer, run_tap: RunTap
) -> None:
    long_list(server, rows=200)
    settings = {**SETTINGS, "page_size": 20}
    messages = run_tap(STREAM, **settings).messages
    records = [number for number, message in enumerate(messages) if message["type"] == "RECORD"]
    messages = messages[: records[150] + 1]
    server.faults.big_pages = {STREAM: 6}
    warehouse = Warehouse()
    warehouse.load(messages)
    resumed = run_tap(STREAM, state=last_state(messages), **{**settings, "page_size": 70})
    assert resumed.error is None
    warehouse.load(resumed.messages)
    assert disagreements(server.world, warehouse, [STREAM]) == []


def test_a_fault_that_stays_ends_the_read_and_the_next_run_goes_on_from_there(
    server: SandboxServer, run_tap: RunTap
) -> None:
    long_list(server)
    server.faults.add(Fault(STREAM, 503, page=15, times=None))
    failed = run_tap(STREAM, **SETTINGS)
    assert failed.error is not None
    server.faults.script.clear()
    server.requests.clear()
    resumed = run_tap(STREAM, state=failed.state, **SETTINGS)
    warehouse = Warehouse()
    warehouse.load(failed.messages)
    warehouse.load(resumed.messages)
    assert disagreements(server.world, warehouse, [STREAM]) == []
    assert len(pages_asked(server)) <= 9


def test_a_read_that_is_cut_short_again_and_again_comes_to_its_end(server: SandboxServer, run_tap: RunTap) -> None:
    """Each run delivers seven pages; between them rows are deleted, edited and added."""
    rows = long_list(server)
    warehouse, turns = Warehouse(), 0
    state: dict[str, Any] = {}
    for turn in range(20):
        run = run_tap(STREAM, state=state, **SETTINGS)
        if len(run.records[STREAM]) <= 8 * SIZE:
            warehouse.load(run.messages)
            break
        messages = until_page(run, 7)
        warehouse.load(messages)
        state = last_state(messages) or state
        turns += 1
        with server.paused():
            server.world.clock.advance(timedelta(hours=1))
            rows.delete(rows.keys[turn * 3])
            rows.edit(rows.keys[-turn * 3 - 1])
            rows.insert()
            server.world.clock.advance(timedelta(minutes=1))
    assert 2 <= turns <= 5
    assert disagreements(server.world, warehouse, [STREAM]) == []


# What would lose rows if it were not noticed


def replace_the_first(rows: List) -> None:
    rows.delete(rows.keys[0])
    rows.insert()


def delete_the_first(rows: List) -> None:
    rows.delete(rows.keys[0])


def delete_a_page(rows: List) -> None:
    for row_id in rows.keys[:SIZE]:
        rows.delete(row_id)


@pytest.mark.parametrize("movement", [replace_the_first, delete_the_first, delete_a_page])
@pytest.mark.parametrize("page", [2, 8])
@pytest.mark.parametrize("lookback", [0, 300])
def test_rows_that_slipped_in_the_interrupted_part_are_not_lost(
    server: SandboxServer, run_tap: RunTap, movement: Callable[[List], None], page: int, lookback: int
) -> None:
    rows = long_list(server)
    settings = {**SETTINGS, "lookback_window": lookback}

    def move() -> None:
        server.world.clock.advance(timedelta(seconds=1))
        movement(rows)

    server.on_request = before_page(STREAM, page, move)
    messages = until_page(run_tap(STREAM, **settings), KILLED_AFTER)
    server.on_request = None
    warehouse = Warehouse()
    warehouse.load(messages)
    pass_time(server, hours=1)
    resumed = run_tap(STREAM, state=last_state(messages), **settings)
    warehouse.load(resumed.messages)
    assert disagreements(server.world, warehouse, [STREAM]) == []


@pytest.mark.parametrize("gone", [1, 4, 30, 54])
def test_rows_that_slipped_before_the_read_goes_on_are_not_lost(
    server: SandboxServer, run_tap: RunTap, gone: int
) -> None:
    rows = long_list(server)
    messages = until_page(run_tap(STREAM, **SETTINGS), KILLED_AFTER)
    warehouse = Warehouse()
    warehouse.load(messages)
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
        for row_id in rows.keys[:gone]:
            rows.delete(row_id)
    resumed = run_tap(STREAM, state=last_state(messages), **SETTINGS)
    warehouse.load(resumed.messages)
    assert disagreements(server.world, warehouse, [STREAM]) == []


@pytest.mark.parametrize("movement", [replace_the_first, delete_the_first, delete_a_page])
@pytest.mark.parametrize("page", [10, 12, 16])
def test_rows_that_slip_while_the_rest_is_read_are_not_lost(
    server: SandboxServer, run_tap: RunTap, movement: Callable[[List], None], page: int
) -> None:
    rows = long_list(server)
    messages = until_page(run_tap(STREAM, **SETTINGS), KILLED_AFTER)
    warehouse = Warehouse()
    warehouse.load(messages)
    pass_time(server, hours=1)

    def move() -> None:
        server.world.clock.advance(timedelta(seconds=1))
        movement(rows)

    server.on_request = before_page(STREAM, page, move)
    resumed = run_tap(STREAM, state=last_state(messages), **SETTINGS)
    server.on_request = None
    assert resumed.error is None
    warehouse.load(resumed.messages)
    pass_time(server, hours=1)
    warehouse.load(run_tap(STREAM, state=resumed.state, **SETTINGS).messages)
    assert disagreements(server.world, warehouse, [STREAM]) == []


def test_an_order_that_is_not_kept_is_not_gone_on_from(server: SandboxServer, run_tap: RunTap) -> None:
    rows = long_list(server)
    first, *_, last = rows.collection.rows.values()
    first.created_at, last.created_at = None, LONG_AGO + timedelta(days=1)  # rows without a time come first
    run = run_tap(STREAM, **SETTINGS)
    assert INTERRUPTED not in str(run.messages)
    assert len(run.records[STREAM]) == PAGES * SIZE


def test_a_row_that_comes_twice_ends_what_is_certain(server: SandboxServer, run_tap: RunTap) -> None:
    rows = long_list(server)

    def show_late() -> None:
        late = rows.insert(LONG_AGO - timedelta(days=1))  # where nobody will look for it in this read
        assert late in rows.keys

    server.on_request = before_page(STREAM, 3, show_late)
    run = run_tap(STREAM, **SETTINGS)
    assert len(run.records[STREAM]) >= PAGES * SIZE
    assert INTERRUPTED not in str(run.messages)


def test_a_row_that_is_seen_to_go_costs_only_what_was_read_after_it(server: SandboxServer, run_tap: RunTap) -> None:
    rows = long_list(server)

    def delete_one() -> None:
        server.world.clock.advance(timedelta(minutes=1))
        rows.delete(rows.keys[0])

    server.on_request = before_page(STREAM, 9, delete_one)
    messages = until_page(run_tap(STREAM, **SETTINGS), KILLED_AFTER)
    server.on_request = None
    pass_time(server, hours=1)
    server.requests.clear()
    resumed = run_tap(STREAM, state=last_state(messages), **SETTINGS)
    changes, *rest = pages_asked(server)
    assert resumed.error is None
    assert (changes, min(rest)) in {(1, 6), (1, 7)}


def test_a_long_incremental_read_goes_on_where_it_was(server: SandboxServer, run_tap: RunTap) -> None:
    rows = long_list(server)
    first = run_tap(STREAM, **SETTINGS)
    warehouse = Warehouse()
    warehouse.load(first.messages)
    with server.paused():
        server.world.clock.advance(timedelta(days=1))
        for row_id in rows.keys[:45]:
            rows.edit(row_id)
        server.world.clock.advance(timedelta(days=1))
    messages = until_page(run_tap(STREAM, state=first.state, **SETTINGS), KILLED_AFTER)
    warehouse.load(messages)
    with server.paused():
        server.world.clock.advance(timedelta(days=1))
        rows.delete(rows.keys[3])
        rows.edit(rows.keys[10])
        rows.edit(rows.keys[50])
        server.world.clock.advance(timedelta(hours=1))
        server.requests.clear()
    resumed = run_tap(STREAM, state=last_state(messages), **SETTINGS)
    warehouse.load(resumed.messages)
    assert disagreements(server.world, warehouse, [STREAM]) == []
    assert len(pages_asked(server)) <= 10


def test_another_start_date_starts_over(server: SandboxServer, run_tap: RunTap) -> None:
    rows = long_list(server)
    late = (LONG_AGO + timedelta(minutes=10)).isoformat()
    messages = until_page(run_tap(STREAM, start_date=late, **SETTINGS), KILLED_AFTER)
    resumed = run_tap(STREAM, start_date=LONG_AGO.isoformat(), state=last_state(messages), **SETTINGS)
    assert {row["id"] for row in resumed.records[STREAM]} == set(rows.keys)


def stir(server: SandboxServer, rows: List) -> Callable[[Call], None]:
    """Let something happen before every fifth response."""
    calls = iter(range(1_000_000))

    def act(_: Call) -> None:
        number = next(calls)
        server.world.clock.advance(timedelta(seconds=1))
        if number % 5 == 0 and len(rows.keys) > 20:
            rows.delete(rows.keys[number % len(rows.keys)])
            rows.edit(rows.keys[(number * 7) % len(rows.keys)])
        if number % 7 == 0:
            rows.insert()

    return act


@pytest.mark.parametrize("concurrency", [1, 8])
def test_books_in_motion_throughout_are_followed(server: SandboxServer, run_tap: RunTap, concurrency: int) -> None:
    rows = long_list(server)
    settings = {**SETTINGS, "concurrency": concurrency, "lookback_window": 5}
    warehouse = Warehouse()
    state: dict[str, Any] = {}
    server.on_request = stir(server, rows)
    for part in (1, 2, 3):
        run = run_tap(STREAM, state=state, **settings)
        messages = run.messages[: len(run.messages) * part // 4]
        warehouse.load(messages)
        state = last_state(messages) or state
        pass_time(server, minutes=10)
    server.on_request = None
    for _ in range(2):
        run = run_tap(STREAM, state=state, **settings)
        assert run.error is None
        warehouse.load(run.messages)
        state = run.state
        pass_time(server, hours=1)
    assert disagreements(server.world, warehouse, [STREAM]) == []
