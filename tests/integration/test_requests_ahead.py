"""First pages of businesses that are known go out beside the list of businesses, and count once that names them."""

from __future__ import annotations

import copy
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import List, plain_world
from tap_sage_accounting import timestamps
from tap_sage_accounting.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_sandbox.api import Call
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

STREAMS = ("contacts", "ledger_entries", "products", "financial_settings")
"""A list by change, one that is resumable, one in two parts, and a single object."""


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world(businesses=2)) as running:
        for business in running.world.businesses.values():
            for stream in STREAMS[:3]:
                List(running.world, business, stream).fill(5)
            business.objects[STREAMS[3]] = {"$path": f"/{STREAMS[3]}", "accounts_start_date": "2026-01-01"}
        yield running


@pytest.fixture
def earlier(server: SandboxServer, run_tap: RunTap) -> Run:
    """A run before, which left a state and a valid token."""
    run = run_tap(*STREAMS)
    assert run.error is None
    server.requests.clear()
    with server.paused():
        server.world.clock.advance(timedelta(seconds=30))
    return run


def ids(server: SandboxServer) -> list[str]:
    return list(server.world.businesses)


def requested(server: SandboxServer) -> Counter[Any]:
    """Count the requests that were sent, whatever their order."""
    return Counter((each.path, each.business, frozenset(each.params.items()), each.status) for each in server.requests)


def contents(run: Run) -> tuple[list[Any], Any]:
    """What a run wrote but states, and the last state; without the moments at which it did."""
    written = [{**each, "time_extracted": None} for each in run.messages if each["type"] != "STATE"]
    bookmarks = copy.deepcopy(run.state["bookmarks"])
    for each in (part for stream in bookmarks.values() for part in (stream, *stream.get("partitions", []))):
        each.pop("replication_key_signpost", None)
    return written, bookmarks


def withdraw(server: SandboxServer, number: int) -> str:
    """Take the user's access to a business away."""
    with server.paused():
        return server.world.businesses.pop(ids(server)[number]).id


@pytest.mark.parametrize("known_from", ["settings", "state"])
def test_first_pages_do_not_wait_for_the_list_of_businesses(
    server: SandboxServer, run_tap: RunTap, earlier: Run, known_from: str
) -> None:
    server.faults.add(Fault("businesses", "slow", seconds=1.5))
    state = earlier.state if known_from == "state" else None
    run = run_tap(*STREAMS, state=state, business_ids=ids(server) if known_from == "settings" else None)
    assert run.error is None
    [listed] = server.requests.of("businesses")
    sent = Counter(each.path.removeprefix("/v3.1/") for each in server.requests if each.start < listed.end)
    assert sent == Counter(businesses=1, contacts=2, financial_settings=2, ledger_entries=2, products=1)


@pytest.mark.parametrize("known_from", ["settings", "state"])
def test_what_is_requested_and_written_is_the_same_as_one_after_the_other(
    server: SandboxServer, run_tap: RunTap, earlier: Run, known_from: str
) -> None:
    state = earlier.state if known_from == "state" else None
    settings: dict[str, Any] = {"business_ids": ids(server) if known_from == "settings" else None}
    runs, requests = [], []
    for concurrency in (1, 8):
        runs.append(run_tap(*STREAMS, state=copy.deepcopy(state), concurrency=concurrency, page_size=2, **settings))
        requests.append(requested(server))
        server.requests.clear()
    assert runs[0].error is runs[1].error is None
    assert contents(runs[0]) == contents(runs[1])
    assert requests[0] == requests[1]


@pytest.mark.parametrize("answer", [200, 401, 403, 404])
def test_a_business_that_was_withdrawn_is_left_out_in_peace(
    server: SandboxServer, run_tap: RunTap, earlier: Run, answer: int
) -> None:
    gone = withdraw(server, 0)
    server.faults.update({"foreign_business": answer})
    runs = [run_tap(*STREAMS, state=copy.deepcopy(earlier.state), concurrency=number) for number in (1, 8)]
    one_by_one, together = runs
    assert together.error is None
    assert contents(together) == contents(one_by_one)
    assert [line for line in together.log if gone in line] == [line for line in one_by_one.log if gone in line]
    assert together.tap.report.complete == len(STREAMS)
    about_it = Counter((each.path, str(each.params)) for each in server.requests if each.business == gone)
    assert set(about_it.values()) == {1}
    assert not [each for each in server.requests if each.path == "/token"]


def test_refusals_about_a_business_that_was_withdrawn_teach_no_limit(
    server: SandboxServer, run_tap: RunTap, earlier: Run
) -> None:
    gone = withdraw(server, 0)
    server.faults.add(Fault("*", 429, business=gone, times=None, retry_after=600))
    run = run_tap(*STREAMS, state=earlier.state)
    assert run.error is None
    assert run.tap.gate.refusals == 0
    assert run.tap.report.complete == len(STREAMS)


def test_a_business_that_went_long_ago_costs_no_request(server: SandboxServer, run_tap: RunTap, earlier: Run) -> None:
    gone = withdraw(server, 0)
    with server.paused():
        server.world.clock.advance(timedelta(days=30))
        List(server.world, next(iter(server.world.businesses.values())), "contacts").edit(f"{1:032x}")
    later = run_tap(*STREAMS, state=earlier.state)
    server.requests.clear()
    assert run_tap(*STREAMS, state=later.state).error is None
    assert not [each for each in server.requests if each.business == gone]


@pytest.mark.parametrize("answer", [200, 401, 403, 404])
def test_of_a_foreign_business_nothing_is_delivered(server: SandboxServer, run_tap: RunTap, answer: int) -> None:
    foreign = withdraw(server, 0)
    server.faults.update({"foreign_business": answer})
    runs = [run_tap(*STREAMS, business_ids=[foreign, *ids(server)], concurrency=number) for number in (1, 8)]
    for run in runs:
        assert isinstance(run.error, SettingsError)
        assert run.messages == []
    assert str(runs[0].error) == str(runs[1].error)


@pytest.mark.parametrize("what", [403, 500, 503, "no_items"])
def test_nothing_is_delivered_where_the_list_of_businesses_fails(
    server: SandboxServer, run_tap: RunTap, earlier: Run, what: Any
) -> None:
    server.faults.add(Fault("businesses", what, times=None))
    runs = [run_tap(*STREAMS, state=copy.deepcopy(earlier.state), concurrency=number) for number in (1, 8)]
    one_by_one, together = runs
    assert type(together.error) is type(one_by_one.error)
    assert together.error is not None
    assert not together.records


def test_the_token_is_renewed_once_for_all_of_them(server: SandboxServer, run_tap: RunTap) -> None:
    server.faults.add(Fault("token", "slow", seconds=0.5))
    assert run_tap(*STREAMS, business_ids=ids(server)).error is None
    assert [each.path for each in server.requests].count("/token") == 1


@pytest.mark.parametrize("what", [400, 403, 500, 502, "drop", "cut", "no_items", "other_business"])
def test_a_fault_ahead_costs_no_more_than_one_in_its_turn(
    server: SandboxServer, run_tap: RunTap, earlier: Run, what: Any
) -> None:
    outcomes = []
    for concurrency in (1, 8):
        server.requests.clear()
        # Else the list of deletions may come first, and the fault hits that.
        server.faults.add(Fault("contacts", what, business=ids(server)[0], page=1, param="updated_or_created_since"))
        run = run_tap(*STREAMS, state=copy.deepcopy(earlier.state), concurrency=concurrency)
        counts = Counter(each.path for each in server.requests)
        outcomes.append((str(run.error), run.tap.report.complete, run.records, counts))
    assert outcomes[0] == outcomes[1]


def test_a_row_that_went_while_the_list_of_businesses_came_is_deleted_after_a_kill(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = timedelta(minutes=10)  # else the moment at which the list was requested counts
    monkeypatch.setattr(timestamps, "now", lambda: server.world.clock.now() + ahead)
    rows = List(server.world, server.world.businesses[ids(server)[0]], "contacts")

    def let_one_go(call: Call) -> None:
        if call.path == "businesses":  # three seconds after the page of contacts
            server.world.clock.advance(timedelta(seconds=1))
            rows.delete(rows.keys[0])
            server.world.clock.advance(timedelta(seconds=2))

    server.on_request = let_one_go
    server.faults.add(Fault("businesses", "slow", seconds=3))
    first = run_tap("contacts", business_ids=ids(server), lookback_window=0)
    server.on_request = None
    assert len(first.records["contacts"]) == 10
    before = next(each["value"] for each in first.messages if each["type"] == "STATE")  # what a kill would leave
    warehouse = Warehouse()
    warehouse.load(first.messages)
    warehouse.load(run_tap("contacts", business_ids=ids(server), lookback_window=0, state=before).messages)
    assert disagreements(server.world, warehouse, ["contacts"]) == []
