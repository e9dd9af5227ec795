"""What goes wrong in one place stays there, is named, and is never taken for an empty success."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import timestamp
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import LONG_AGO, NOW, List, plain_world
from tap_sage_accounting.api import faults
from tap_sage_accounting.exceptions import IncompleteRunError, RetryAfterTooLongError
from tap_sage_accounting.extraction.deletions import Deletions
from tap_sage_accounting.extraction.deletions.reported import ReportedDeletions
from tap_sage_accounting.streams.contacts import Contacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_sandbox.api import Call
    from sage_sandbox.store import Business
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]
STREAMS = ("contacts", "invoice_settings", "sales_quotes")
PASSING = ("drop", "lost", "cut", "html", 500, 502, 503, 504)
STAYING = ("drop", "cut", "html", "redirect_loop", 500, 503)
OF_LISTS = ("no_items", "empty_page")


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    world = plain_world(businesses=2)
    for business in world.businesses.values():
        for stream in ("contacts", "sales_quotes"):
            List(world, business, stream).fill(7)
        business.objects["invoice_settings"] = {"$path": "/invoice_settings", "next_invoice_number": 7}
    with SandboxServer(world) as running:
        yield running


def businesses_of(server: SandboxServer) -> tuple[Business, Business]:
    first, second = server.world.businesses.values()
    return first, second


def keys_of(run: Run, stream: str, business: Business) -> set[str]:
    return {row["id"] for row in run.records[stream] if row["business_id"] == business.id}


# Faults that pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "what"),
    [
        *((path, what) for path in ("contacts", "invoice_settings", "businesses") for what in PASSING),
        *((path, what) for path in ("contacts", "businesses") for what in OF_LISTS),
        *((path, 429) for path in ("contacts", "invoice_settings", "businesses")),
        *((path, "wrong_type") for path in ("contacts", "invoice_settings", "businesses")),
    ],
)
def test_a_passing_fault_changes_nothing(server: SandboxServer, run_tap: RunTap, path: str, what: int | str) -> None:
    server.faults.add(Fault(path, what, retry_after=0))
    run = run_tap(*STREAMS)
    assert run.error is None
    assert {name: len(rows) for name, rows in run.records.items()} == {
        "contacts": 14,
        "invoice_settings": 2,
        "sales_quotes": 14,
    }


@pytest.mark.parametrize("place", ["https://portal.invalid/", "http://[", "\xff", ""])
def test_a_redirect_to_whatever_it_is_counts_as_a_passing_fault(
    server: SandboxServer, run_tap: RunTap, place: str
) -> None:
    server.faults.add(Fault("contacts", 302, by="nobody", location=place))
    run = run_tap(*STREAMS)
    assert run.error is None
    assert [len(run.records[name]) for name in STREAMS] == [14, 2, 14]
    assert any("It points elsewhere, where tokens do not go" in line for line in run.log)


@pytest.mark.parametrize("path", ["contacts", "invoice_settings", "businesses"])
def test_a_right_response_under_a_wrong_content_type_counts_for_what_it_holds(
    server: SandboxServer, run_tap: RunTap, path: str
) -> None:
    server.faults.add(Fault(path, "wrong_type", times=None))
    run = run_tap(*STREAMS)
    assert run.error is None
    assert not [line for line in run.log if "Trying again" in line]
    assert [len(run.records[name]) for name in STREAMS] == [14, 2, 14]


def test_a_slow_response_is_waited_for_while_other_lists_are_requested(server: SandboxServer, run_tap: RunTap) -> None:
    first, _ = businesses_of(server)
    server.faults.add(Fault("contacts", "slow", business=first.id, seconds=0.2))
    run = run_tap(*STREAMS)
    assert run.error is None
    assert [len(run.records[name]) for name in STREAMS] == [14, 2, 14]
    slow = max(server.requests, key=lambda request: request.end - request.start)
    assert (slow.path, slow.business) == ("/v3.1/contacts", first.id)
    assert any(slow.start < request.end < slow.end for request in server.requests)


def test_a_response_that_does_not_come_in_time_is_requested_again(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "READ_TIMEOUT", 0.15)
    first, _ = businesses_of(server)
    server.faults.add(Fault("contacts", "slow", business=first.id, seconds=2))
    run = run_tap(*STREAMS, concurrency=1)
    assert run.error is None
    assert [len(run.records[name]) for name in STREAMS] == [14, 2, 14]
    assert any("'contacts' of Business 1" in line and "no response within" in line for line in run.log)


def test_a_list_of_businesses_that_is_refused_for_long_ends_the_run_with_the_time_to_come_back(
    server: SandboxServer, run_tap: RunTap
) -> None:
    server.faults.add(Fault("businesses", 429, retry_after=7200, times=None))
    run = run_tap(*STREAMS, patience=60)
    assert isinstance(run.error, RetryAfterTooLongError)
    assert str(run.error).startswith("list of businesses, page 1: ")
    assert "run again after " in str(run.error)
    assert run.messages == []


# Faults that stay


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "what"),
    [
        *((path, what) for path in ("contacts", "invoice_settings") for what in STAYING),
        *(("contacts", what) for what in OF_LISTS),
    ],
)
def test_a_fault_that_stays_fails_its_read_only(
    server: SandboxServer, run_tap: RunTap, path: str, what: int | str
) -> None:
    broken, sound = businesses_of(server)
    server.faults.add(Fault(f"{path}*", what, business=broken.id, times=None))
    run = run_tap(*STREAMS)
    assert isinstance(run.error, IncompleteRunError)
    assert path in str(run.error)
    [failed] = run.tap.report.failed
    assert (failed.stream, failed.business) == (path, f"{broken.name} ({broken.id})")
    assert run.tap.report.complete == 5
    assert len(keys_of(run, "sales_quotes", broken)) == len(keys_of(run, "contacts", sound)) == 7
    assert run.bookmark("sales_quotes", broken.id) == timestamp(LONG_AGO)
    assert run.bookmark("contacts", sound.id) == timestamp(LONG_AGO)
    if path == "contacts":
        assert run.bookmark("contacts", broken.id) is None
    assert any(f"Failed: '{path}' of {broken.name}" in line for line in run.log)

    server.faults.script.clear()
    warehouse = Warehouse()
    warehouse.load(run.messages)
    again = run_tap(*STREAMS, state=run.state)
    assert again.error is None
    warehouse.load(again.messages)
    assert disagreements(server.world, warehouse, ["contacts", "sales_quotes"]) == []
    assert len(again.records["invoice_settings"]) == 2


@pytest.mark.parametrize("where", ["clean", "known"])
def test_a_failure_in_the_middle_of_a_page_is_that_reads_own(
    run_tap: RunTap, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    state = run_tap("contacts", "sales_quotes").state

    def fail(*_: Any, **__: Any) -> Iterator[Any]:
        yield from ()
        raise ValueError("never expected")

    if where == "clean":
        monkeypatch.setattr(Contacts, "converter", property(lambda _: next(fail())))
    else:
        for strategy in (Deletions, ReportedDeletions):
            monkeypatch.setattr(strategy, "reported", fail)
    run = run_tap("contacts", "sales_quotes", state=state if where == "known" else None)
    assert isinstance(run.error, IncompleteRunError)
    failed = [line for line in run.log if line.startswith("Failed:")]
    assert len(failed) == (2 if where == "clean" else 4)
    assert all("unexpected ValueError" in line for line in failed)
    if where == "clean":
        assert len(run.records["sales_quotes"]) == 14


@pytest.mark.parametrize("what", [*STAYING, *OF_LISTS, 403])
def test_nothing_is_read_when_the_businesses_cannot_be_listed(
    server: SandboxServer, run_tap: RunTap, what: int | str
) -> None:
    server.faults.add(Fault("businesses*", what, times=None))
    run = run_tap(*STREAMS)
    assert run.error is not None
    assert "business" in str(run.error)
    assert run.records == {}


def test_the_table_at_the_end_distinguishes_complete_skipped_and_failed(server: SandboxServer, run_tap: RunTap) -> None:
    first, second = businesses_of(server)
    first.permissions["settings"] = "no_access"
    second.subscribed = False
    server.faults.add(Fault("contacts*", "html", business=first.id, times=None))
    run = run_tap(*STREAMS)
    role = f"Skipped of {first}, because the user's role there does not include them (403): invoice_settings."
    assert role.replace(str(first), f"{first.name} ({first.id})") in run.log
    subscription = "its edition, country or subscription does not offer them (401)."
    assert any(
        line.startswith(f"Sage refused everything of {second.name} ({second.id}): {subscription}") for line in run.log
    )
    [failed] = [line for line in run.log if line.startswith("Failed:")]
    assert failed.startswith(f"Failed: 'contacts' of {first.name} ({first.id}): ")
    assert failed.count(first.name) == 1
    assert "page 1: the response is a web page" in failed
    assert any("1 reads complete, 4 skipped, 1 failed" in line for line in run.log)


# Rights, editions, retired paths


@pytest.mark.parametrize("status", [401, 404])
def test_what_rights_and_editions_do_not_offer_is_skipped_and_no_failure(
    server: SandboxServer, run_tap: RunTap, status: int
) -> None:
    server.faults.update({"edition_refusal": status})
    first, second = businesses_of(server)
    first.permissions["sales"] = "no_access"
    second.edition = "Standard"
    run = run_tap("sales_quotes", "contacts", "stock_items")
    assert run.error is None
    assert {(outcome.stream, outcome.business) for outcome in run.tap.report.skipped} == {
        ("sales_quotes", f"{first.name} ({first.id})"),
        ("stock_items", f"{second.name} ({second.id})"),
    }
    assert len(run.records["contacts"]) == 14


def test_a_right_that_is_given_back_brings_what_was_missed(server: SandboxServer, run_tap: RunTap) -> None:
    first, _ = businesses_of(server)
    before = run_tap("sales_quotes")
    with server.paused():
        first.permissions["sales"] = "no_access"
        server.world.clock.advance(timedelta(days=1))
        quote = List(server.world, first, "sales_quotes")
        quote._next = 100
        missed = quote.insert()
    without = run_tap("sales_quotes", state=before.state)
    assert without.error is None
    with server.paused():
        first.permissions["sales"] = "full_access"
        server.world.clock.advance(timedelta(days=20))
    after = run_tap("sales_quotes", state=without.state)
    assert missed in keys_of(after, "sales_quotes", first)


# Many businesses


def test_a_business_that_appears_is_named_and_read_whole(server: SandboxServer, run_tap: RunTap) -> None:
    first = run_tap("contacts")
    third = list(plain_world(businesses=3).businesses.values())[2]
    with server.paused():
        server.world.businesses[third.id] = third
        List(server.world, third, "contacts").fill(4)
    second = run_tap("contacts", state=first.state)
    assert f"No earlier run read {third.name} ({third.id})." in second.log
    assert len(keys_of(second, "contacts", third)) == 4
    assert second.bookmark("contacts", third.id) == timestamp(LONG_AGO)


def test_a_business_that_disappears_is_named_and_its_bookmark_stays(server: SandboxServer, run_tap: RunTap) -> None:
    first_business, second_business = businesses_of(server)
    first = run_tap("contacts")
    with server.paused():
        del server.world.businesses[first_business.id]
    second = run_tap("contacts", state=first.state)
    assert second.error is None
    assert any(f"Business {first_business.id}, which earlier runs read, is no longer" in line for line in second.log)
    assert second.bookmark("contacts", first_business.id) == first.bookmark("contacts", first_business.id)
    assert keys_of(second, "contacts", second_business)

    with server.paused():
        server.world.businesses[first_business.id] = first_business
        missed = List(server.world, first_business, "contacts")
        missed._next = 100
        key = missed.insert()
    third = run_tap("contacts", state=second.state)
    assert key in keys_of(third, "contacts", first_business)


def test_rows_of_a_business_that_disappeared_are_not_dropped_by_a_version(
    server: SandboxServer, run_tap: RunTap
) -> None:
    first_business, _ = businesses_of(server)
    settings = {"emit_activate_version_messages": True}
    first = run_tap("invoice_settings", **settings)
    assert [message["type"] for message in first.messages].count("ACTIVATE_VERSION") == 1
    with server.paused():
        del server.world.businesses[first_business.id]
    second = run_tap("invoice_settings", state=first.state, **settings)
    assert "ACTIVATE_VERSION" not in [message["type"] for message in second.messages]


def test_a_business_that_is_renamed_keeps_its_rows_and_its_bookmark(server: SandboxServer, run_tap: RunTap) -> None:
    business, _ = businesses_of(server)
    first = run_tap("contacts")
    with server.paused():
        business.name = "New Name Ltd"
        business.body["displayed_as"] = business.body["name"] = "New Name Ltd"
        server.world.clock.advance(timedelta(days=1))
    second = run_tap("contacts", "businesses", state=first.state)
    assert len(second.state["bookmarks"]["contacts"]["partitions"]) == 2
    assert {row["id"]: row["name"] for row in second.records["businesses"]}[business.id] == "New Name Ltd"


@pytest.mark.parametrize("foreign_business", [401, 403, 404])
def test_a_business_that_goes_while_the_run_is_on_does_not_disturb_the_others(
    server: SandboxServer, run_tap: RunTap, foreign_business: int
) -> None:
    server.faults.update({"foreign_business": foreign_business})
    gone, stays = businesses_of(server)

    def go(call: Call) -> None:
        if call.path != "businesses":
            server.world.businesses.pop(gone.id, None)

    server.on_request = go
    run = run_tap(*STREAMS)
    outcomes = run.tap.report.skipped + run.tap.report.failed
    assert {outcome.business for outcome in outcomes} == {f"{gone.name} ({gone.id})"}
    assert len(outcomes) == 3
    assert len(keys_of(run, "contacts", stays)) == len(keys_of(run, "sales_quotes", stays)) == 7
    assert (run.error is None) == (foreign_business != 401)


def test_a_subscription_that_ends_leaves_the_other_business_alone(server: SandboxServer, run_tap: RunTap) -> None:
    first, second = businesses_of(server)
    first.subscribed = False
    run = run_tap(*STREAMS)
    assert run.error is None
    assert keys_of(run, "contacts", first) == set()
    assert len(keys_of(run, "contacts", second)) == 7
    assert {outcome.business for outcome in run.tap.report.skipped} == {f"{first.name} ({first.id})"}


# Limits


@pytest.mark.parametrize("retry_after", ["7200", "Tue, 30 Jun 2026 20:00:00 GMT"])
def test_a_limit_beyond_the_patience_ends_the_run_with_the_time_to_come_back(
    server: SandboxServer, run_tap: RunTap, retry_after: str
) -> None:
    server.faults.add(Fault("sales_quotes", 429, retry_after=retry_after, times=None))
    run = run_tap(*STREAMS, patience=60, concurrency=1)
    assert isinstance(run.error, RetryAfterTooLongError)
    assert "longer than the setting 'patience' allows (60 s)" in str(run.error)
    assert "run again after " in str(run.error)
    first, second = businesses_of(server)
    assert run.bookmark("contacts", first.id) == timestamp(LONG_AGO)
    assert run.bookmark("contacts", second.id) in (None, timestamp(LONG_AGO))  # requested ahead of quotes or not at all
    assert run.bookmark("sales_quotes", first.id) is None


# Hostile values


def test_hostile_values_arrive_or_are_set_aside_and_spare_their_neighbours(
    server: SandboxServer, run_tap: RunTap
) -> None:
    business, _ = businesses_of(server)
    rows = business.collection("contacts")
    hostile: dict[str, Any] = {
        "name": "\U0001f9fe \u202e\u0000\u001f" + "x" * 100_000,
        "notes": {"surprise": ["type"]},
        "credit_limit": "1" * 30 + ".123456789012345678901234567890",
        "tax_number": None,
        "addresses": "none",
        "created_at": "0001-01-01T00:00:00Z",
    }
    [first, *others] = rows.rows
    rows.change(first, hostile, NOW)
    run = run_tap("contacts")
    assert run.error is None
    arrived = {row["id"]: row for row in run.records["contacts"] if row["business_id"] == business.id}
    assert set(arrived) == {first, *others}
    assert arrived[first]["name"] == hostile["name"].replace("\0", "")  # no target can store it
    assert str(arrived[first]["credit_limit"]) == hostile["credit_limit"]
    assert json.loads(arrived[first]["additional_attributes"])["notes"] == hostile["notes"]
    assert all(arrived[key]["displayed_as"].startswith("Row") for key in others)


# A process that is stopped


@pytest.mark.parametrize(("page", "delivered"), [(1, "Nothing was delivered"), (2, "A part of them was delivered")])
def test_a_run_of_which_no_read_is_complete_says_whether_anything_arrived(
    server: SandboxServer, run_tap: RunTap, page: int, delivered: str
) -> None:
    server.faults.add(Fault("contacts", 400, page=page, times=None))
    run = run_tap("contacts", page_size=2)
    assert bool(run.records["contacts"]) == (page > 1)
    assert delivered in str(run.error)
