"""A wrong response of Sage or of others loses no row silently: it arrives later, or the run fails."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import Row
from sage_workbench.merge import Warehouse, disagreements, trial_balance_disagreements
from sage_workbench.pipeline import catalog_of
from sage_workbench.plain_books import LONG_AGO, NOW, Ledger, List, before_page, plain_world
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_sandbox.api import Call
    from sage_sandbox.faults import Answerer
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

ONE_OF_EACH_KIND = ("contacts", "sales_invoices", "sales_quotes", "stock_movements", "ledger_entries")
"""Lists whose deletions are reported, one of them sorted; whose deletions are not; and one with flagged rows."""


class Books:
    """Books, the warehouse that follows them, and the runs in between."""

    def __init__(self, server: SandboxServer, run_tap: RunTap) -> None:
        self.server = server
        self.warehouse = Warehouse(versions=True)
        self.state: dict[str, Any] = {}
        self.run: Run
        self._run_tap = run_tap
        self.owner, self.other = server.world.businesses.values()
        self.streams: set[str] = set()

    def fill(self, stream: str, rows: int) -> List:
        """Fill a list with rows that were made one minute after the other."""
        made = List(self.server.world, self.owner, stream)
        for number in range(rows):
            made.insert(LONG_AGO + timedelta(minutes=number))
        self.streams.add(stream)
        return made

    def sync(self, *, may_fail: bool = False, **settings: Any) -> Run:
        """Run, load what comes, and keep the state."""
        self.run = self._run_tap(*self.streams, "deletions", state=copy.deepcopy(self.state), **settings)
        assert may_fail or self.run.error is None, self.run.log
        self.warehouse.load(self.run.messages)
        self.state = self.run.state or self.state
        return self.run

    def pass_time(self, **time: float) -> None:
        with self.server.paused():
            self.server.world.clock.advance(timedelta(**time))

    def wrong(self) -> list[str]:
        return disagreements(self.server.world, self.warehouse, self.streams)

    def require_no_silent_loss(self) -> None:
        """Find every row after a run that did not fail, else after one more without wrong responses."""
        assert self.run.error is not None or self.wrong() == []
        self.server.on_request = None
        self.server.faults.update({"script": [], "short_pages": None, "next_present": True, "poison": {}})
        self.pass_time(hours=1)
        self.sync(deletion_sweep_days=0)
        assert self.wrong() == []


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world(businesses=2)) as running:
        yield running


@pytest.fixture
def books(server: SandboxServer, run_tap: RunTap) -> Books:
    return Books(server, run_tap)


# Nothing, where something is


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["contacts", "sales_invoices", "ledger_entries", "sales_quotes"])
def test_changes_from_before_days_of_empty_responses_arrive_after_them(books: Books, stream: str) -> None:
    rows = books.fill(stream, 5)
    books.sync()
    books.pass_time(hours=1)
    rows.edit(rows.keys[2])
    rows.insert()
    books.pass_time(minutes=1)
    books.server.faults.lists_without_offer = "empty"
    books.owner.subscribed = False
    for _ in range(4):
        books.sync()
        books.pass_time(days=1)
    books.owner.subscribed = True
    books.sync()
    assert books.wrong() == []


@pytest.mark.parametrize("stream", ["contacts", "unallocated_artefacts", "currencies"])
def test_a_list_that_is_said_to_be_empty_does_not_empty_its_table(books: Books, stream: str) -> None:
    rows = books.fill(stream, 5)
    other = List(books.server.world, books.other, stream)
    other.fill(2)
    catalog = catalog_of(books.server.tap_config(), [stream])
    for entry in catalog["streams"]:
        if entry["tap_stream_id"] == stream:
            entry["metadata"][0]["metadata"]["forced-replication-method"] = "FULL_TABLE"
            entry["replication_method"] = "FULL_TABLE"
    settings: dict[str, Any] = {"emit_activate_version_messages": True, "catalog": catalog}
    books.sync(**settings)
    assert books.wrong() == []
    books.pass_time(days=1)
    books.server.faults.lists_without_offer = "empty"
    books.owner.subscribed = False
    books.sync(**settings)
    assert len(books.warehouse.rows(stream, books.owner.id)) == len(rows.keys)
    books.owner.subscribed = True
    rows.delete(rows.keys[0])
    books.pass_time(days=1)
    books.sync(**settings)
    assert books.wrong() == []


@pytest.mark.parametrize("stream", ["currencies", "sales_quotes"])
def test_a_list_that_is_empty_is_believed_of_a_business_whose_accounts_are_shown(books: Books, stream: str) -> None:
    """Sage was seen to call subscriptions expired of businesses that work."""
    rows = books.fill(stream, 3)
    List(books.server.world, books.owner, "ledger_accounts").fill(1)
    for each in books.owner.body["subscriptions"]:
        each["status"] = "expired"
    settings: dict[str, Any] = {"emit_activate_version_messages": True, "deletion_sweep_days": 0}
    books.sync(**settings)
    books.pass_time(days=1)
    for key in rows.keys:
        rows.delete(key)
    books.sync(**settings)
    assert books.wrong() == []


# Deletions that are none


@pytest.mark.slow
@pytest.mark.parametrize("tombstones", ["full", "id_only"])
@pytest.mark.parametrize("columns", [{"displayed_as", "updated_at"}, {"displayed_as", "created_at"}, {"name"}, None])
def test_live_rows_are_not_taken_for_deleted_where_the_filter_for_deletions_is_ignored(
    books: Books, columns: set[str] | None, tombstones: str
) -> None:
    rows = books.fill("contacts", 5)
    for key in rows.keys:
        rows.collection.change(key, {"name": "Somebody"}, LONG_AGO)
    catalog = catalog_of(books.server.tap_config(), ["contacts", "deletions"])
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if entry["tap_stream_id"] == "contacts" and metadata["breadcrumb"] and columns is not None:
                metadata["metadata"]["selected"] = metadata["breadcrumb"][-1] in columns
    books.server.faults.update({"deleted_since": "ignored", "tombstones": tombstones})
    books.sync(catalog=catalog)
    books.pass_time(hours=1)
    books.sync(catalog=catalog)
    assert len(books.warehouse.live("contacts", books.owner.id)) == 5
    assert not books.run.records["deletions"]


# Pages that lie


def test_deletions_that_slip_from_page_to_page_are_noticed(books: Books) -> None:
    rows = books.fill("contacts", 12)
    books.sync(page_size=3, lookback_window=0)
    books.pass_time(hours=1)
    for key in rows.keys[:9]:
        rows.delete(key)
    books.pass_time(hours=1)

    def forget_one() -> None:
        tombstones = rows.collection.tombstones
        tombstones.pop(next(iter(tombstones)))
        rows.collection.version += 1

    def on_request(call: Call) -> None:
        if "deleted_since" in call.params and call.page == 2 and len(rows.collection.tombstones) == 9:
            forget_one()

    books.server.on_request = on_request
    books.sync(page_size=3, lookback_window=0)
    books.server.on_request = None
    books.pass_time(hours=1)
    books.sync(page_size=3, lookback_window=0)
    assert books.wrong() == []


@pytest.mark.parametrize("what", ["same_page", "first_page", "empty_page"])
def test_a_page_of_deletions_that_comes_twice_hides_none(books: Books, what: str) -> None:
    rows = books.fill("contacts", 12)
    books.sync(page_size=3, lookback_window=0)
    books.pass_time(hours=1)
    for key in rows.keys[:9]:
        rows.delete(key)
    books.pass_time(hours=1)
    books.server.faults.add(Fault("contacts", what, page=3, param="deleted_since", times=1))
    books.run = books._run_tap(
        "contacts", "deletions", state=copy.deepcopy(books.state), page_size=3, lookback_window=0
    )
    books.warehouse.load(books.run.messages)
    books.state = books.run.state or books.state
    books.pass_time(hours=1)
    books.sync(page_size=3, lookback_window=0)
    assert books.wrong() == []


@pytest.mark.slow
@pytest.mark.parametrize("stream", ONE_OF_EACH_KIND)
@pytest.mark.parametrize("next_present", [True, False])
@pytest.mark.parametrize("served", [2, 4])
def test_pages_that_are_shorter_than_they_say_lose_no_row(
    books: Books, stream: str, served: int, *, next_present: bool
) -> None:
    books.fill(stream, 13)
    books.server.faults.update({"short_pages": served, "next_present": next_present})
    books.sync(may_fail=True, page_size=5)
    books.require_no_silent_loss()


@pytest.mark.slow
@pytest.mark.parametrize(
    "lies",
    [
        {"$total": None, "$next": None},
        {"$total": None, "$next": None, "$itemsPerPage": None},
        {"$total": 0, "$next": None, "$page": None},
        {"$total": 3},
        {"$total": 14},
        {"$next": "https://elsewhere.invalid/list?page=2"},
        {"$page": None, "$next": None},
        {"$itemsPerPage": 2},
        {"$itemsPerPage": 500, "$next": None},
    ],
    ids=str,
)
@pytest.mark.parametrize(("stream", "short_pages"), [("contacts", None), ("contacts", 4), ("sales_quotes", 4)])
def test_an_envelope_that_lies_loses_no_row(
    books: Books, stream: str, lies: dict[str, Any], short_pages: int | None
) -> None:
    books.fill(stream, 13)
    books.server.faults.short_pages = short_pages
    books.server.faults.add(Fault(stream, "envelope", envelope=lies, times=None))
    books.sync(may_fail=True, page_size=5)
    books.require_no_silent_loss()


@pytest.mark.parametrize("next_present", [True, False])
def test_a_row_that_goes_from_a_page_that_is_read_in_parts_does_not_end_the_list(
    books: Books, *, next_present: bool
) -> None:
    rows = books.fill("contacts", 60)
    books.server.faults.update({"next_present": next_present, "poison": {rows.keys[7]: "full"}})
    books.server.faults.add(Fault("contacts", "envelope", envelope={"$total": None}, times=None))

    def on_request(call: Call) -> None:
        if call.path == f"contacts/{rows.keys[7]}" and len(rows.keys) == 60:
            rows.delete(rows.keys[7])

    books.server.on_request = on_request
    books.sync(may_fail=True, page_size=25)
    assert len(rows.keys) == 59
    books.require_no_silent_loss()


# Responses that are none, or half of one


@pytest.mark.slow
@pytest.mark.parametrize(("stream", "times"), [("contacts", None), ("stock_movements", 1)])
@pytest.mark.parametrize("what", ["cut", "cut_chunks", "cut_gzip", "cut_unframed"])
def test_half_of_a_page_is_not_taken_for_a_page(books: Books, stream: str, what: str, times: int | None) -> None:
    books.fill(stream, 13)
    books.server.faults.add(Fault(stream, what, page=2, times=times))
    books.sync(may_fail=True, page_size=5)
    assert books.run.error is None or times is None
    books.require_no_silent_loss()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "by"),
    [(201, "gateway"), (203, "gateway"), (204, "nobody"), (206, "gateway"), (304, "nobody"), (307, "gateway")],
)
def test_no_status_but_success_brings_a_page(books: Books, status: int, by: Answerer) -> None:
    rows = books.fill("sales_quotes", 13)
    books.sync(page_size=5)
    books.pass_time(hours=1)
    rows.edit(rows.keys[0])
    rows.delete(rows.keys[1])
    books.server.faults.add(Fault("sales_quotes", status, by=by, times=None))
    books.sync(may_fail=True, page_size=5)
    assert books.run.error is not None
    books.require_no_silent_loss()


# What changes from run to run


@pytest.mark.parametrize("stream", ["sales_quotes", "stock_movements"])
def test_rows_whose_ids_change_their_case_are_the_only_ones_that_are_left(books: Books, stream: str) -> None:
    rows = books.fill(stream, 15)
    books.sync(page_size=4)
    books.pass_time(days=8)
    collection = books.owner.collection(stream)
    for key in rows.keys[9:]:
        old = collection.rows.pop(key)
        body = {**old.render(), "id": key.upper(), "$path": f"/{stream}/{key.upper()}"}
        collection.add(Row(key.upper(), body, old.created_at, books.server.world.clock.now()))
    books.sync(page_size=4)
    assert books.wrong() == []


def test_a_list_that_comes_in_another_order_than_before_is_read_whole(
    books: Books, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TapSageAccounting, "between_checkpoints", 0.0)
    books.fill("sales_invoices", 60)
    settings: dict[str, Any] = {"page_size": 3, "concurrency": 1, "lookback_window": 0}
    first = run_tap("sales_invoices", **settings)
    marked = [n for n, m in enumerate(first.messages) if "interrupted" in str(m.get("value"))]
    cut = marked[len(marked) // 2]
    books.warehouse.load(first.messages[:cut])
    books.state = first.messages[cut]["value"]
    books.pass_time(hours=1)
    books.server.faults.sort = "ignored"
    books.sync(**settings)
    assert books.wrong() == []


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["honest", "stubborn", "lying"])
@pytest.mark.parametrize(("stream", "tombstones"), [("contacts", "full"), ("sales_invoices", "id_only")])
def test_an_old_response_of_a_cache_loses_no_row(books: Books, stream: str, tombstones: str, cache: str) -> None:
    rows = books.fill(stream, 9)
    books.server.faults.update({"tombstones": tombstones, "cache": cache})
    books.sync(lookback_window=0)
    before = copy.deepcopy(books.state)
    books.pass_time(hours=1)
    rows.edit(rows.keys[3])
    rows.delete(rows.keys[0])
    books.server.faults.cache_seconds = 3 * 3600.0
    books.pass_time(minutes=1)
    books.sync(lookback_window=0)
    books.pass_time(minutes=30)
    rows.edit(rows.keys[4])
    rows.insert()
    if cache != "lying":  # an old list of deletions that is dated anew cannot be distinguished from a new one
        rows.delete(rows.keys[1])
    books.pass_time(minutes=30)
    books.state = before  # the same requests once more, as after a run that was killed
    books.sync(lookback_window=0)
    books.pass_time(hours=4)
    books.sync(lookback_window=0)
    assert books.wrong() == []


# What else a read relies on


def test_an_account_that_slips_while_the_trial_balance_looks_for_idle_ones_is_found(books: Books) -> None:
    ledger = Ledger(books.server.world, books.owner)
    for number in range(6):
        ledger.post(number)
    books.streams = {"trial_balance"}
    books.sync(page_size=2)
    assert trial_balance_disagreements(books.owner, NOW, books.warehouse) == []
    books.pass_time(hours=1)
    for number in range(6):
        ledger.void(number)
    spare = ledger.accounts.keys[0]

    def drop() -> None:
        ledger.accounts.collection.rows.pop(spare, None)
        ledger.accounts.collection.version += 1

    books.server.on_request = before_page("ledger_accounts", 2, drop)
    books.sync(page_size=2)
    assert trial_balance_disagreements(books.owner, NOW, books.warehouse) == []
