"""No row leaves the tap without its key: the path has it, or the record is left out and reported."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import Row
from sage_workbench.merge import Warehouse
from sage_workbench.plain_books import Ledger, List, plain_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]
    Record = dict[str, Any]

NO_IDS: dict[str, Record] = {
    "null": {"id": None},
    "empty": {"id": ""},
    "blank": {"id": " \t"},
    "object": {"id": {"value": 1}},
    "list": {"id": [1]},
}
LARGE = 2000
"""Characters of a record on a page that is read in one go."""


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world(2)) as running:
        yield running


def fill(server: SandboxServer, stream: str, *, large: bool = False) -> List:
    """Put some rows into a list of each business; give that of the first."""
    lists = [List(server.world, business, stream) for business in server.world.businesses.values()]
    for each in lists:
        each.fill(60)
        for key in each.keys:
            if large:
                each.collection.change(key, {"notes": "x" * LARGE}, each.collection.rows[key].updated_at)
    return lists[0]


def spoil(rows: List, key: str, changes: Record) -> None:
    rows.collection.change(key, changes, rows.collection.rows[key].updated_at)


@pytest.mark.parametrize("large", [False, True], ids=["small page", "large page"])
@pytest.mark.parametrize("kind", NO_IDS)
def test_an_id_that_is_none_is_taken_from_the_records_path(
    server: SandboxServer, run_tap: RunTap, kind: str, *, large: bool
) -> None:
    rows = fill(server, "contacts", large=large)
    spoil(rows, rows.keys[7], NO_IDS[kind])
    run = run_tap("contacts", "deletions")
    assert run.error is None
    arrived = [row["id"] for row in run.records["contacts"] if row["business_id"] == rows.owner.id]
    assert sorted(arrived) == rows.keys
    assert run.bookmark("contacts", rows.owner.id) is not None


def test_an_id_that_is_a_number_is_that_number_as_text(server: SandboxServer, run_tap: RunTap) -> None:
    rows = fill(server, "contacts")
    spoil(rows, rows.keys[7], {"id": 1234})
    arrived = {row["id"] for row in run_tap("contacts").records["contacts"] if row["business_id"] == rows.owner.id}
    assert arrived == {*rows.keys, "1234"} - {rows.keys[7]}


@pytest.mark.slow
@pytest.mark.parametrize("large", [False, True], ids=["small page", "large page"])
@pytest.mark.parametrize("stream", ["contacts", "ledger_entries", "bank_deposits", "currencies"])
def test_a_record_without_id_and_path_is_left_out_and_its_read_fails(
    server: SandboxServer, run_tap: RunTap, stream: str, *, large: bool
) -> None:
    rows = fill(server, stream, large=large)
    for key in rows.keys[7:9]:
        spoil(rows, key, {"id": "", "$path": None})
    run = run_tap(stream, "deletions", state={})
    assert f"1 read failed ({stream})" in str(run.error)
    [failed] = run.tap.report.failed
    assert failed.business.startswith(rows.owner.name)
    assert "2 records without an id" in failed.reason
    warehouse = Warehouse()
    warehouse.load(run.messages)
    assert set(warehouse.rows(stream, rows.owner.id)) == {*rows.keys} - {*rows.keys[7:9]}
    assert run.bookmark(stream, rows.owner.id) is None

    for number in (7, 8):
        spoil(rows, rows.keys[number], {"id": rows.keys[number], "$path": f"/{stream}/{rows.keys[number]}"})
    second = run_tap(stream, "deletions", state=run.state, deletion_sweep_days=0)
    assert second.error is None
    warehouse.load(second.messages)
    assert set(warehouse.live(stream, rows.owner.id)) == {*rows.keys}
    assert second.records["deletions"] == []


@pytest.mark.parametrize("path", ["/contacts/{}", None])
def test_a_deletion_without_an_id_is_found_by_its_path_or_fails_the_read(
    server: SandboxServer, run_tap: RunTap, path: str | None
) -> None:
    rows = fill(server, "contacts")
    first = run_tap("contacts", "deletions")
    gone, other = rows.keys[:2]
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
        for key in (gone, other):
            rows.delete(key)
        stone = rows.collection.tombstones[gone]
        stone.change({"id": None, "$path": path and path.format(gone)}, stone.updated_at)
    second = run_tap("contacts", "deletions", state=first.state)
    reported = {row["id"] for row in second.records["deletions"]}
    assert reported == ({gone, other} if path else {other})
    assert (second.error is None) == bool(path)
    assert None not in {row.get("id") for row in second.records["contacts"]}


@pytest.mark.parametrize(
    ("rate", "currency"),
    [
        ({"$path": "/exchange_rates/USD"}, "USD"),
        ({"$path": "/exchange_rates/USD", "currency": {"id": None}}, "USD"),
        ({"$path": "/exchange_rates/USD", "currency": "dollars"}, "USD"),
        ({"currency": {"id": "USD"}}, "USD"),
        ({"currency": {"id": ""}}, None),
        ({"currency": None}, None),
    ],
    ids=str,
)
def test_an_exchange_rate_has_its_currency_for_a_key(
    server: SandboxServer, run_tap: RunTap, rate: Record, currency: str | None
) -> None:
    business = next(iter(server.world.businesses.values()))
    good = {"$path": "/exchange_rates/EUR", "currency": {"id": "EUR"}, "rate": "1.1"}
    for number, body in enumerate((good, {"rate": "1.2", **rate})):
        business.collection("exchange_rates").add(Row(str(number), dict(body), None, None))
    run = run_tap("exchange_rates")
    assert {row["currency_id"] for row in run.records["exchange_rates"]} == {"EUR", currency} - {None}
    assert (run.error is None) == (currency is not None)


def test_an_account_of_the_trial_balance_without_an_id_is_found_by_its_path(
    server: SandboxServer, run_tap: RunTap
) -> None:
    ledger = Ledger(server.world, next(iter(server.world.businesses.values())))
    for number in range(12):
        ledger.post(number)
    usual = run_tap("trial_balance", business_ids=[ledger.owner.id]).records["trial_balance"]
    server.faults.trial_balance_ids = False
    run = run_tap("trial_balance", business_ids=[ledger.owner.id])
    assert run.error is None
    assert {row["ledger_account_id"] for row in usual} == {*ledger.accounts.keys}
    assert run.records["trial_balance"] == usual


@pytest.mark.parametrize("large", [False, True], ids=["small page", "large page"])
@pytest.mark.parametrize("stream", ["contacts", "ledger_entries", "currencies"])
def test_a_row_that_is_no_object_keeps_no_other_row_from_arriving(
    server: SandboxServer, run_tap: RunTap, stream: str, *, large: bool
) -> None:
    rows = fill(server, stream, large=large)
    server.faults.add(Fault(stream, "odd_rows", business=rows.owner.id, times=None))
    run = run_tap(stream)
    [failed] = run.tap.report.failed
    assert failed.business.startswith(rows.owner.name)
    assert "2 records without an id" in failed.reason
    arrived = {row["id"] for row in run.records[stream] if row["business_id"] == rows.owner.id}
    assert arrived == {*rows.keys}
    assert run.bookmark(stream, rows.owner.id) is None


def test_a_business_that_is_no_object_keeps_no_other_one_from_being_read(
    server: SandboxServer, run_tap: RunTap
) -> None:
    fill(server, "contacts")
    server.faults.add(Fault("businesses", "odd_rows", times=None))
    run = run_tap("contacts")
    assert "1 read failed (businesses)" in str(run.error)
    assert {row["business_id"] for row in run.records["contacts"]} == {*server.world.businesses}


@pytest.mark.parametrize("kind", ["null", "empty", "object"])
def test_a_business_without_an_id_is_named_and_not_requested(server: SandboxServer, run_tap: RunTap, kind: str) -> None:
    fill(server, "contacts")
    _, second = server.world.businesses.values()
    second.body |= {**NO_IDS[kind], "$path": None}
    run = run_tap("contacts")
    [failed] = run.tap.report.failed
    assert (failed.stream, failed.business) == ("businesses", second.name)
    assert len({row["business_id"] for row in run.records["contacts"]}) == 1
