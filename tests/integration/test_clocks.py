"""Clocks that are wrong, Sage's or this machine's, cost rows that are read again, and never one that is missing."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements, trial_balance_disagreements
from sage_workbench.plain_books import LONG_AGO, Ledger, List, plain_world
from tap_sage_accounting import timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

STREAMS = ("contacts", "ledger_entries", "products", "sales_invoices", "sales_quotes", "stock_movements")
HOURS = 3600.0
SETTINGS: dict[str, Any] = {"lookback_window": 60, "page_size": 3, "deletion_sweep_days": 0}
WRONG_CLOCKS: dict[str, dict[str, Any]] = {
    "two hours ahead": {"clock_offsets": [2 * HOURS]},
    "two hours behind": {"clock_offsets": [-2 * HOURS]},
    "a year ahead": {"clock_offsets": [365 * 24 * HOURS]},
    "a year behind": {"clock_offsets": [-365 * 24 * HOURS]},
    "servers that differ": {"clock_offsets": [0.0, 420.0, -300.0, 2 * HOURS]},
    "no Date": {"date_header": "absent"},
    "no date in Date": {"date_header": "garbled"},
    "1970": {"date_header": "unset"},
}


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        yield running


class Books:
    """One business's lists, what people do to them, and the warehouse that follows."""

    def __init__(self, server: SandboxServer, run_tap: RunTap) -> None:
        self.server = server
        self.warehouse = Warehouse()
        self.state: dict[str, Any] = {}
        self._run_tap = run_tap
        owner = next(iter(server.world.businesses.values()))
        self.ledger = Ledger(server.world, owner)
        self.lists = [
            self.ledger.entries if name == "ledger_entries" else List(server.world, owner, name) for name in STREAMS
        ]
        for rows in self.lists:
            if rows is not self.ledger.entries:
                rows.fill(8)
        for number in range(6):
            self.ledger.post(number)

    def pass_time(self, **time: float) -> None:
        with self.server.paused():
            self.server.world.clock.advance(timedelta(**time))

    def work(self) -> None:
        """Edit, delete and add a row of each list, and move a transaction to another month."""
        with self.server.paused():
            for rows in self.lists:
                if rows is not self.ledger.entries:
                    rows.edit(rows.keys[-1])
                    rows.delete(rows.keys[0])
                    rows.insert()
            self.ledger.move(3, timedelta())
            self.ledger.post(len(self.ledger.transactions.keys))

    def sync(self, **settings: Any) -> Run:
        state = copy.deepcopy(self.state)
        streams = (*STREAMS, *Ledger.STREAMS, "trial_balance", "deletions")
        run = self._run_tap(*streams, state=state, **{**SETTINGS, **settings})
        assert run.error is None
        self.warehouse.load(run.messages)
        self.state = run.state
        return run

    def differences(self) -> list[str]:
        world = self.server.world
        found = disagreements(world, self.warehouse, STREAMS)
        return found + trial_balance_disagreements(self.ledger.owner, world.clock.now(), self.warehouse)


@pytest.fixture
def books(server: SandboxServer, run_tap: RunTap) -> Books:
    return Books(server, run_tap)


@pytest.mark.slow
@pytest.mark.parametrize("clock", WRONG_CLOCKS)
@pytest.mark.parametrize("is_quiet", [True, False])
def test_a_run_that_sees_a_wrong_date_loses_nothing_that_happens_later(
    books: Books, clock: str, *, is_quiet: bool
) -> None:
    books.sync()
    books.pass_time(hours=1)
    if not is_quiet:
        books.work()
        books.pass_time(minutes=2)
    books.server.faults.update(WRONG_CLOCKS[clock])
    books.sync()
    books.server.faults.update({"clock_offsets": [], "date_header": "time"})
    for minutes in (20, 50, 80):
        books.pass_time(minutes=minutes)
        books.work()
        books.pass_time(minutes=2)
        books.sync()
        assert books.differences() == []


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-2, 2, 24 * 365])
def test_this_machines_wrong_clock_loses_nothing(books: Books, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    own = timestamps.now
    books.sync()
    books.pass_time(hours=1)
    monkeypatch.setattr(timestamps, "now", lambda: own() + timedelta(hours=hours))
    for minutes in (20, 50, 80):
        books.pass_time(minutes=minutes)
        books.work()
        books.pass_time(minutes=2)
        books.sync()
        assert books.differences() == []


def test_a_quiet_run_is_safe_even_where_both_clocks_are_ahead(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    own = timestamps.now
    books.sync()
    books.pass_time(hours=1)
    with monkeypatch.context() as patch:
        patch.setattr(timestamps, "now", lambda: own() + timedelta(hours=3))
        books.server.faults.update({"clock_offsets": [2 * HOURS]})
        books.sync()
    books.server.faults.update({"clock_offsets": []})
    books.pass_time(minutes=20)
    books.work()
    books.pass_time(minutes=2)
    books.sync()
    assert books.differences() == []


def test_rows_of_one_moment_are_not_read_for_ever(books: Books) -> None:
    books.sync()
    books.pass_time(hours=1)
    again = books.sync()
    assert len(again.records["products"]) == 8
    books.pass_time(days=2)
    books.sync()
    books.pass_time(hours=1)
    assert books.sync().records["products"] == []


def test_the_bookmark_of_a_list_stays_where_nothing_came(books: Books) -> None:
    owner = books.ledger.owner.id
    books.work()
    first = books.sync()
    for _ in range(4):
        books.pass_time(hours=5)
        assert books.sync().bookmark("products", owner) == first.bookmark("products", owner)


@pytest.mark.parametrize(
    ("clock", "says"),
    [
        ("two hours ahead", "Sage's clock says 2026-06-30 20:00:00 UTC, this machine's 2026-06-30 18:00:00 UTC"),
        ("two hours behind", "Sage's clock says 2026-06-30 16:00:00 UTC, this machine's 2026-06-30 18:00:00 UTC"),
        ("servers that differ", "Sage's clock says"),
    ],
)
def test_a_clock_that_is_wrong_is_named_once(books: Books, clock: str, says: str) -> None:
    books.server.faults.update(WRONG_CLOCKS[clock])
    lines = [line for line in books.sync().log if "clock says" in line]
    assert len(lines) == 1
    assert says in lines[0]


@pytest.mark.parametrize("seconds", [-50.0, 0.0, 50.0])
def test_clocks_that_agree_within_a_minute_are_no_news(books: Books, seconds: float) -> None:
    books.server.faults.update({"clock_offsets": [seconds]})
    assert not [line for line in books.sync().log if "clock" in line]


# A read that was cut short


@pytest.mark.slow
@pytest.mark.parametrize("offsets", [(0.0, -2 * HOURS), (2 * HOURS, 0.0), (2 * HOURS, 2 * HOURS), (0.0, 0.0)])
def test_a_deletion_during_a_read_that_was_cut_short_is_noticed_whatever_the_clocks_say(
    server: SandboxServer, run_tap: RunTap, offsets: tuple[float, float]
) -> None:
    """The clock is wrong at the beginning or the end of the read, during which a row went and moved others."""
    rows = List(server.world, next(iter(server.world.businesses.values())), "sales_invoices")
    for number in range(60):
        rows.insert(LONG_AGO + timedelta(minutes=number))
    begun, ended = offsets
    server.faults.update({"clock_offsets": [begun]})

    def act(call: Any) -> None:
        if call.path == "sales_invoices" and call.page == 6:
            server.world.clock.advance(timedelta(minutes=10))
            rows.delete(rows.keys[2])
            rows.insert()  # so that the total stays as it was
            server.world.clock.advance(timedelta(minutes=10))
            server.faults.update({"clock_offsets": [ended]})

    server.on_request = act
    settings = {**SETTINGS, "concurrency": 1}
    run = run_tap("sales_invoices", **settings)
    server.on_request = None
    server.faults.update({"clock_offsets": []})
    marked = [
        n
        for n, message in enumerate(run.messages)
        if message["type"] == "STATE" and "interrupted" in str(message["value"])
    ]
    messages = run.messages[: marked[-1] + 1]
    warehouse = Warehouse()
    warehouse.load(messages)
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
    warehouse.load(run_tap("sales_invoices", state=copy.deepcopy(messages[-1]["value"]), **settings).messages)
    assert disagreements(server.world, warehouse, ["sales_invoices"]) == []
