"""A damaged state is named part by part, and costs no row: what it was needed for is read anew."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.damage import BAD, Path, paths_of, replaced
from sage_workbench.merge import Warehouse, disagreements, trial_balance_disagreements
from sage_workbench.plain_books import LONG_AGO, Ledger, List, plain_world
from tap_sage_accounting.run.state_parts import BOOKMARK, INVENTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

STREAMS = ("contacts", "products", "sales_quotes", "stock_movements", "tax_rates")
SELECTED = (*STREAMS, *Ledger.STREAMS, "trial_balance", "deletions")
SETTINGS: dict[str, Any] = {"page_size": 5, "lookback_window": 60, "deletion_sweep_days": 0}
LONG_READ = "sales_invoices"
TURNS = 5
"""As many as there are bad values let every part meet every one of them."""


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        yield running


class Case:
    """A state and a warehouse after a whole run, and books that have moved on since."""

    def __init__(self, server: SandboxServer, run_tap: RunTap) -> None:
        self.server = server
        self.run_tap = run_tap
        owner = next(iter(server.world.businesses.values()))
        lists = [List(server.world, owner, name) for name in STREAMS]
        self.ledger = Ledger(server.world, owner)
        for rows in lists:
            rows.fill(8)
        for number in range(4):
            self.ledger.post(number)
        first = run_tap(*SELECTED, **SETTINGS)
        assert first.error is None
        self.state = first.state
        self.warehouse = Warehouse()
        self.warehouse.load(first.messages)
        with server.paused():
            server.world.clock.advance(timedelta(hours=1))
            for rows in lists:
                rows.edit(rows.keys[3])
                rows.delete(rows.keys[0])
                rows.insert()
            self.ledger.move(2, timedelta())
            self.ledger.void(1)
            server.world.clock.advance(timedelta(minutes=10))

    def sync(self, state: Any, *, knows_inventories: bool = True) -> Run:
        """Go on from a state, and find every row; a row that only an inventory knew may be stale."""
        run = self.run_tap(*SELECTED, state=copy.deepcopy(state), **SETTINGS)
        assert run.error is None, run.log
        warehouse = copy.deepcopy(self.warehouse)
        warehouse.load(run.messages)
        wrong = disagreements(self.server.world, warehouse, {*STREAMS, *Ledger.STREAMS})
        if not knows_inventories:
            wrong = [each for each in wrong if not each.endswith("stale")]
        wrong += trial_balance_disagreements(self.ledger.owner, self.server.world.clock.now(), warehouse)
        assert wrong == []
        assert "Traceback" not in str(run.log)
        return run


@pytest.fixture
def case(server: SandboxServer, run_tap: RunTap) -> Case:
    return Case(server, run_tap)


def complaints(run: Run) -> list[str]:
    return [line for line in run.log if line.startswith("The state")]


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(TURNS))
def test_whatever_stands_in_the_place_of_a_part_no_row_is_lost(case: Case, turn: int) -> None:
    """Each stream has one damaged part at a time. In each turn, every part meets another value."""
    streams = case.state["bookmarks"]
    paths = [list(paths_of(state, ("bookmarks", name))) for name, state in streams.items()]
    for place in range(max(map(len, paths))):
        state, damaged = case.state, []
        for number, of_stream in enumerate(paths):
            if place < len(of_stream):
                value = BAD[(place + number + turn * len(BAD) // TURNS) % len(BAD)]
                state = replaced(state, of_stream[place], value)
                damaged.append((of_stream[place], value))
        says = complaints(case.sync(state, knows_inventories=False))
        assert len(says) == sum(_is_named(path, value) for path, value in damaged), (damaged, says)


def _is_named(path: Path, value: Any) -> bool:
    """Return whether a value is wrong in its place; no partitions, and any text as a business, are right."""
    match path:
        case (*_, "partitions"):
            return bool(value != [])
        case (*_, "business_id"):
            return not isinstance(value, str) or not value
        case (*_, "older_changed"):
            return value is not True
    return True


@pytest.mark.slow
@pytest.mark.parametrize("value", [None, "yesterday", 7, []], ids=str)
def test_bookmarks_that_are_none_are_named_and_everything_is_read_anew(case: Case, value: Any) -> None:
    run = case.sync({"bookmarks": value}, knows_inventories=False)
    assert complaints(run) == [f"The state is damaged: 'bookmarks' is {value!r}. Everything is read anew."]


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("value", [None, "partitions", [], 5], ids=str)
def test_a_stream_that_is_damaged_as_a_whole_is_read_anew(case: Case, stream: str, value: Any) -> None:
    case.sync(replaced(case.state, ("bookmarks", stream), value), knows_inventories=False)


def test_what_is_known_of_deletions_is_not_lost_with_a_bookmark(case: Case) -> None:
    state = copy.deepcopy(case.state)
    for bookmarks in state["bookmarks"].values():
        for partition in bookmarks["partitions"]:
            if BOOKMARK in partition:
                partition[BOOKMARK] = "yesterday"
    case.sync(state)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["same", "older", "newer", "empty"])
def test_a_business_that_is_there_twice_loses_nothing(case: Case, how: str) -> None:
    state = copy.deepcopy(case.state)
    for bookmarks in state["bookmarks"].values():
        [partition] = bookmarks["partitions"]
        other = copy.deepcopy(partition) if how != "empty" else {"context": partition["context"]}
        for name in [name for name in other if name.endswith(("_value", "_until", "_at"))]:
            other[name] = {"older": "2026-01-01T00:00:00Z", "newer": "2026-06-30T19:00:00Z"}.get(how, other[name])
        bookmarks["partitions"].append(other)
    run = case.sync(state)
    assert bool(complaints(run)) == (how != "same")
    for bookmarks in run.state["bookmarks"].values():
        assert len(bookmarks["partitions"]) == 1


def test_a_damaged_inventory_is_said_to_hide_deletions(case: Case) -> None:
    state = copy.deepcopy(case.state)
    state["bookmarks"]["sales_quotes"]["partitions"][0][INVENTORY] = "!!!"
    says = complaints(case.sync(state, knows_inventories=False))
    assert len(says) == 1
    assert "'sales_quotes' of Business 1" in says[0]
    assert "'inventory' cannot be unpacked: '!!!'" in says[0]
    assert "records deleted since the last run cannot be noticed" in says[0]


def test_a_thousand_damages_are_said_in_a_few_lines(case: Case) -> None:
    state = copy.deepcopy(case.state)
    state["bookmarks"]["contacts"]["partitions"] += [None] * 1000
    run = case.sync(state)
    assert len(complaints(run)) == 20
    assert "So are 980 more parts of the state." in run.log


def test_text_of_a_state_cannot_forge_a_line_of_the_log(case: Case) -> None:
    forged = "\x1b]0;title\x07\nRun finished: 0 records"
    state = replaced(case.state, ("bookmarks", "contacts", "partitions", 0, BOOKMARK), forged)
    state["bookmarks"][forged] = 5
    run = case.sync(state)
    assert len(complaints(run)) == 2
    assert not [line for line in run.log if "\x1b" in line or "\nRun" in line]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["value", "key", "business", "beside", "name"])
def test_half_a_character_costs_no_more_than_its_partition(case: Case, place: str) -> None:
    state = copy.deepcopy(case.state)
    entry = state["bookmarks"]["contacts"]
    [partition] = entry["partitions"]
    match place:
        case "value":
            partition["replication_key_value"] = "2026-\ud83d"
        case "key":
            partition["\ude00"] = 1
        case "business":
            entry["partitions"].append({"context": {"business_id": "\ud83d"}})
        case "beside":
            entry["\ud83d"] = {}
        case "name":
            state["bookmarks"]["\ud83d"] = {}
    says = complaints(case.sync(state))
    assert len(says) == 1
    assert says[0].isprintable()
    assert "holds half of a character" in says[0]


def test_a_zone_that_is_not_named_is_utc(case: Case) -> None:
    state = json.loads(json.dumps(case.state).replace(":00Z", ":00"))
    assert complaints(case.sync(state)) == []


def test_streams_that_are_not_read_keep_their_state(case: Case) -> None:
    state = replaced(case.state, ("bookmarks", "journals"), {"partitions": [{"context": {"business_id": "1"}, "x": 1}]})
    run = case.sync(state)
    assert run.state["bookmarks"]["journals"] == state["bookmarks"]["journals"]


# How far a read came


@pytest.mark.slow
@pytest.mark.parametrize("name", ["since", "began", "part_began", "seen_at", "until", "rows", ""])
def test_a_damaged_mark_of_a_long_read_loses_nothing(server: SandboxServer, run_tap: RunTap, name: str) -> None:
    rows = List(server.world, next(iter(server.world.businesses.values())), LONG_READ)
    for number in range(40):
        rows.insert(LONG_AGO + timedelta(minutes=number))
    settings = {**SETTINGS, "concurrency": 1}
    first = run_tap(LONG_READ, **settings)
    marked = [n for n, message in enumerate(first.messages) if "interrupted" in str(message.get("value"))]
    begun = Warehouse()
    begun.load(first.messages[: marked[-1]])
    state = first.messages[marked[-1]]["value"]
    path = ("bookmarks", LONG_READ, "partitions", 0, "interrupted", *([name] if name else []))
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
        rows.edit(rows.keys[10])
        rows.delete(rows.keys[5])
    for value in (*BAD, {**state["bookmarks"][LONG_READ]["partitions"][0]["interrupted"], "more": 1}):
        run = run_tap(LONG_READ, state=replaced(state, path, value), **settings)
        assert run.error is None
        assert len(complaints(run)) == (name != "since" or value is not None), value
        warehouse = copy.deepcopy(begun)
        warehouse.load(run.messages)
        assert disagreements(server.world, warehouse, [LONG_READ]) == [], value
