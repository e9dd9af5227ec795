"""Every record of a list arrives once, whatever Sage's envelope looks like."""

from __future__ import annotations

import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tap_sage_accounting.api.pages import Page
from tap_sage_accounting.api.request import Response
from tap_sage_accounting.exceptions import MalformedResponseError
from tap_sage_accounting.extraction.prefetch import OWN_BYTES, PageBudget, PagePrefetcher, PagesAhead
from tap_sage_accounting.records.row_decoder import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2026, 6, 30, 18, tzinfo=UTC)
Envelope = dict[str, Any]
WORKERS = 4


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(WORKERS) as pool:
        yield pool


def wait_for_first_page(pages: PagePrefetcher) -> None:
    """Start a list before its turn."""
    pages.start()
    assert pages.awaited is not None
    pages.awaited.result()


def finish(executor: ThreadPoolExecutor) -> None:
    """Wait until all that was submitted is done: until each worker has come to the end of it."""
    together = threading.Barrier(WORKERS)
    for waiting in [executor.submit(together.wait, 60) for _ in range(WORKERS)]:
        waiting.result()


def parse(envelope: Any, requested: int = 1, size: int = 2) -> Page:
    body = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
    return Page.parse(Response(body, NOW, NOW, "list"), requested=requested, size=size)


def serve(records: int, of: int, /, **quirks: Any) -> tuple[Callable[[int], Page], list[int]]:
    """A list of numbered records, served as Sage does, with quirks: functions from an envelope to another."""
    requested: list[int] = []
    pages = max(1, -(-records // of))

    def fetch(number: int) -> Page:
        requested.append(number)
        real = min(number, pages)
        items = [{"id": str(i)} for i in range((real - 1) * of, min(real * of, records))]
        envelope: Envelope = {
            "$total": records,
            "$page": real,
            "$next": f"/list?page={real + 1}" if real < pages else None,
            "$back": None,
            "$itemsPerPage": of,
            "$items": items,
        }
        for name, value in quirks.items():
            if value is None:
                envelope.pop(f"${name}")
            else:
                envelope[f"${name}"] = value(real) if callable(value) else value
        return parse(envelope, number, of)

    return fetch, requested


def read(fetch: Callable[[int], Page], executor: ThreadPoolExecutor, max_prefetch: int = 4) -> list[str]:
    with PagePrefetcher(fetch, executor, lambda: PagesAhead(max_prefetch, max_prefetch)) as pages:
        return [identity(item) for page in pages for item in page.items]


def everything(total: int) -> list[str]:
    return [str(i) for i in range(total)]


@pytest.mark.parametrize("total", [0, 1, 3, 4, 9, 10])
def test_a_well_behaved_list_costs_no_request_too_many(total: int, executor: ThreadPoolExecutor) -> None:
    fetch, requested = serve(total, 2)
    assert read(fetch, executor) == everything(total)
    assert sorted(requested) == list(range(1, max(1, -(-total // 2)) + 1))


@pytest.mark.parametrize("counted", [1, 2, 3])
def test_a_full_page_is_not_taken_for_the_last_one_where_none_names_a_next_one(
    counted: int, executor: ThreadPoolExecutor
) -> None:
    fetch, _ = serve(7, 2, next=None, total=lambda _: counted)
    assert read(fetch, executor) == everything(7)


@pytest.mark.parametrize("total", [0, 1, 4, 5])
def test_next_that_is_always_filled_in_does_not_repeat_the_last_page(total: int, executor: ThreadPoolExecutor) -> None:
    fetch, _ = serve(total, 2, next="/list?page=99")
    assert read(fetch, executor) == everything(total)


@pytest.mark.parametrize("total", [0, 1, 4, 5])
def test_next_that_is_never_filled_in_does_not_end_the_list(total: int, executor: ThreadPoolExecutor) -> None:
    fetch, _ = serve(total, 2, next=None)
    assert read(fetch, executor) == everything(total)


@pytest.mark.parametrize("total", [1, 4, 5])
def test_without_a_total_next_leads_on(total: int, executor: ThreadPoolExecutor) -> None:
    fetch, _ = serve(total, 2, total=None)
    assert read(fetch, executor) == everything(total)


def test_without_total_and_page_number_the_repeated_last_page_is_known_by_its_records(
    executor: ThreadPoolExecutor,
) -> None:
    fetch, _ = serve(5, 2, total=None, page=None, next="/list?page=99")
    assert read(fetch, executor) == everything(5)


def test_a_total_that_is_too_high_does_not_repeat_records(executor: ThreadPoolExecutor) -> None:
    fetch, _ = serve(5, 2, total=50)
    assert read(fetch, executor) == everything(5)


def test_an_empty_page_where_rows_are_counted_is_a_fault_and_no_end(executor: ThreadPoolExecutor) -> None:
    fetch, _ = serve(
        6, 2, items=lambda page: [] if page == 2 else [{"id": str(2 * page - 2)}, {"id": str(2 * page - 1)}]
    )
    with pytest.raises(MalformedResponseError, match="counts 6"):
        read(fetch, executor)


def test_the_size_that_sage_really_uses_counts() -> None:
    assert parse({"$items": [{"id": "1"}] * 20, "$total": 60, "$itemsPerPage": 20, "$page": 1}, size=200).last == 3


def test_the_businesses_spell_their_page_size_another_way() -> None:
    page = parse({"$total": 8, "$page": 1, "$next": None, "$items_per_page": 2147483647, "$items": [{"id": "1"}] * 8})
    assert not page.has_more()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        b'{"$items": [{"id": "1"}',
        b"[]",
        b"{}",
        b'{"$items": null}',
        b'{"$items": "1"}',
        b'{"$items": {"0": {}}}',
        b"\xff",
    ],
)
def test_what_is_no_page_is_never_an_empty_success(body: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        parse(body)


def test_a_failing_page_ends_the_read_with_its_error(executor: ThreadPoolExecutor) -> None:
    fetch, _ = serve(10, 2)

    def fetch_some(number: int) -> Page:
        if number == 3:
            raise MalformedResponseError("broken")
        return fetch(number)

    seen = []
    with pytest.raises(MalformedResponseError), PagePrefetcher(fetch_some, executor, lambda: PagesAhead(4, 4)) as pages:
        seen += [identity(item) for page in pages for item in page.items]


def test_pages_are_requested_in_parallel_but_never_more_than_allowed(executor: ThreadPoolExecutor) -> None:
    fetch, requested = serve(40, 2)
    lock = threading.Lock()
    together = threading.Barrier(2)
    running = highest = 0

    def slow(number: int) -> Page:
        nonlocal running, highest
        with lock:
            running += 1
            highest = max(highest, running)
        if number in {2, 3}:
            together.wait(60)
        with lock:
            running -= 1
        return fetch(number)

    assert read(slow, executor, max_prefetch=3) == everything(40)
    assert 1 < highest <= 3
    assert sorted(requested) == list(range(1, 21))


def test_a_reader_who_stops_leaves_no_further_pages_coming(executor: ThreadPoolExecutor) -> None:
    fetch, requested = serve(1000, 2)
    with PagePrefetcher(fetch, executor, lambda: PagesAhead(3, 3)) as pages:
        next(iter(pages))
    executor.shutdown()
    assert len(requested) <= 4


def test_pages_are_requested_before_their_use_as_far_as_there_is_room(executor: ThreadPoolExecutor) -> None:
    fetch, requested = serve(40, 2)
    weight = fetch(1).weight
    requested.clear()
    budget = PageBudget(5 * weight + weight // 2)
    with PagePrefetcher(fetch, executor, lambda: PagesAhead(1, 8), budget=budget) as pages:
        pages.start()
        first = next(iter(pages))
        finish(executor)
        assert first.last == 20
        assert sorted(requested) == list(range(1, 7))  # there is room for five beside the first one
        assert not budget.reserve(weight)
    assert budget.reserve(5 * weight), "room was not given back"


def test_pages_that_are_larger_than_the_first_take_the_room_of_others(executor: ThreadPoolExecutor) -> None:
    plain, _ = serve(40, 2)

    def fetch(number: int) -> Page:
        return replace(plain(number), weight=100 if number == 1 else 1000)

    budget = PageBudget(5000)
    with PagePrefetcher(fetch, executor, lambda: PagesAhead(1, 8), budget=budget) as pages:
        wait_for_first_page(pages)
        executor.shutdown()
        assert not budget.reserve(1)
    assert budget.reserve(5000)


def test_a_list_that_nobody_looks_at_any_more_gives_its_room_back(executor: ThreadPoolExecutor) -> None:
    fetch, _ = serve(40, 2)
    budget = PageBudget(10_000)
    pages = PagePrefetcher(fetch, executor, lambda: PagesAhead(1, 8), budget=budget)
    wait_for_first_page(pages)
    executor.shutdown()
    assert not budget.reserve(10_000)
    del pages
    assert budget.reserve(10_000)


def test_a_list_before_its_turn_requests_no_second_page_where_there_is_no_room(executor: ThreadPoolExecutor) -> None:
    fetch, requested = serve(40, 2)
    with PagePrefetcher(fetch, executor, lambda: PagesAhead(8, 8), budget=PageBudget(1)) as pages:
        wait_for_first_page(pages)
        finish(executor)
        assert requested == [1]
        assert [identity(item) for page in pages for item in page.items] == everything(40)


def test_a_list_before_its_turn_requests_more_pages_as_soon_as_there_is_room(executor: ThreadPoolExecutor) -> None:
    fetch, requested = serve(40, 2)
    weight = fetch(1).weight
    requested.clear()
    budget = PageBudget(weight)
    budget.take(weight)
    with PagePrefetcher(fetch, executor, lambda: PagesAhead(8, 8), budget=budget) as pages:
        wait_for_first_page(pages)
        assert not budget.has_room
        budget.release(4 * weight)  # one of them for the first page
        assert not budget.has_room, "another list would take the room"
        budget.serve()
        finish(executor)
        assert sorted(requested) == [1, 2, 3, 4]
        assert [identity(item) for page in pages for item in page.items] == everything(40)
    budget.serve()
    assert budget.has_room


def test_a_list_that_ended_before_there_was_room_keeps_none_from_others(executor: ThreadPoolExecutor) -> None:
    fetch, requested = serve(40, 2)
    budget = PageBudget(1)
    with PagePrefetcher(fetch, executor, lambda: PagesAhead(8, 8), budget=budget) as pages:
        wait_for_first_page(pages)
    budget.release(10_000)
    budget.serve()
    assert budget.has_room
    assert requested == [1]


def test_a_list_that_nobody_looks_at_any_more_waits_for_no_room(executor: ThreadPoolExecutor) -> None:
    fetch, requested = serve(40, 2)
    budget = PageBudget(1)
    pages = PagePrefetcher(fetch, executor, lambda: PagesAhead(8, 8), budget=budget)
    wait_for_first_page(pages)
    finish(executor)
    del pages
    gc.collect()
    budget.serve()
    assert budget.has_room, "its first page keeps the room"
    budget.release(10_000)
    budget.serve()
    finish(executor)
    assert requested == [1]


def test_a_list_whose_pages_are_large_requests_fewer_ahead_of_their_use(executor: ThreadPoolExecutor) -> None:
    plain, requested = serve(80, 2)

    def fetch(number: int) -> Page:
        return replace(plain(number), weight=OWN_BYTES // 3)

    with PagePrefetcher(fetch, executor, lambda: PagesAhead(32, 64), budget=PageBudget(0)) as pages:
        assert next(iter(pages)).last == 40
        executor.shutdown()
        assert sorted(requested) == [1, 2, 3, 4]


def test_a_total_beyond_belief_requests_no_more_pages_than_may_be_on_their_way(executor: ThreadPoolExecutor) -> None:
    fetch, requested = serve(5, 2, total=10**14)
    with PagePrefetcher(fetch, executor, lambda: PagesAhead(1, 8), budget=PageBudget()) as pages:
        assert [identity(item) for page in pages for item in page.items] == everything(5)
    assert max(requested) <= 11


def test_lists_share_the_room_and_none_waits_for_another(executor: ThreadPoolExecutor) -> None:
    budget = PageBudget(1000)
    one, other = serve(60, 2)[0], serve(60, 2)[0]
    with (
        PagePrefetcher(one, executor, lambda: PagesAhead(1, 50), budget=budget) as first,
        PagePrefetcher(other, executor, lambda: PagesAhead(1, 50), budget=budget) as second,
    ):
        first.start()
        assert [identity(item) for page in second for item in page.items] == everything(60)
        assert [identity(item) for page in first for item in page.items] == everything(60)
    assert budget.reserve(1000)
