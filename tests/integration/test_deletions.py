"""What is deleted in Sage is flagged in the target, with everything else that the row held."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.books import advance, build_world
from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import Row, timestamp
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import LONG_AGO, List, before_page, key, plain_world
from tap_sage_accounting.api import endpoint, pages
from tap_sage_accounting.api.endpoint import Endpoint
from tap_sage_accounting.extraction.deletions import missing
from tap_sage_accounting.run.packed_ids import pack, unpack
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_sandbox.api import Call
    from sage_sandbox.store import Body
    from sage_workbench.runs import Run
    from tap_sage_accounting.api.pages import Page

    RunTap = Callable[..., Run]

UNTOLD = [stream.name for stream in STREAMS if stream.deletable and not (stream.deleted_since or stream.retired)]
UNTOLD_WITH_IDS = sorted({*UNTOLD} - {"business_exchange_rates"})
VANISHING = {"unallocated_artefacts"}


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        yield running


def a_list(server: SandboxServer, stream: str, rows: int, business: int = 0) -> List:
    made = List(server.world, list(server.world.businesses.values())[business], stream)
    made.fill(rows)
    return made


def pass_time(server: SandboxServer, **time: float) -> None:
    with server.paused():
        server.world.clock.advance(timedelta(**time))


def deleted(run: Run) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["stream"], row["id"]): row for row in run.records["deletions"]}


# Reported by Sage


@pytest.mark.parametrize("tombstones", ["full", "dated_id", "id_only"])
def test_a_deleted_record_is_flagged_and_keeps_its_columns(
    server: SandboxServer, run_tap: RunTap, tombstones: str
) -> None:
    server.faults.update({"tombstones": tombstones})
    rows = a_list(server, "contacts", 3)
    rows.collection.change(rows.keys[0], {"name": "Ada", "reference": "A1"}, LONG_AGO)
    gone = rows.keys[0]
    first = run_tap("contacts", "deletions")
    warehouse = Warehouse()
    warehouse.load(first.messages)
    before = warehouse.rows("contacts", rows.owner.id)[gone]

    pass_time(server, hours=1)
    moment = timestamp(server.world.clock.now())
    rows.delete(gone)
    pass_time(server, hours=1)
    second = run_tap("contacts", "deletions", state=first.state)
    warehouse.load(second.messages)

    now = timestamp(server.world.clock.now())
    row = warehouse.rows("contacts", rows.owner.id)[gone]
    expected = now if tombstones == "id_only" else moment
    assert row == {**before, "deleted_at": expected}
    assert deleted(second) == {
        ("contacts", gone): {
            "business_id": rows.owner.id,
            "stream": "contacts",
            "id": gone,
            "deleted_at": expected,
            "how": "reported",
        }
    }
    assert disagreements(server.world, warehouse, ["contacts"]) == []


def test_deletions_reported_by_id_on_a_large_page_leave_the_other_columns_alone(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults.update({"tombstones": "id_only"})
    rows = a_list(server, "contacts", 3)
    gone = rows.keys[0]
    rows.collection.change(gone, {"name": "Ada", "reference": "A1"}, LONG_AGO)
    first = run_tap("contacts", "deletions")
    warehouse = Warehouse()
    warehouse.load(first.messages)
    pass_time(server, hours=1)
    rows.delete(gone)
    for module in (endpoint, pages):
        monkeypatch.setattr(module, "SMALL", 0)
    warehouse.load(run_tap("contacts", "deletions", state=first.state).messages)
    row = warehouse.rows("contacts", rows.owner.id)[gone]
    assert (row["name"], row["reference"]) == ("Ada", "A1")
    assert row["deleted_at"]


@pytest.mark.parametrize("tombstones", ["full", "id_only"])
def test_deselected_columns_stay_away_from_flagged_rows_too(
    server: SandboxServer, run_tap: RunTap, tombstones: str
) -> None:
    server.faults.update({"tombstones": tombstones})
    rows = a_list(server, "contacts", 2)
    rows.collection.change(rows.keys[0], {"name": "Ada"}, LONG_AGO)
    catalog = run_tap("user").tap.catalog_dict
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            column = metadata["breadcrumb"][1:]
            wanted = column in ([], ["id"], ["business_id"], ["name"], ["updated_at"], ["deleted_at"])
            metadata["metadata"]["selected"] = entry["tap_stream_id"] == "contacts" and wanted
    warehouse = Warehouse()
    first = run_tap(catalog=catalog)
    warehouse.load(first.messages)
    gone = rows.keys[0]
    pass_time(server, hours=1)
    rows.delete(gone)
    warehouse.load(run_tap(catalog=catalog, state=first.state).messages)
    row = warehouse.rows("contacts", rows.owner.id)[gone]
    assert set(row) == {"business_id", "id", "name", "updated_at", "deleted_at"}
    assert row["name"] == "Ada"
    assert row["deleted_at"] is not None


def test_a_record_deleted_in_the_second_of_the_last_look_is_reported(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 3)
    first = run_tap("contacts", "deletions", lookback_window=0)
    rows.delete(rows.keys[0])
    second = run_tap("contacts", "deletions", lookback_window=0, state=first.state)
    assert len(deleted(second)) == 1


def test_a_change_that_sage_shows_late_is_caught_by_the_lookback(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 3)
    late, other, _ = rows.keys
    pass_time(server, hours=1)
    rows.collection.change(other, {"name": "On time"}, server.world.clock.now())
    first = run_tap("contacts")
    rows.collection.change(late, {"name": "Late"}, server.world.clock.now() - timedelta(seconds=290))
    second = run_tap("contacts", state=first.state)
    assert "Late" in {row["name"] for row in second.records["contacts"]}


def test_a_deletion_that_sage_shows_late_is_caught_by_the_lookback(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 3)
    first = run_tap("contacts", "deletions")
    pass_time(server, hours=1)
    second = run_tap("contacts", "deletions", state=first.state)
    rows.collection.delete(rows.keys[0], server.world.clock.now() - timedelta(seconds=290))
    third = run_tap("contacts", "deletions", state=second.state)
    assert len(deleted(third)) == 1


@pytest.mark.parametrize("page", [2, 3])
def test_a_record_deleted_while_its_list_is_first_read_is_flagged_by_the_next_run(
    server: SandboxServer, run_tap: RunTap, page: int
) -> None:
    rows = a_list(server, "contacts", 9)
    gone = rows.keys[0]
    server.on_request = before_page("contacts", page, lambda: rows.delete(gone))
    first = run_tap("contacts", page_size=3, concurrency=1)
    warehouse = Warehouse()
    warehouse.load(first.messages)
    warehouse.load(run_tap("contacts", state=first.state).messages)
    assert disagreements(server.world, warehouse, ["contacts"]) == []
    assert warehouse.rows("contacts", rows.owner.id)[gone]["deleted_at"] is not None


class Undated(Row):
    """A row that `deleted_since` lists whole, without saying when it was deleted or whether it was at all."""

    def render(self) -> Body:
        return {name: value for name, value in super().render().items() if name != "deleted_at"}


def test_whole_records_without_a_time_of_deletion_are_requested_before_they_count_as_deleted(
    server: SandboxServer, run_tap: RunTap
) -> None:
    rows = a_list(server, "contacts", 2)
    first = run_tap("contacts", "deletions")
    pass_time(server, hours=1)
    for row_id in rows.keys:
        body = {**rows.collection.rows[row_id].render(), "name": "Ada"}
        row = Undated(row_id, body, LONG_AGO, LONG_AGO)
        row.deleted_at = server.world.clock.now()
        rows.collection.tombstones[row_id] = row
    del rows.collection.rows[key(1)]
    second = run_tap("contacts", "deletions", state=first.state)
    assert deleted(second).keys() == {("contacts", key(1))}
    flags = {row["id"]: bool(row.get("deleted_at")) for row in second.records["contacts"]}
    assert flags == {key(1): True, key(2): False}


def test_all_pages_of_deletions_are_read(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 20)
    first = run_tap("contacts", "deletions")
    pass_time(server, hours=1)
    gone = rows.keys[:13]
    for row_id in gone:
        rows.delete(row_id)
    second = run_tap("contacts", "deletions", page_size=3, state=first.state)
    assert {row_id for _, row_id in deleted(second)} == set(gone)


def test_a_deletion_that_sage_cannot_show_whole_is_delivered_in_part(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 5)
    first = run_tap("contacts", "deletions")
    pass_time(server, hours=1)
    gone = rows.keys[:3]
    for row_id in gone:
        rows.delete(row_id)
    server.faults.poison = {gone[1]: "full"}
    second = run_tap("contacts", "deletions", state=first.state)
    assert second.error is None
    assert {row_id for _, row_id in deleted(second)} == set(gone)


def test_a_document_that_is_taken_for_deleted_is_not_marked_as_sent(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "sales_invoices", 3)
    first = run_tap("sales_invoices", "deletions")
    pass_time(server, hours=1)
    server.faults.update({"deleted_since": "ignored", "detail_marks_sent": True})
    for row_id in rows.keys:
        rows.collection.change(row_id, {"notes": "Thank you"}, server.world.clock.now())
    second = run_tap("sales_invoices", "deletions", state=first.state)
    assert deleted(second) == {}
    assert any(each.path.endswith(rows.keys[0]) for each in server.requests.of("sales_invoices"))
    assert not any(row.render().get("sent") for row in rows.collection.rows.values())


def test_deletions_that_could_not_be_read_are_read_next_time(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 3)
    first = run_tap("contacts", "deletions")
    pass_time(server, hours=1)
    rows.delete(rows.keys[0])
    server.faults.poison = {key(1): "always"}
    failed = run_tap("contacts", "deletions", state=first.state)
    assert failed.error is not None
    pass_time(server, days=30)
    server.faults.poison = {}
    again = run_tap("contacts", "deletions", state=failed.state)
    assert deleted(again).keys() == {("contacts", key(1))}


# Flagged, voided, deactivated


@pytest.mark.parametrize("stream", ["ledger_entries", "transactions"])
def test_flagged_rows_arrive_flagged_and_are_listed(server: SandboxServer, run_tap: RunTap, stream: str) -> None:
    rows = a_list(server, stream, 5)
    first = run_tap(stream, "deletions")
    assert deleted(first) == {}
    pass_time(server, hours=1)
    rows.delete(rows.keys[1])
    second = run_tap(stream, "deletions", state=first.state)
    flags = {row["id"]: row["deleted"] for row in second.records[stream]}
    assert flags[rows.keys[1]] is True
    assert deleted(second)[stream, rows.keys[1]]["how"] == "flagged"


def test_a_voided_document_is_no_deletion(run_tap: RunTap, server: SandboxServer) -> None:
    rows = a_list(server, "sales_invoices", 3)
    first = run_tap("sales_invoices", "deletions")
    pass_time(server, hours=1)
    voided = rows.keys[0]
    status = {"id": "VOID", "displayed_as": "Void", "$path": "/artefact_statuses/VOID"}
    changes = {"status": status, "void_reason": "Sent twice"}
    rows.collection.change(voided, changes, server.world.clock.now())
    second = run_tap("sales_invoices", "deletions", state=first.state)
    [row] = [row for row in second.records["sales_invoices"] if row["id"] == voided]
    assert (row["status"]["id"], row["void_reason"], row.get("deleted_at")) == ("VOID", "Sent twice", None)
    assert deleted(second) == {}


@pytest.mark.parametrize("inactive_items", ["listed", "hidden"])
@pytest.mark.parametrize("stream", ["products", "services", "stock_items"])
def test_the_deletion_of_an_inactive_item_is_reported_once(
    server: SandboxServer, run_tap: RunTap, stream: str, inactive_items: str
) -> None:
    server.faults.update({"inactive_items": inactive_items})
    rows = a_list(server, stream, 3)
    inactive, active, _ = rows.keys
    for row_id in rows.keys:
        rows.collection.change(row_id, {"active": row_id != inactive}, LONG_AGO)
    first = run_tap(stream, "deletions")
    pass_time(server, hours=1)
    rows.delete(inactive)
    rows.delete(active)
    second = run_tap(stream, "deletions", state=first.state)
    assert sorted(row["id"] for row in second.records["deletions"]) == sorted([inactive, active])


@pytest.mark.parametrize("inactive_items", ["listed", "hidden"])
@pytest.mark.parametrize("stream", ["products", "services", "stock_items", "product_sales_price_types"])
def test_deactivated_items_are_no_deletions(
    server: SandboxServer, run_tap: RunTap, stream: str, inactive_items: str
) -> None:
    server.faults.update({"inactive_items": inactive_items})
    rows = a_list(server, stream, 3)
    for row_id in rows.keys:
        rows.collection.change(row_id, {"active": True}, LONG_AGO)
    first = run_tap(stream, "deletions")
    pass_time(server, days=8)
    rows.collection.change(rows.keys[0], {"active": False}, server.world.clock.now())
    second = run_tap(stream, "deletions", state=first.state)
    assert {row["id"]: row["active"] for row in second.records[stream]}[rows.keys[0]] is False
    assert deleted(second) == {}


@pytest.mark.parametrize("stream", ["products", "services", "stock_items"])
def test_what_happens_between_the_parts_of_a_list_arrives_whichever_part_is_served_first(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    """The second part is served ten minutes before the first, as in an outage of one address."""
    rows = a_list(server, stream, 6)
    *inactive, active, other = rows.keys
    for row_id in rows.keys:
        rows.collection.change(row_id, {"active": row_id not in inactive}, LONG_AGO)
    warehouse, first = Warehouse(), run_tap(stream)
    warehouse.load(first.messages)
    pass_time(server, hours=2)
    request, second_part, held = Endpoint.page, threading.Event(), threading.Lock()

    def in_turn(self: Endpoint, *arguments: Any, **options: Any) -> Page:
        if self.path != f"/{stream}" or "deleted_since" in self.params:
            return request(self, *arguments, **options)
        if self.params.get("active") == "false":
            page = request(self, *arguments, **options)
            second_part.set()
            return page
        if held.acquire(blocking=False):
            assert second_part.wait(60)
            pass_time(server, seconds=5)
            rows.edit(inactive[0])
            rows.delete(inactive[1])
            pass_time(server, minutes=10)
            rows.edit(active)
            rows.delete(other)
        return request(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Endpoint, "page", in_turn)
        second = run_tap(stream, state=first.state)
    warehouse.load(second.messages)
    pass_time(server, hours=1)
    warehouse.load(run_tap(stream, state=second.state).messages)
    assert disagreements(server.world, warehouse, [stream]) == []


def test_deactivated_contacts_still_arrive(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "contacts", 3)
    rows.collection.change(rows.keys[0], {"is_active": False}, LONG_AGO)
    assert {row["id"] for row in run_tap("contacts").records["contacts"]} == set(rows.keys)


# Not reported: found missing


@pytest.mark.slow
@pytest.mark.parametrize("stream", UNTOLD_WITH_IDS)
def test_an_unreported_deletion_is_found(server: SandboxServer, run_tap: RunTap, stream: str) -> None:
    rows = a_list(server, stream, 4)
    first = run_tap(stream, "deletions", deletion_sweep_days=0)
    pass_time(server, hours=1)
    rows.delete(rows.keys[1])
    second = run_tap(stream, "deletions", deletion_sweep_days=0, state=first.state)
    warehouse = Warehouse()
    warehouse.load(first.messages)
    before = warehouse.rows(stream, rows.owner.id)[key(2)]
    warehouse.load(second.messages)
    assert deleted(second)[stream, key(2)]["how"] == "missing"
    flagged = warehouse.rows(stream, rows.owner.id)[key(2)]
    assert flagged == {**before, "deleted_at": timestamp(server.world.clock.now())}
    assert disagreements(server.world, warehouse, [stream]) == []
    third = run_tap(stream, "deletions", deletion_sweep_days=0, state=second.state)
    assert deleted(third) == {}


def test_an_unreported_deletion_is_found_when_the_sweep_is_due_and_not_before(
    server: SandboxServer, run_tap: RunTap
) -> None:
    rows = a_list(server, "sales_quotes", 4)
    run = run_tap("sales_quotes", "deletions")
    rows.delete(rows.keys[1])
    noticed = []
    for _ in range(8):
        pass_time(server, days=1)
        run = run_tap("sales_quotes", "deletions", state=run.state)
        noticed.append(len(deleted(run)))
    assert noticed == [0, 0, 0, 0, 0, 0, 1, 0]


def test_a_record_that_came_and_went_between_two_sweeps_is_found(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "sales_quotes", 2)
    run = run_tap("sales_quotes", "deletions")
    warehouse = Warehouse()
    warehouse.load(run.messages)
    pass_time(server, days=1)
    short_lived = rows.insert()
    run = run_tap("sales_quotes", "deletions", state=run.state)
    warehouse.load(run.messages)
    pass_time(server, days=1)
    rows.delete(short_lived)
    pass_time(server, days=7)
    run = run_tap("sales_quotes", "deletions", state=run.state)
    warehouse.load(run.messages)
    assert deleted(run).keys() == {("sales_quotes", short_lived)}
    assert disagreements(server.world, warehouse, ["sales_quotes"]) == []


def test_a_slipped_row_is_not_taken_for_deleted(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "stock_movements", 10)
    first = run_tap("stock_movements", "deletions")
    gone = rows.keys[0]

    def move() -> None:
        rows.delete(gone)
        rows.insert()

    server.on_request = before_page("stock_movements", 2, move)
    second = run_tap("stock_movements", "deletions", page_size=3, concurrency=1, state=first.state)
    assert set(deleted(second)) <= {("stock_movements", gone)}
    third = run_tap("stock_movements", "deletions", state=second.state)
    assert {*deleted(second), *deleted(third)} == {("stock_movements", gone)}


def test_a_row_that_a_sweep_missed_is_requested_and_not_reported(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "sales_quotes", 10)
    rows.insert(LONG_AGO + timedelta(days=1))
    first = run_tap("sales_quotes", "deletions")
    pass_time(server, days=8)
    gone = rows.keys[0]

    def delete_between_pages_of_the_sweep(call: Call) -> None:
        if call.path == "sales_quotes" and "attributes" not in call.params and call.page == 2 and gone in rows.keys:
            rows.delete(gone)

    server.on_request = delete_between_pages_of_the_sweep
    second = run_tap("sales_quotes", "deletions", page_size=3, concurrency=1, state=first.state)
    assert gone not in rows.keys
    assert deleted(second) == {}
    asked_for = [request.path for request in server.requests if request.path.startswith("/v3.1/sales_quotes/")]
    assert asked_for == [f"/v3.1/sales_quotes/{key(4)}"]


def test_a_record_that_sage_fails_on_is_not_taken_for_deleted(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "stock_movements", 5)
    first = run_tap("stock_movements", "deletions")
    server.faults.poison = {rows.keys[2]: "record"}
    second = run_tap("stock_movements", "deletions", state=first.state)
    assert deleted(second) == {}
    server.faults.poison = {}
    assert deleted(run_tap("stock_movements", "deletions", state=second.state)) == {}


def test_a_list_without_ids_is_compared_by_its_paths(server: SandboxServer, run_tap: RunTap) -> None:
    collection = next(iter(server.world.businesses.values())).collection("business_exchange_rates")
    for code in ("EUR", "USD"):
        row = List(server.world, next(iter(server.world.businesses.values())), "business_exchange_rates")
        row_id = row.insert(LONG_AGO)
        found = collection.rows.pop(row_id)
        found.id = code
        found._body = {"displayed_as": code, "$path": f"/business_exchange_rates/{code}"}
        collection.rows[code] = found
    first = run_tap("business_exchange_rates", "deletions")
    pass_time(server, hours=1)
    collection.delete("USD", server.world.clock.now())
    second = run_tap("business_exchange_rates", "deletions", state=first.state)
    assert [row["id"] for row in second.records["deletions"]] == ["USD"]
    marked = [row for row in second.records["business_exchange_rates"] if row.get("deleted_at")]
    assert [row["currency_id"] for row in marked] == ["USD"]


def test_the_memory_of_ids_is_small_and_bounded(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for number in range(1, 5000)}
    assert unpack(pack(ids)) == ids
    assert len(pack(ids)) < 24 * len(ids)
    assert unpack(pack(set())) == set()

    monkeypatch.setattr(missing, "LARGEST_INVENTORY", 5)
    a_list(server, "sales_quotes", 6)
    run = run_tap("sales_quotes")
    assert any("6 records, too many to notice when one is deleted" in line for line in run.log)
    assert "inventory" not in run.state["bookmarks"]["sales_quotes"]["partitions"][0]


# ACTIVATE_VERSION


def activations(run: Run) -> list[str]:
    return [message["stream"] for message in run.messages if message["type"] == "ACTIVATE_VERSION"]


def test_rows_that_leave_a_full_table_list_stay_unless_versions_are_activated(
    server: SandboxServer, run_tap: RunTap
) -> None:
    rows = a_list(server, "unallocated_artefacts", 3)
    kept, replaced = Warehouse(), Warehouse(versions=True)
    for _ in range(2):
        kept.load(run_tap("unallocated_artefacts").messages)
        run = run_tap("unallocated_artefacts", emit_activate_version_messages=True)
        replaced.load(run.messages)
        assert activations(run) == ["unallocated_artefacts"]
        if rows.keys[0] == key(1):
            rows.delete(key(1))
            pass_time(server, seconds=2)
    assert set(kept.rows("unallocated_artefacts", rows.owner.id)) == {key(1), key(2), key(3)}
    assert set(replaced.rows("unallocated_artefacts", rows.owner.id)) == {key(2), key(3)}


def test_versions_are_not_activated_without_the_setting(server: SandboxServer, run_tap: RunTap) -> None:
    a_list(server, "unallocated_artefacts", 3)
    assert activations(run_tap("unallocated_artefacts")) == []


@pytest.mark.parametrize("what", [500, 403, "html"])
def test_no_version_is_activated_when_one_business_was_not_read(
    run_tap: RunTap, server: SandboxServer, what: Any
) -> None:
    other = plain_world(businesses=2).businesses
    server.world.businesses.update(other)
    for business in range(2):
        a_list(server, "unallocated_artefacts", 3, business)
    refused = list(server.world.businesses)[1]
    server.faults.add(Fault("unallocated_artefacts", what, business=refused, times=None))
    run = run_tap("unallocated_artefacts", emit_activate_version_messages=True)
    assert len(run.records["unallocated_artefacts"]) == 3
    assert activations(run) == []


def test_no_version_is_activated_for_a_choice_of_businesses(server: SandboxServer, run_tap: RunTap) -> None:
    rows = a_list(server, "unallocated_artefacts", 3)
    run = run_tap("unallocated_artefacts", emit_activate_version_messages=True, business_ids=[rows.owner.id])
    assert activations(run) == []


def test_no_version_is_activated_for_incremental_streams(server: SandboxServer, run_tap: RunTap) -> None:
    a_list(server, "contacts", 3)
    assert activations(run_tap("contacts", emit_activate_version_messages=True)) == []


# Everything at once, in books that live


@pytest.mark.slow
@pytest.mark.parametrize("tombstones", ["full", "id_only"])
def test_after_days_of_business_the_warehouse_agrees_with_the_books(run_tap: RunTap, tombstones: str) -> None:
    streams = [stream.name for stream in STREAMS if stream.changed_since or stream.deletable]
    run_of: Any = run_tap
    with SandboxServer(build_world(size="tiny", businesses=2, frozen=True)) as living:
        living.faults.update({"tombstones": tombstones, "detail_flags_on_lists": True})
        warehouse = Warehouse()
        state: dict[str, Any] = {}
        for _ in range(3):
            settings = {**living.tap_config(), "deletion_sweep_days": 0, "page_size": 7}
            run = run_of(*streams, state=state, **settings)
            assert run.error is None
            warehouse.load(run.messages)
            state = run.state
            with living.paused():
                assert disagreements(living.world, warehouse, set(streams) - VANISHING - {"deletions"}) == []
                advance(living.world, days=2)


# What a first load says beforehand


def test_the_ids_of_many_businesses_go_into_few_states(run_tap: RunTap) -> None:
    """Ids go before rows, but not in a state per business: each state has the size of all businesses."""
    with SandboxServer(plain_world(businesses=24)) as many:
        for business in many.world.businesses.values():
            List(many.world, business, "tax_rates").fill(3)
            many.faults.latency = 0.002
        run = run_tap("tax_rates", **many.tap_config(), concurrency=8)
        states = [message["value"] for message in run.messages if message["type"] == "STATE"]
        assert len(run.records["tax_rates"]) == 24 * 3
        assert len(states) <= 15
        stated: set[str] = set()
        for message in run.messages:
            if message["type"] == "STATE":
                partitions = message["value"]["bookmarks"].get("tax_rates", {}).get("partitions", [])
                stated |= {each["context"]["business_id"] for each in partitions if "inventory" in each}
            elif message["type"] == "RECORD":
                assert message["record"]["business_id"] in stated
