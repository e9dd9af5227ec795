"""Rows come, change and go between two page requests; none that was there throughout is missing afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import LONG_AGO, List, before_page, key, plain_world
from tap_sage_accounting.api.pages import Page
from tap_sage_accounting.exceptions import RecordNotFoundError
from tap_sage_accounting.extraction.consistency import SeenRows
from tap_sage_accounting.extraction.list_reader import ListReader
from tap_sage_accounting.extraction.prefetch import PagesAhead
from tap_sage_accounting.records.row_decoder import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_sandbox.api import Call
    from sage_sandbox.faults import Poison
    from sage_workbench.runs import Run
    from tap_sage_accounting.records.row_decoder import Item

    RunTap = Callable[..., Run]
    Movement = Callable[[List], None]

KINDS = (
    "contacts",  # reports its deletions
    "ledger_entries",  # newest first, rows stay
    "sales_quotes",  # reports changes, not deletions
    "stock_movements",  # reports neither, its rows bear a time
    "unallocated_artefacts",  # reports neither, its rows bear no time
    "products",  # in two lists, for active and for inactive ones
)


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        yield running


def a_list(server: SandboxServer, stream: str, rows: int) -> List:
    made = List(server.world, next(iter(server.world.businesses.values())), stream)
    made.fill(rows)
    return made


def insert_one(rows: List) -> None:
    rows.insert()


def insert_a_page(rows: List) -> None:
    rows.fill(4, at=rows._world.clock.now())


def delete_the_first(rows: List) -> None:
    rows.delete(rows.keys[0])


def delete_the_last(rows: List) -> None:
    rows.delete(rows.keys[-1])


def delete_a_page(rows: List) -> None:
    for row_id in rows.keys[:4]:
        rows.delete(row_id)


def replace_the_first(rows: List) -> None:
    rows.delete(rows.keys[0])
    rows.insert()


def replace_the_last(rows: List) -> None:
    rows.delete(rows.keys[-1])
    rows.insert()


def replace_several(rows: List) -> None:
    for row_id in rows.keys[:3]:
        rows.delete(row_id)
        rows.insert()


def edit_some(rows: List) -> None:
    for row_id in rows.keys[::3]:
        rows.edit(row_id)


MOVEMENTS = (
    insert_one,
    insert_a_page,
    delete_the_first,
    delete_the_last,
    delete_a_page,
    replace_the_first,
    replace_the_last,
    replace_several,
    edit_some,
)


@pytest.mark.slow
@pytest.mark.parametrize("stream", KINDS)
@pytest.mark.parametrize("movement", MOVEMENTS)
def test_nothing_that_was_there_throughout_is_missing(
    server: SandboxServer, run_tap: RunTap, stream: str, movement: Movement
) -> None:
    rows = a_list(server, stream, 10)
    there_before = set(rows.keys)

    def move() -> None:
        server.world.clock.advance(timedelta(seconds=1))
        movement(rows)

    server.on_request = before_page(stream, 3, move)
    run = run_tap(stream, page_size=3, concurrency=1, lookback_window=0)
    server.on_request = None
    assert run.error is None
    assert {row["id"] for row in run.records[stream]} >= there_before & set(rows.keys)

    warehouse = Warehouse()
    warehouse.load(run.messages)
    with server.paused():
        server.world.clock.advance(timedelta(days=8))
    warehouse.load(run_tap(stream, page_size=3, lookback_window=0, state=run.state).messages)
    if stream == "unallocated_artefacts":
        assert set(warehouse.live(stream, rows.owner.id)) >= set(rows.keys)
    else:
        assert disagreements(server.world, warehouse, [stream]) == []


@pytest.mark.parametrize("stream", KINDS)
def test_a_list_in_motion_before_every_page_is_read_completely_once_it_rests(
    server: SandboxServer, run_tap: RunTap, stream: str
) -> None:
    rows = a_list(server, stream, 12)
    there_before = set(rows.keys)
    turns = iter([replace_the_first, insert_one, delete_the_first, replace_several, edit_some, replace_the_first])

    def stir(_: object) -> None:
        server.world.clock.advance(timedelta(seconds=1))
        if movement := next(turns, None):
            movement(rows)

    server.on_request = stir
    run = run_tap(stream, page_size=3, concurrency=1)
    assert run.error is None
    assert {row["id"] for row in run.records[stream]} >= there_before & set(rows.keys)


def test_a_list_that_never_rests_fails_and_is_read_again_next_time(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 10)

    def stir(_: object) -> None:
        server.world.clock.advance(timedelta(seconds=1))
        replace_the_first(rows)

    server.on_request = stir
    run = run_tap("contacts", page_size=3, concurrency=1)
    assert run.error is not None
    assert "The list moved during each of 6 passes" in run.tap.report.failed[0].reason
    assert run.bookmark("contacts", rows.owner.id) is None


def test_an_incremental_read_notices_a_replaced_row_too(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "sales_quotes", 12)
    first = run_tap("sales_quotes", page_size=3, lookback_window=0)
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
        for row_id in rows.keys[2:]:
            rows.edit(row_id)
        server.world.clock.advance(timedelta(hours=1))

    def move() -> None:
        server.world.clock.advance(timedelta(seconds=1))
        rows.delete(rows.keys[2])
        rows.insert()

    server.on_request = before_page("sales_quotes", 2, move)
    second = run_tap("sales_quotes", page_size=3, concurrency=1, lookback_window=0, state=first.state)
    assert {row["id"] for row in second.records["sales_quotes"]} >= set(rows.keys[2:-1])


# What it costs


@pytest.mark.parametrize("stream", KINDS)
def test_a_quiet_list_of_several_pages_costs_one_request_more_at_most(
    server: SandboxServer, run_tap: RunTap, stream: str
) -> None:
    a_list(server, stream, 6)
    run = run_tap(stream, page_size=3)
    pages = server.requests.of(stream)
    needed = 3 if stream == "products" else 2
    assert run.error is None
    assert len(pages) == needed + (2 if stream == "unallocated_artefacts" else 0)


def test_a_recent_change_costs_one_request_where_nothing_was_deleted(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 6)
    rows.edit(rows.keys[0])
    run_tap("contacts", page_size=3)
    assert [request.params.get("attributes") for request in server.requests.of("contacts")] == ["all", "all", None]


def test_only_pages_with_unknown_rows_are_read_in_full_again(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 12)

    def move() -> None:
        server.world.clock.advance(timedelta(seconds=1))
        delete_the_first(rows)

    server.on_request = before_page("contacts", 3, move)
    run_tap("contacts", page_size=3, concurrency=1)
    in_full = [request for request in server.requests.of("contacts") if request.params.get("attributes") == "all"]
    assert len(in_full) == 4 + 1


# Pages that Sage cannot serve


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "most_requests"), [(150, 7), (50, 15), (10, 100), (1, 400)])
def test_pages_too_large_for_sage_are_read_in_smaller_ones(
    server: SandboxServer, run_tap: RunTap, limit: int, most_requests: int
) -> None:
    rows = a_list(server, "contacts", 230)
    server.faults.big_pages = {"contacts": limit}
    run = run_tap("contacts")
    assert run.error is None
    assert sorted(row["id"] for row in run.records["contacts"]) == sorted(rows.keys)
    assert len(server.requests.of("contacts")) <= most_requests
    assert any("smaller pages" in line for line in run.log)


def test_a_record_that_spoils_its_page_is_read_by_its_id(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 30)
    server.faults.poison = {rows.keys[7]: "full"}
    run = run_tap("contacts", page_size=20)
    assert run.error is None
    assert sorted(row["id"] for row in run.records["contacts"]) == sorted(rows.keys)


@pytest.mark.parametrize("stream", ["sales_credit_notes", "sales_invoices"])
def test_a_document_that_is_read_by_its_id_is_not_marked_as_sent(
    server: SandboxServer, run_tap: RunTap, stream: str
) -> None:
    rows = a_list(server, stream, 30)
    server.faults.detail_marks_sent = True
    server.faults.poison = {rows.keys[7]: "full"}
    run = run_tap(stream, page_size=20)
    assert any(each.path.endswith(rows.keys[7]) for each in server.requests.of(stream))
    assert len(run.records[stream]) == 30
    assert not any(row.render().get("sent") for row in rows.collection.rows.values())


@pytest.mark.slow
@pytest.mark.parametrize("poison", ["record", "always"])
@pytest.mark.parametrize("stream", ["contacts", "sales_quotes", "stock_movements"])
def test_a_record_that_sage_never_delivers_is_named_and_holds_up_the_bookmark_only(
    server: SandboxServer, run_tap: RunTap, stream: str, poison: Poison
) -> None:
    rows = a_list(server, stream, 12)
    sick = rows.keys[7]
    server.faults.poison = {sick: poison}
    run = run_tap(stream, page_size=5)
    assert run.error is not None
    assert {row["id"] for row in run.records[stream]} == set(rows.keys) - {sick}
    [failed] = run.tap.report.failed
    assert "does not deliver" in failed.reason
    assert (sick if poison == "record" else "row 8") in failed.reason
    assert run.bookmark(stream, rows.owner.id) is None

    server.faults.poison = {}
    assert sick in {row["id"] for row in run_tap(stream, state=run.state).records[stream]}


def test_a_list_that_sage_always_fails_on_is_given_up_before_long(server: SandboxServer, run_tap: RunTap) -> None:
    a_list(server, "contacts", 30)
    server.faults.add(Fault("contacts*", 500, times=None))
    run = run_tap("contacts", page_size=30)
    assert "delivers too little of this list" in run.tap.report.failed[0].reason
    assert len([line for line in run.log if "attempt 5 failed" in line]) == 3
    assert len(server.requests) < 120


def test_records_that_sage_never_delivers_at_the_beginning_of_a_list_do_not_hide_the_others(
    server: SandboxServer, run_tap: RunTap
) -> None:
    rows = a_list(server, "contacts", 12)
    sick = rows.keys[:5]
    server.faults.poison = dict.fromkeys(sick, "always")
    run = run_tap("contacts", page_size=12)
    assert {row["id"] for row in run.records["contacts"]} == set(rows.keys[5:])


def test_many_undeliverable_records_mean_that_sage_is_not_well(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 30)
    server.faults.poison = dict.fromkeys(rows.keys, "record")
    run = run_tap("contacts", page_size=5)
    assert "delivers too little of this list" in run.tap.report.failed[0].reason
    assert len(server.requests) < 300


def test_a_slipped_row_that_is_deleted_before_it_is_fetched_does_not_end_the_read(
    server: SandboxServer, run_tap: RunTap
) -> None:
    rows = a_list(server, "contacts", 9)
    first, slipped = rows.keys[0], rows.keys[3]
    noticed: list[str] = []

    def act(call: Call) -> None:
        server.world.clock.advance(timedelta(seconds=1))
        in_full = "attributes" in call.params
        if in_full and call.page == 2 and first in rows.keys:
            rows.delete(first)
        elif not in_full and call.page == 1:
            noticed.append(slipped)
        elif noticed and in_full and slipped in rows.keys:
            rows.delete(slipped)

    server.on_request = act
    run = run_tap("contacts", page_size=3, concurrency=1)
    assert noticed
    assert slipped not in rows.keys
    assert run.error is None
    assert run.tap.report.skipped == []
    assert {row["id"] for row in run.records["contacts"]} == {first, *rows.keys}


# Totals that do not fit


def test_an_empty_page_is_requested_again(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 9)
    server.faults.add(Fault("contacts", "empty_page", page=2))
    run = run_tap("contacts", page_size=3)
    assert run.error is None
    assert {row["id"] for row in run.records["contacts"]} == set(rows.keys)


def test_a_page_that_stays_empty_is_no_end_of_the_list(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 9)
    server.faults.add(Fault("contacts", "empty_page", page=3, times=None))
    run = run_tap("contacts", page_size=3)
    assert run.error is not None
    assert "no rows, although Sage counts 9" in run.tap.report.failed[0].reason
    assert run.bookmark("contacts", rows.owner.id) is None


class ListWithHiddenRows:
    """A list whose total counts a row that no page shows."""

    def page(self, number: int, size: int, *, bare: bool = False, max_attempts: int | None = None) -> Page:  # noqa: ARG002
        shown: list[dict[str, Any]] = [{"id": key(position)} for position in range(1, 6) if position != 3]
        items = [item for item in shown if (int(item["id"], 16) - 1) // size == number - 1]
        return Page(number, number, size, items, total=5, has_next=number < 3, served_at=LONG_AGO)

    def record(self, item: Item) -> Item:
        raise RecordNotFoundError(identity(item))


def test_rows_that_are_counted_but_never_listed_are_reported_once_and_do_not_fail_the_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ThreadPoolExecutor(1) as executor:
        reading = ListReader(
            ListWithHiddenRows(),
            executor,
            label="'contacts' of Harbour Café",
            pages_ahead=lambda: PagesAhead(1, 1),
            size=2,
        )
        items = [item for page in reading.pages() for item in page.items]
        assert list(reading.recover_missed_rows(lambda: False)) == []
    assert [identity(item) for item in items] == [key(number) for number in (1, 2, 4, 5)]
    assert caplog.messages == [
        "'contacts' of Harbour Café: Sage counts 5 rows but lists 4, each time: the rest is taken for hidden."
    ]


def test_a_quiet_run_requests_changes_and_deletions_of_each_part_of_a_list_once(
    server: SandboxServer, run_tap: RunTap
) -> None:
    for stream in KINDS:
        a_list(server, stream, 6)
    first = run_tap(*KINDS)
    server.requests.clear()
    run_tap(*KINDS, state=first.state)
    assert {stream: len(server.requests.of(stream)) for stream in KINDS} == {
        "contacts": 2,
        "ledger_entries": 1,
        "sales_quotes": 1,
        "stock_movements": 1,
        "unallocated_artefacts": 1,
        "products": 4,
    }


IDS = st.lists(st.text(alphabet="abc", min_size=1, max_size=3), max_size=40)


@given(st.lists(IDS, min_size=1, max_size=4), IDS, IDS, st.sampled_from((None, 0, 3, 500)))
def test_seen_rows_are_counted_right_whatever_total_sage_states(
    pages: list[list[str]], recovered: list[str], asked: list[str], total: int | None
) -> None:
    watch = SeenRows()
    seen: set[str] = set()
    for number, ids in enumerate(pages, 1):
        items = [{"id": each} for each in ids]
        watch.add_page(Page(number, number, 40, items, total=total, has_next=True, served_at=LONG_AGO))
        seen |= set(ids)
    assert watch.distinct == len(seen)
    assert watch.unknown([{"id": each} for each in asked]) == set(asked) - seen
    watch.add([{"id": each} for each in recovered])
    assert watch.distinct == len(seen | set(recovered))
    assert watch.unknown([{"id": each} for each in asked]) == set(asked) - seen - set(recovered)


def test_a_total_that_cannot_be_costs_no_more_than_a_second_look() -> None:
    watch = SeenRows()
    watch.add_page(Page(1, 1, 40, [{"id": "a"}], total=10**15, has_next=False, served_at=LONG_AGO))
    assert watch.distinct == 1
    assert not watch.is_consistent


def test_seen_rows_distinguish_many_rows() -> None:
    watch, once_more = SeenRows(), SeenRows()
    items = [{"id": f"{number:032x}"} for number in range(100_000)]
    watch.add_page(Page(1, 1, len(items), items, total=len(items) + 900, has_next=False, served_at=LONG_AGO))
    once_more.add_page(Page(1, 1, 1, [], total=watch.total, has_next=True, served_at=LONG_AGO))
    once_more.add(items[::-1])
    assert watch.distinct == len(items)
    assert watch.looks_like(once_more)
    assert watch.unknown([*items[::1000], {"id": "another"}]) == {"another"}
    once_more.add([{"id": "another"}])
    assert not watch.looks_like(once_more)
