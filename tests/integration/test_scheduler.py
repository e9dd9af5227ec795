"""Reads are started before their turn, leave in their order, and pass a business that its own limit throttles."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Faults
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import List, plain_world
from tap_sage_accounting.api.pages import Page
from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.extraction.prefetch import BYTES_AHEAD, PageBudget, PagePrefetcher, PagesAhead
from tap_sage_accounting.extraction.scheduler import ReadScheduler, StartedRead
from tap_sage_accounting.records.row_decoder import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run


class Stream:
    """Lists of two pages, which arrive when the test says so."""

    name = "contacts"

    def __init__(self, *businesses: str) -> None:
        self.contexts = [{"business_id": business} for business in businesses]
        self.started: list[str] = []
        self.pages: dict[str, list[Future[str]]] = {business: [Future(), Future()] for business in businesses}
        self.taken = dict.fromkeys(businesses, 0)

    def start(self, context: dict[str, str]) -> StartedRead:
        business = context["business_id"]
        self.started.append(business)

        def batches() -> Iterator[list[dict[str, Any]]]:
            for page in self.pages[business]:
                record = {"id": page.result()}
                self.taken[business] += 1
                yield [record]

        return StartedRead(batches(), lambda: next(iter(self.pages[business][self.taken[business] :]), None))

    def arrive(self, *businesses: str) -> None:
        for business in businesses:
            number, page = next((n, page) for n, page in enumerate(self.pages[business]) if not page.done())
            page.set_result(f"{business}{number + 1}")


def read(scheduler: ReadScheduler, stream: Stream, business: str) -> list[str]:
    context = next(each for each in stream.contexts if each["business_id"] == business)
    return [identity(record) for batch in scheduler.records(stream, context) for record in batch]  # type: ignore[arg-type]


def plan(stream: Stream, *held: str, concurrency: int = 1) -> ReadScheduler:
    reads = [(stream, context) for context in stream.contexts]
    return ReadScheduler(reads, concurrency, lambda business: business in held)  # type: ignore[arg-type]


def test_records_leave_in_the_order_of_the_run_whatever_arrives_first() -> None:
    stream = Stream("a", "b")
    scheduler = plan(stream)
    stream.arrive("b", "b", "a")
    threading.Timer(0.05, stream.arrive, ["a"]).start()
    assert read(scheduler, stream, "a") == ["a1", "a2"]
    assert read(scheduler, stream, "b") == ["b1", "b2"]


def test_while_a_limit_holds_one_business_the_others_of_the_stream_go_on() -> None:
    stream = Stream("a", "b", "c")
    scheduler = plan(stream, "a")
    stream.arrive("b", "b", "c", "a")
    threading.Timer(0.1, stream.arrive, ["a"]).start()
    assert read(scheduler, stream, "a") == ["a1", "b1", "b2", "c1", "a2"]
    assert read(scheduler, stream, "b") == []
    stream.arrive("c")
    assert read(scheduler, stream, "c") == ["c2"]


def test_no_more_reads_are_started_ahead_than_their_responses_can_be_kept() -> None:
    stream = Stream(*"abcdefgh")
    scheduler = plan(stream)
    scheduler.budget.first_page = 1
    for business in "abcdefgh":
        stream.arrive(business, business)
    batches = scheduler.records(stream, stream.contexts[0])  # type: ignore[arg-type]
    next(batches)
    assert stream.started == list("abcde")
    assert list(batches)
    assert stream.started == list("abcdef")


def test_before_a_first_page_shows_how_large_they_are_no_more_are_started_than_may_be_in_flight() -> None:
    stream = Stream(*"abcdefgh")
    scheduler = plan(stream, concurrency=2)
    stream.arrive("a")
    batches = scheduler.records(stream, stream.contexts[0])  # type: ignore[arg-type]
    next(batches)
    assert stream.started == list("abc")


def test_while_pages_that_nobody_took_yet_fill_the_memory_no_read_is_started_before_its_turn() -> None:
    stream = Stream(*"abcd")
    scheduler = plan(stream)
    scheduler.budget.first_page = 1
    scheduler.budget.take(BYTES_AHEAD)
    for business in "abcd":
        stream.arrive(business, business)
    assert read(scheduler, stream, "a") == ["a1", "a2"]
    assert stream.started == ["a"]
    assert read(scheduler, stream, "b") == ["b1", "b2"]
    scheduler.budget.release(BYTES_AHEAD)
    assert read(scheduler, stream, "c") == ["c1", "c2"]
    assert stream.started == list("abcd")


def test_lists_that_wait_for_room_have_it_with_each_page_that_is_taken() -> None:
    stream = Stream("a", "b")
    scheduler = plan(stream)
    stream.arrive("a", "a")
    batches = scheduler.records(stream, stream.contexts[0])  # type: ignore[arg-type]
    served: list[int] = []

    def serve(page: int) -> bool:
        served.append(page)
        return True

    for page in (1, 2):
        scheduler.budget.wait(partial(serve, page))
        next(batches)
        assert served[-1:] == [page]


def test_a_few_small_pages_do_not_let_so_many_reads_start_that_large_ones_fill_the_memory() -> None:
    large, moment = 1 << 20, datetime(2026, 6, 30, tzinfo=UTC)
    budget, more = PageBudget(), Future[None]()
    sizes = iter([large, *[1 << 10] * 4])

    def fetch(number: int) -> Page:
        size = next(sizes, None)
        if size is None:
            more.result()
        return Page(number, number, 200, [], 0, has_next=False, served_at=moment, weight=size or large)

    def lists() -> Iterator[PagePrefetcher]:
        while budget.has_room:
            yield PagePrefetcher(fetch, executor, lambda: PagesAhead(1, 1), budget=budget)

    with ThreadPoolExecutor(1) as executor:
        for each in islice(lists(), 5):
            assert len(list(each)) == 1
        started = 0
        for each in islice(lists(), 1000):
            each.start()
            started += 1
        more.set_result(None)
    assert BYTES_AHEAD / 2 <= started * large <= 2 * BYTES_AHEAD


@pytest.mark.parametrize(("held", "expected"), [((), (8, 16)), (("a",), (1, 1))])
def test_a_throttled_business_requests_one_page_at_a_time(held: tuple[str, ...], expected: tuple[int, int]) -> None:
    assert plan(Stream("a", "b"), *held, concurrency=8).pages_ahead("a") == expected


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    world = plain_world(businesses=3)
    for business, rows in zip(world.businesses.values(), (80, 20, 20), strict=True):
        List(world, business, "ledger_entries").fill(rows)  # only the first one comes to its limit
    faults = Faults(rate_limit=12, minute=1.0, rate_limit_per="business", retry_after="fraction")
    with SandboxServer(world, faults=faults) as running:
        yield running


def test_a_limit_of_each_business_loses_and_repeats_nothing(
    server: SandboxServer, run_tap: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_sage_accounting.run.lifecycle.RequestGate", partial(RequestGate, minute=1.0))
    run = run_tap("ledger_entries", page_size=2)
    assert run.error is None
    assert any(request.status == 429 for request in server.requests)
    records = [message["record"] for message in run.messages if message["type"] == "RECORD"]
    assert len(records) == 120
    warehouse = Warehouse()
    warehouse.load(run.messages)
    assert disagreements(server.world, warehouse, ["ledger_entries"]) == []
    changes = sum(one["business_id"] != other["business_id"] for one, other in pairwise(records))
    assert changes > 2, "no business went on while another was held"
