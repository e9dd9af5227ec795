"""Documents whose lines change without a new `updated_at` are found by reading recent ones again."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.endpoints import ENDPOINTS
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import NOW, List, plain_world
from tap_sage_accounting.extraction import reread
from tap_sage_accounting.run.packed_ids import unpack
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

INVOICES, QUOTES, BILLS = "sales_invoices", "sales_quotes", "purchase_invoices"
DATED = (INVOICES, QUOTES, BILLS)
LINES = {INVOICES: "invoice_lines", QUOTES: "quote_lines", BILLS: "invoice_lines"}
DAYS = 30


class Office:
    """A business with documents of the last 60 days, one a day, whose lines people change."""

    def __init__(self, server: SandboxServer, run_tap: RunTap) -> None:
        self.server = server
        self.warehouse = Warehouse()
        self.state: dict[str, Any] = {}
        self.run: Run
        self._run_tap = run_tap
        self.owner = next(iter(server.world.businesses.values()))
        self.lists = {name: List(server.world, self.owner, name) for name in DATED}
        for name, rows in self.lists.items():
            for age in range(60):
                at = NOW - timedelta(days=age)
                row = rows.insert(at)
                rows.collection.change(row, {"date": at.date().isoformat(), LINES[name]: []}, None)
        server.faults.update({"line_changes_move_time": False})

    def change(self, name: str, age: int, text: str = "another text") -> str:
        """Change a line of the document that is so many days old."""
        row = self.lists[name].keys[age]
        line = {"id": "1" * 32, "displayed_as": text, "description": text}
        self.server.edit_lines(self.owner.id, name, row, {LINES[name]: [line]})
        return row

    def pass_time(self, **time: float) -> None:
        with self.server.paused():
            self.server.world.clock.advance(timedelta(**time))

    def sync(self, **settings: Any) -> list[str]:
        """Run, and give what is said of documents that were read again."""
        chosen = {"reread_documents_days": DAYS, **settings}
        self.run = self._run_tap(*DATED, state=copy.deepcopy(self.state), **chosen)
        assert self.run.error is None, self.run.log
        self.state = self.run.state
        self.warehouse.load(self.run.messages)
        return [line for line in self.run.log if "read again" in line]

    def stale(self) -> list[str]:
        return disagreements(self.server.world, self.warehouse, DATED)

    def partition(self, name: str) -> dict[str, Any]:
        [found] = self.state["bookmarks"][name]["partitions"]
        return dict(found)


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        yield running


@pytest.fixture
def office(server: SandboxServer, run_tap: RunTap) -> Office:
    return Office(server, run_tap)


@pytest.fixture
def watched(office: Office) -> Office:
    """An office whose documents were read, and read again once."""
    office.sync()
    office.pass_time(hours=1)
    office.sync()
    return office


@pytest.mark.parametrize("name", DATED)
def test_a_change_that_did_not_move_the_time_is_delivered_and_reported(watched: Office, name: str) -> None:
    row = watched.change(name, 5)
    watched.pass_time(days=8)
    says = watched.sync()
    assert watched.stale() == []
    assert len(says) == 1
    assert "1 of the 23 documents" in says[0]
    assert f"'{name}' of Business 1" in says[0]
    assert row in says[0]


def test_a_change_that_did_not_move_the_time_is_not_delivered_without_the_setting(watched: Office) -> None:
    watched.change(INVOICES, 5)
    watched.pass_time(days=8)
    assert watched.sync(reread_documents_days=0) == []
    assert len(watched.stale()) == 1


@pytest.mark.slow
def test_documents_are_read_again_once_a_week(watched: Office) -> None:
    read = []
    for _ in range(15):
        watched.pass_time(days=1)
        watched.server.requests.clear()
        watched.sync()
        read.append(sum("from_date" in request.params for request in watched.server.requests.of(INVOICES)))
    assert read == [0] * 6 + [1] + [0] * 6 + [1] + [0]


def test_documents_that_are_older_are_left_alone(watched: Office) -> None:
    watched.change(INVOICES, 45)
    watched.pass_time(days=8)
    assert watched.sync() == []
    assert len(watched.stale()) == 1


def test_a_change_that_moved_the_time_is_no_news(watched: Office) -> None:
    watched.server.faults.update({"line_changes_move_time": True})
    watched.change(INVOICES, 5)
    watched.pass_time(hours=1)
    watched.sync()
    watched.pass_time(days=8)
    assert watched.sync() == []
    assert watched.stale() == []


def test_a_first_load_reads_nothing_twice(office: Office) -> None:
    office.sync()
    assert {name: len(rows) for name, rows in office.run.records.items()} == dict.fromkeys(DATED, 60)


def test_many_changes_are_named_by_number(watched: Office) -> None:
    for age in range(12):
        watched.change(BILLS, age)
    watched.pass_time(days=8)
    [says] = watched.sync()
    assert "12 of the 23 documents" in says
    assert "and 7 more" in says


def test_changes_are_found_at_every_page_size(watched: Office) -> None:
    watched.change(INVOICES, 2)
    watched.pass_time(days=8)
    assert len(watched.sync(page_size=5)) == 1
    assert watched.stale() == []


def test_the_state_grows_by_twenty_bytes_a_document(watched: Office) -> None:
    checksums = watched.partition(INVOICES)["checksums"]
    documents = len(unpack(checksums))
    assert documents == 31
    assert len(checksums) < 23 * documents


def test_too_many_documents_are_delivered_and_not_compared(watched: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reread, "MAX_CHECKSUMS", 10)
    watched.pass_time(days=8)
    watched.sync()
    watched.change(INVOICES, 5)
    watched.pass_time(days=8)
    says = watched.sync()
    assert watched.stale() == []
    assert len(says) == 3
    assert all("too many to find" in line for line in says)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["checksums", "reread_at"])
@pytest.mark.parametrize("value", [None, "yesterday", 7, [], "2099-01-01T00:00:00Z"], ids=str)
def test_a_damaged_memory_of_documents_loses_no_change(watched: Office, key: str, value: Any) -> None:
    watched.change(INVOICES, 5)
    watched.state["bookmarks"][INVOICES]["partitions"][0][key] = value
    watched.pass_time(hours=1)
    watched.sync()
    assert watched.stale() == []
    assert [line for line in watched.run.log if line.startswith("The state of 'sales_invoices'")]


def test_every_list_that_takes_a_date_and_holds_documents_can_be_read_again() -> None:
    dated = {stream.name for stream in STREAMS if stream.dated}
    others = {"ledger_entries", "stock_movements", "transactions", "ledger_accounts"}
    assert dated == {name for name, endpoint in ENDPOINTS.items() if endpoint.dated} - others
