"""What is concluded from refusals: from Sage's own words, rights and editions; from anybody else's, nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import List, before_page, key, plain_world
from sage_workbench.runs import Recorder
from tap_sage_accounting.exceptions import (
    IncompleteRunError,
    RefusedRunError,
    RetriesExhaustedError,
    ServiceUnavailableError,
    SettingsError,
)
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_sandbox.store import Business
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

LISTS = ("contacts", "ledger_entries", "products", "sales_quotes", "stock_items", "stock_movements")
"""Deletions reported, flagged, two lists in one, missing; and two of Plus only, one of them read in full."""
STREAMS = (*LISTS, "deletions", "invoice_settings", "unallocated_artefacts")
BOOKS = "[!bt]*"
"""Every path of these lists, and neither `businesses` nor `token`."""
ROWS = 7

FOREIGN = [
    (403, "firewall"),
    (404, "firewall"),
    (401, "firewall"),
    (407, "firewall"),
    (451, "firewall"),
    (302, "firewall"),
    (200, "firewall"),
    (403, "gateway"),
    (404, "gateway"),
    (200, "gateway"),
    (400, "nobody"),
    (403, "nobody"),
    (404, "nobody"),
    (204, "nobody"),
]
foreign = pytest.mark.parametrize(("status", "by"), FOREIGN)
few_foreign = pytest.mark.parametrize(
    ("status", "by"), [(403, "firewall"), (404, "gateway"), (404, "nobody"), (200, "firewall"), (200, "gateway")]
)


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    world = plain_world(businesses=2)
    for business in world.businesses.values():
        for stream in (*LISTS, "unallocated_artefacts"):
            List(world, business, stream).fill(ROWS)
        business.objects["invoice_settings"] = {"$path": "/invoice_settings", "next_invoice_number": 7}
    with SandboxServer(world) as running:
        yield running


class Books:
    """Runs one after another into the same tables, each from the state that the one before left."""

    def __init__(self, server: SandboxServer, run_tap: RunTap) -> None:
        self.warehouse = Warehouse()
        self.state: dict[str, Any] = {}
        self._server = server
        self._run_tap = run_tap

    def run(self, *streams: str, **settings: Any) -> Run:
        self.pass_time()
        run = self._run_tap(*(streams or STREAMS), state=self.state, **{"deletion_sweep_days": 0, **settings})
        self.warehouse.load(run.messages)
        self.state = run.state or self.state
        return run

    def pass_time(self) -> None:
        with self._server.paused():
            self._server.world.clock.advance(timedelta(hours=1))

    def check(self, *lists: str) -> None:
        """Run in peace, and find every row where it must be."""
        self._server.faults.script.clear()
        run = self.run()
        assert run.error is None
        assert disagreements(self._server.world, self.warehouse, lists or LISTS) == []

    def kept(self, stream: str, business: Business) -> dict[str, Any]:
        """What the state holds of one list of one business."""
        partitions = self.state["bookmarks"].get(stream, {}).get("partitions", [])
        return next((each for each in partitions if each["context"] == {"business_id": business.id}), {})

    @property
    def told_deleted(self) -> set[str]:
        return {row["stream"] for row in self.warehouse.tables["deletions"].values()}


@pytest.fixture
def books(server: SandboxServer, run_tap: RunTap) -> Books:
    return Books(server, run_tap)


def businesses_of(server: SandboxServer) -> tuple[Business, Business]:
    first, second = server.world.businesses.values()
    return first, second


def delete(server: SandboxServer, business: Business, stream: str, number: int = 1) -> None:
    with server.paused():
        business.collection(stream).delete(key(number), server.world.clock.now())


# Responses that do not come from Sage


@pytest.mark.slow
@foreign
def test_a_run_that_somebody_else_refuses_is_no_success(
    server: SandboxServer, books: Books, status: int, by: Any
) -> None:
    server.faults.add(Fault(BOOKS, status, by=by, times=None))
    run = books.run(patience=0)
    # JSON with status 200 looks like a response of Sage's: then each read fails by itself.
    assert isinstance(run.error, IncompleteRunError if (status, by) == (200, "gateway") else ServiceUnavailableError)
    assert run.tap.report.skipped == []
    assert run.records == {}
    assert "replication_key_value" not in str(books.state)
    books.check()


@pytest.mark.slow
@foreign
def test_refusals_by_somebody_else_in_passing_lose_nothing(
    server: SandboxServer, books: Books, status: int, by: Any
) -> None:
    for path in LISTS:
        for page in (1, 2):
            server.faults.add(Fault(path, status, by=by, page=page, times=3))
    run = books.run(page_size=2)
    assert run.error is None
    assert not any(fault.times for fault in server.faults.script)
    assert run.tap.report.skipped == []
    assert disagreements(server.world, books.warehouse, LISTS) == []


@pytest.mark.slow
@few_foreign
@pytest.mark.parametrize("concurrency", [1, 8])
def test_what_somebody_else_refuses_of_one_business_fails_there_only(
    server: SandboxServer, books: Books, status: int, by: Any, concurrency: int
) -> None:
    refused, other = businesses_of(server)
    server.faults.add(Fault(BOOKS, status, by=by, business=refused.id, times=None))
    run = books.run(concurrency=concurrency, patience=1)
    assert isinstance(run.error, IncompleteRunError)
    assert "Everything else was delivered" in str(run.error)
    assert {outcome.business for outcome in run.tap.report.failed} == {f"{refused.name} ({refused.id})"}
    assert len(books.warehouse.live("contacts", other.id)) == ROWS
    assert "replication_key_value" not in books.kept("contacts", refused)
    books.check()


@pytest.mark.slow
@few_foreign
def test_what_somebody_else_refuses_of_some_paths_fails_those_only(
    server: SandboxServer, books: Books, status: int, by: Any
) -> None:
    server.faults.add(Fault("s*", status, by=by, times=None))
    run = books.run(patience=1)
    assert isinstance(run.error, IncompleteRunError)
    assert {outcome.stream for outcome in run.tap.report.failed} == {"sales_quotes", "stock_items", "stock_movements"}
    assert any("in Sage's place" in line or "response" in line for line in run.log if line.startswith("Failed:"))
    books.check()


@pytest.mark.slow
@few_foreign
def test_a_later_run_that_somebody_else_refuses_concludes_nothing(
    server: SandboxServer, books: Books, status: int, by: Any
) -> None:
    books.run()
    before = books.state
    for business in businesses_of(server):
        for stream in ("contacts", "sales_quotes", "stock_movements", "stock_items"):
            delete(server, business, stream)
    server.faults.add(Fault(BOOKS, status, by=by, times=None))
    assert isinstance(books.run(patience=0).error, (IncompleteRunError, ServiceUnavailableError))
    assert books.state == before
    assert books.told_deleted == set()
    books.check()
    assert books.told_deleted == {"contacts", "sales_quotes", "stock_movements", "stock_items"}


@pytest.mark.slow
@few_foreign
@pytest.mark.parametrize("stream", ["stock_movements", "sales_quotes"])
def test_a_record_that_somebody_else_refuses_is_not_deleted(
    server: SandboxServer, books: Books, stream: str, status: int, by: Any
) -> None:
    books.run()
    first, _ = businesses_of(server)
    known = books.kept(stream, first)["inventory"]
    delete(server, first, stream)
    fault = server.faults.add(Fault(f"{stream}/*", status, by=by, times=None))
    run = books.run(patience=1)
    assert isinstance(run.error, IncompleteRunError)
    assert {outcome.stream for outcome in run.tap.report.failed} == {stream}
    assert books.told_deleted == set()
    assert len(books.warehouse.live(stream, first.id)) == ROWS
    assert books.kept(stream, first)["inventory"] == known

    fault.times = 2  # in passing
    assert books.run().error is None
    assert books.told_deleted == {stream}
    assert disagreements(server.world, books.warehouse, LISTS) == []


@pytest.mark.slow
@few_foreign
@pytest.mark.parametrize("tombstones", ["full", "id_only"])
def test_deletions_that_somebody_else_refuses_to_list_arrive_later(
    server: SandboxServer, books: Books, status: int, by: Any, tombstones: str
) -> None:
    server.faults.update({"tombstones": tombstones})
    books.run()
    first, _ = businesses_of(server)
    delete(server, first, "contacts")
    server.faults.add(Fault("contacts", status, by=by, param="deleted_since", times=None))
    run = books.run(patience=1)
    assert isinstance(run.error, IncompleteRunError)
    assert {outcome.stream for outcome in run.tap.report.failed} == {"contacts"}
    books.check()
    assert books.told_deleted == {"contacts"}


@pytest.mark.parametrize("path", ["invoice_settings", "contacts"])
def test_an_object_that_a_gateway_makes_up_is_no_row(server: SandboxServer, books: Books, path: str) -> None:
    server.faults.add(Fault(path, 200, by="gateway", times=None))
    run = books.run()
    assert isinstance(run.error, IncompleteRunError)
    assert {outcome.stream for outcome in run.tap.report.failed} == {path}
    assert run.records[path] == []
    books.check()


def test_a_record_that_a_gateway_makes_up_is_not_taken_for_the_requested_one(
    server: SandboxServer, books: Books
) -> None:
    first, _ = businesses_of(server)
    server.faults.poison = {key(3): "full"}  # its pages fail, so that it is requested by its id
    server.faults.add(Fault("contacts/*", 200, by="gateway", times=None))
    run = books.run("contacts", "deletions")
    assert isinstance(run.error, IncompleteRunError)
    assert set(books.warehouse.live("contacts", first.id)) == {key(number) for number in range(1, ROWS + 1)} - {key(3)}
    server.faults.poison = {}
    books.check("contacts")


# Sage's own refusals


@pytest.mark.slow
@pytest.mark.parametrize("code", ["MultiUserAccessDenied", "RecordNotFound", "AuthorizationFailure"])
def test_a_run_in_which_sage_refuses_everything_fails_and_keeps_the_login(
    server: SandboxServer, books: Books, code: str
) -> None:
    books.run(*STREAMS, "businesses", "user")
    before = books.state
    for business in businesses_of(server):
        match code:
            case "MultiUserAccessDenied":
                business.permissions = dict.fromkeys(business.permissions, "no_access")
            case "RecordNotFound":
                server.faults.add(Fault(BOOKS, 404, times=None))
            case _:
                business.subscribed = False
    run = books.run(*STREAMS, "businesses", "user")
    assert isinstance(run.error, RefusedRunError)
    stated = str(run.error)
    assert "\n" not in stated
    assert stated.startswith("Sage refused every read of this run (Business 1 ")
    assert "Bookmarks and tokens are kept." in stated
    assert books.state == before
    assert books.told_deleted == set()

    for business in businesses_of(server):
        business.subscribed = True
        business.permissions = dict.fromkeys(business.permissions, "full_access")
    refreshes = server.grants.refreshes
    books.check()
    assert server.grants.refreshes == refreshes
    assert not server.grants.refusals


def test_a_long_list_of_refused_businesses_is_cut_short(server: SandboxServer, run_tap: RunTap) -> None:
    server.world.businesses.update(plain_world(businesses=9).businesses)
    for business in server.world.businesses.values():
        business.subscribed = False
    run = run_tap("contacts")
    assert isinstance(run.error, RefusedRunError)
    assert "; and 6 more)" in str(run.error)


@pytest.mark.parametrize("lapsed", [True, False], ids=["subscription", "rights"])
def test_a_business_of_which_everything_is_refused_is_named_and_the_others_arrive(
    server: SandboxServer, books: Books, *, lapsed: bool
) -> None:
    refused, other = businesses_of(server)
    if lapsed:
        refused.subscribed = False
    else:
        refused.permissions = dict.fromkeys(refused.permissions, "no_access")
    run = books.run(*STREAMS, "businesses")
    assert run.error is None
    [stated] = [line for line in run.log if line.startswith("Sage refused everything of ")]
    why = "its edition, country or subscription does not offer" if lapsed else "the user's role there does not include"
    assert stated.startswith(f"Sage refused everything of {refused.name} ({refused.id}): {why}")
    assert not any(line.startswith("Skipped of") for line in run.log)
    assert len(books.warehouse.live("contacts", other.id)) == ROWS


def test_a_run_of_one_stream_that_the_edition_lacks_says_so_and_fails(server: SandboxServer, books: Books) -> None:
    for business in businesses_of(server):
        business.edition = "Start"
    run = books.run("stock_items")
    assert isinstance(run.error, RefusedRunError)
    assert "edition, country or subscription" in str(run.error)


def test_the_connection_test_does_not_take_first_records_for_refusals(server: SandboxServer, tmp_path: Path) -> None:
    first, _ = businesses_of(server)
    first.edition = "Start"
    settings = server.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}")
    tap = TapSageAccounting(config=settings, message_writer=Recorder())
    for name, stream in tap.streams.items():
        stream.selected = name in STREAMS
    assert tap.run_connection_test()


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403, 404])
def test_deletions_that_sage_refuses_to_list_beside_a_readable_list_fail_the_read(
    server: SandboxServer, books: Books, status: int
) -> None:
    books.run()
    first, _ = businesses_of(server)
    delete(server, first, "contacts")
    server.faults.add(Fault("contacts", status, param="deleted_since", times=None))
    run = books.run()
    assert isinstance(run.error, IncompleteRunError)
    assert {outcome.stream for outcome in run.tap.report.failed} == {"contacts"}
    books.check()
    assert books.told_deleted == {"contacts"}


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_in_the_middle_of_a_list_is_a_failure_of_that_read(
    server: SandboxServer, books: Books, status: int
) -> None:
    first, _ = businesses_of(server)
    server.faults.add(Fault("contacts", status, page=3, business=first.id, times=None))
    run = books.run(page_size=2, concurrency=1)
    assert isinstance(run.error, IncompleteRunError)
    [failed] = run.tap.report.failed
    assert failed.stream == "contacts"
    assert failed.reason.startswith("refused in the middle: ")
    assert "replication_key_value" not in books.kept("contacts", first)
    books.check()


@pytest.mark.parametrize("status", [403, 404])
def test_a_record_that_sage_lists_and_refuses_is_missing_and_not_skipped(
    server: SandboxServer, books: Books, status: int
) -> None:
    first, _ = businesses_of(server)
    server.faults.poison = {key(3): "full"}
    server.faults.add(Fault("contacts/*", status, business=first.id, times=None))
    run = books.run("contacts", "deletions")
    assert isinstance(run.error, IncompleteRunError)
    assert run.tap.report.skipped == []
    assert key(3) in run.tap.report.failed[0].reason
    server.faults.poison = {}
    books.check("contacts")


# Businesses that lose an edition, their subscription or a right


LOST = {
    "edition": ("stock_items", "stock_movements"),
    "subscription": LISTS,
    "right": ("sales_quotes", "stock_items", "stock_movements"),
}


def lose(business: Business, what: str) -> None:
    match what:
        case "edition":
            business.edition = "Standard"
        case "subscription":
            business.subscribed = False
        case _:
            business.permissions |= dict.fromkeys(("sales", "catalogs", "purchases"), "no_access")


def regain(business: Business) -> None:
    business.edition, business.subscribed = "Plus", True
    business.permissions = dict.fromkeys(business.permissions, "full_access")


def memory(books: Books, stream: str, business: Business, lists: str) -> dict[str, Any]:
    """What the state holds of a list; the bookmark of an empty one follows a day behind."""
    kept = books.kept(stream, business)
    return (
        kept if lists == "refused" else {name: each for name, each in kept.items() if name != "replication_key_value"}
    )


@pytest.mark.slow
@pytest.mark.parametrize("refusal", [401, 404])
@pytest.mark.parametrize("lists", ["refused", "empty"])
@pytest.mark.parametrize("what", LOST)
def test_what_a_business_lost_is_not_deleted_and_goes_on_when_it_is_back(
    server: SandboxServer, books: Books, what: str, lists: Any, refusal: Any
) -> None:
    server.faults.update({"lists_without_offer": lists, "edition_refusal": refusal})
    books.run()
    loser, other = businesses_of(server)
    before = {stream: memory(books, stream, loser, lists) for stream in LOST[what]}
    for stream in LOST[what]:  # after the last run, before the loss
        with server.paused():
            row = loser.collection(stream).rows[key(2)]
            loser.collection(stream).change(row.id, {"displayed_as": "Edited"}, server.world.clock.now())
        if stream != "ledger_entries":
            delete(server, loser, stream)
    lose(loser, what)
    for _ in range(2):
        run = books.run()
        assert run.error is None
        assert {stream: memory(books, stream, loser, lists) for stream in LOST[what]} == before
        assert books.told_deleted == set()
        assert len(books.warehouse.live("stock_movements", loser.id)) == ROWS
    assert len(books.warehouse.live("stock_movements", other.id)) == ROWS
    regain(loser)
    books.check()


def test_a_list_that_everything_was_deleted_from_is_believed_where_the_business_still_has_it(
    server: SandboxServer, books: Books
) -> None:
    books.run()
    first, _ = businesses_of(server)
    for number in range(1, ROWS + 1):
        delete(server, first, "stock_movements", number)
        delete(server, first, "sales_quotes", number)
    server.requests.clear()
    assert books.run().error is None
    assert len(server.requests.of(f"businesses/{first.id}")) == 2
    assert books.warehouse.live("stock_movements", first.id) == books.warehouse.live("sales_quotes", first.id) == {}
    assert disagreements(server.world, books.warehouse, LISTS) == []


@pytest.mark.parametrize("ended", ["edition", "subscription"])
def test_records_that_are_not_found_are_not_deleted_where_the_business_no_longer_has_their_list(
    server: SandboxServer, books: Books, ended: str
) -> None:
    """An empty list with 200, and Sage's own 404 for each record: as if all of them had been deleted."""
    books.run()
    first, _ = businesses_of(server)
    rows = first.collection("stock_movements").rows
    kept = dict(rows)
    if ended == "edition":
        first.edition = "Standard"
        server.faults.update({"lists_without_offer": "empty", "edition_refusal": 404})
    else:
        first.body["subscriptions"][0]["status"] = "expired"
        rows.clear()
        first.collection("stock_movements").version += 1
    run = books.run("stock_movements", "deletions")
    assert run.error is None
    assert books.told_deleted == set()
    rows.update(kept)
    first.collection("stock_movements").version += 1
    first.body["subscriptions"][0]["status"] = "paying"
    regain(first)
    books.check()


# Versions


def versions(run: Run) -> list[str]:
    return [message["stream"] for message in run.messages if message["type"] == "ACTIVATE_VERSION"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        *(Fault("unallocated_artefacts", status, times=None) for status in (403, 404)),
        *(Fault("unallocated_artefacts", status, by="firewall", times=None) for status in (403, 404)),
        *(Fault("unallocated_artefacts", status, page=3, times=None) for status in (403, 404)),
        Fault("unallocated_artefacts", 404, by="gateway", page=2, times=None),
        Fault("unallocated_artefacts", 200, by="gateway", times=None),
    ],
    ids=lambda fault: f"{fault.what} by {fault.by}, page {fault.page}",
)
@pytest.mark.parametrize("businesses", ["one", "all"])
def test_no_version_is_activated_of_a_table_that_was_refused_in_part_or_whole(
    server: SandboxServer, run_tap: RunTap, fault: Fault, businesses: str
) -> None:
    first, _ = businesses_of(server)
    warehouse = Warehouse(versions=True)
    settings = {"emit_activate_version_messages": True, "page_size": 2, "concurrency": 1}
    streams = ("unallocated_artefacts", "contacts")
    before = run_tap(*streams, **settings)
    assert versions(before) == ["unallocated_artefacts"]
    warehouse.load(before.messages)
    server.faults.add(replace(fault, business=first.id if businesses == "one" else None))
    with server.paused():
        server.world.clock.advance(timedelta(seconds=2))
    run = run_tap(*streams, state=before.state, **settings)
    assert versions(run) == []
    warehouse.load(run.messages)
    assert disagreements(server.world, warehouse, streams) == []


# The list of businesses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "kind", "stated"),
    [
        (Fault("businesses", 403, times=None), RefusedRunError, "Sage does not let this user list businesses"),
        (Fault("businesses", 404, times=None), RefusedRunError, "Sage does not let this user list businesses"),
        (Fault("businesses", 403, by="firewall", times=None), RetriesExhaustedError, "in Sage's place"),
        (Fault("businesses", 404, by="gateway", times=None), RetriesExhaustedError, "in Sage's place"),
        (Fault("businesses", 302, by="firewall", times=None), RetriesExhaustedError, "check the setting 'api_url'"),
        (Fault("businesses", 407, by="firewall", times=None), RetriesExhaustedError, "HTTPS_PROXY"),
        (Fault("businesses", 200, by="firewall", times=None), RetriesExhaustedError, "is a web page"),
        (Fault("businesses", 200, by="gateway", times=None), RetriesExhaustedError, "list of businesses, page 1"),
        (Fault("businesses", 504, times=None), RetriesExhaustedError, "businesses"),
    ],
    ids=lambda each: f"{each.what} by {each.by}" if isinstance(each, Fault) else "",
)
def test_a_list_of_businesses_that_is_not_to_be_had_ends_the_run_in_one_line(
    server: SandboxServer, books: Books, fault: Fault, kind: type[Exception], stated: str
) -> None:
    books.run()
    before = books.state
    server.faults.add(replace(fault))
    run = books.run()
    assert isinstance(run.error, kind)
    assert stated in str(run.error)
    assert "\n" not in str(run.error)
    assert run.records == {}
    assert books.state == before
    books.check()


def test_a_list_of_businesses_without_any_ends_the_run_in_one_line(server: SandboxServer, books: Books) -> None:
    books.run()
    before = books.state
    with server.paused():
        listed = dict(server.world.businesses)
        server.world.businesses.clear()
    run = books.run()
    assert isinstance(run.error, SettingsError)
    assert "Sage lists no business for this user" in str(run.error)
    assert books.state == before
    with server.paused():
        server.world.businesses.update(listed)
    books.check()


@pytest.mark.parametrize("page", [1, 2])
def test_a_business_that_is_listed_no_longer_keeps_its_rows_bookmarks_and_ids(
    server: SandboxServer, books: Books, page: int
) -> None:
    books.run()
    gone, other = businesses_of(server)
    before = {stream: books.kept(stream, gone) for stream in LISTS}

    def go() -> None:
        server.world.businesses.pop(gone.id)

    if page == 1:
        go()
    else:
        server.on_request = before_page("contacts", 1, go)  # while the run is on
    run = books.run()
    server.on_request = None
    assert run.error is None or page > 1
    assert {stream: books.kept(stream, gone) for stream in LISTS} == before
    assert books.told_deleted == set()
    assert len(books.warehouse.live("contacts", other.id)) == ROWS
    with server.paused():
        server.world.businesses[gone.id] = gone
    books.check()
