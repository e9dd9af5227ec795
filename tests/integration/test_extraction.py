"""Everything that Sage holds arrives, as it is there."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk import Stream
from singer_sdk.singerlib import RecordMessage
from singer_sdk.singerlib.encoding.base import GenericSingerWriter
from typing_extensions import override

from sage_sandbox.books import advance
from sage_sandbox.faults import Fault
from sage_sandbox.store import Row, timestamp
from sage_workbench.equality import differences
from sage_workbench.listings import key_of, listable
from tap_sage_accounting.client import SageStream
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_sdk.singerlib import Message

    from sage_sandbox.server import SandboxServer
    from sage_sandbox.store import Business
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

ALL = [stream.name for stream in STREAMS]


def test_every_record_of_every_list_arrives_with_every_attribute(server: SandboxServer, run_tap: RunTap) -> None:
    server.faults.detail_flags_on_lists = True
    run = run_tap(*ALL)
    assert run.error is None
    compared = 0
    for business in server.world.businesses.values():
        for name, collection in business.collections.items():
            if name not in ALL:
                continue
            arrived = {key_of(row): row for row in run.records[name] if row["business_id"] == business.id}
            sent = [listable(name, row.render()) for row in collection.rows.values()]
            assert set(arrived) == {key_of(body) for body in sent}, name
            for body in sent:
                assert differences(body, arrived[key_of(body)]) == [], name
                compared += 1
    assert compared > 1000


def test_no_row_has_a_key_that_is_empty_in_part(run_tap: RunTap) -> None:
    """Some targets make null of an empty text, which no key may be."""
    run = run_tap(*(stream.name for stream in STREAMS))
    keys = {each["stream"]: each["key_properties"] for each in run.schemas}
    found = {(stream, tuple(str(row[name]) for name in keys[stream])) for stream in keys for row in run.records[stream]}
    assert len({stream for stream, _ in found}) > 70
    assert [place for place in found if not all(part.strip() for part in place[1])] == []


def test_every_single_object_arrives_with_every_attribute(server: SandboxServer, run_tap: RunTap) -> None:
    run = run_tap(*ALL)
    for business in server.world.businesses.values():
        for name, body in {**business.objects, "businesses": business.body}.items():
            [row] = [row for row in run.records[name] if row["business_id"] == business.id]
            assert differences(body, row) == [], name
    [user] = run.records["user"]
    assert differences(server.world.user, user) == []


def test_a_run_requests_no_more_pages_than_there_are(server: SandboxServer, run_tap: RunTap) -> None:
    business = next(iter(server.world.businesses.values()))
    business.collections["contacts"].rows.clear()
    for number in range(401):
        body = {"id": f"c{number:031}", "displayed_as": "Contact", "$path": f"/contacts/c{number:031}"}
        business.collections["contacts"].add(Row(body["id"], body, server.world.clock.now(), server.world.clock.now()))
    run = run_tap("contacts", business_ids=[business.id])
    assert len(run.records["contacts"]) == 401
    businesses, pages, deletions_meanwhile = 1, 3, 1
    assert run.tap.gate.requests == businesses + pages + deletions_meanwhile


@pytest.mark.slow
@pytest.mark.parametrize("page_size", [1, 7, 200])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_page_size_and_concurrency_change_nothing_but_speed(run_tap: RunTap, page_size: int, concurrency: int) -> None:
    usual = run_tap("contacts", "ledger_entries", "sales_invoices").records
    other = run_tap(
        "contacts", "ledger_entries", "sales_invoices", page_size=page_size, concurrency=concurrency
    ).records
    assert other == usual


def test_decimals_of_twenty_digits_stay_exact(server: SandboxServer, run_tap: RunTap) -> None:
    business = next(iter(server.world.businesses.values()))
    invoice = next(iter(business.collections["sales_invoices"].rows))
    business.collections["sales_invoices"].change(invoice, {"total_amount": "12345678901234567890.1234567891"}, None)
    rows = {row["id"]: row for row in run_tap("sales_invoices").records["sales_invoices"]}
    assert rows[invoice]["total_amount"] == Decimal("12345678901234567890.1234567891")


def test_decimals_travel_as_text_on_request_and_the_schema_says_so(run_tap: RunTap) -> None:
    numbers = {row["id"]: row["total_amount"] for row in run_tap("sales_invoices").records["sales_invoices"]}
    run = run_tap("sales_invoices", decimals="string")
    [schema] = {str(message["schema"]["properties"]["total_amount"]["format"]) for message in run.schemas}
    assert schema == "x-singer.decimal"
    assert {row["id"]: Decimal(row["total_amount"]) for row in run.records["sales_invoices"]} == numbers
    assert all(isinstance(row["total_amount"], str) for row in run.records["sales_invoices"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches",
    [
        {"next_present": False},
        {"echo_business": False},
        {"decimals": "numbers"},
        {"gzip": True},
        {"businesses_paged": False},
        {"businesses_attributes": "honoured"},
        {"next_keeps_filters": True},
    ],
    ids=str,
)
def test_what_is_unknown_of_sage_makes_no_difference(
    server: SandboxServer, run_tap: RunTap, switches: dict[str, Any]
) -> None:
    streams = ("businesses", "contacts", "sales_invoices", "ledger_entries", "exchange_rates")
    usual = run_tap(*streams, page_size=5).records
    server.faults.update(switches)
    assert run_tap(*streams, page_size=5).records == usual


# Incremental runs


def test_a_second_run_reads_what_changed_and_nothing_else(server: SandboxServer, run_tap: RunTap) -> None:
    streams = ("contacts", "ledger_entries", "sales_invoices", "transactions")
    first = run_tap(*streams)
    with server.paused():
        advance(server.world, days=1)
    second = run_tap(*streams, state=first.state, lookback_window=60)
    for name in streams:
        for business in server.world.businesses.values():
            since = datetime.fromisoformat(str(first.bookmark(name, business.id))) - timedelta(seconds=60)
            changed = {
                row.id for row in business.collections[name].rows.values() if row.updated_at and row.updated_at >= since
            }
            rows = [row for row in second.records[name] if row["business_id"] == business.id]
            assert {row["id"] for row in rows if not row.get("deleted_at")} == changed, name
    assert sum(map(len, second.records.values())) < sum(map(len, first.records.values()))


def test_rows_that_change_in_the_bookmarks_own_second_are_read(server: SandboxServer, run_tap: RunTap) -> None:
    first = run_tap("contacts", lookback_window=0)
    business = next(iter(server.world.businesses.values()))
    contact = next(iter(business.collections["contacts"].rows))
    business.collections["contacts"].change(contact, {"notes": "same second"}, server.world.clock.now())
    second = run_tap("contacts", lookback_window=0, state=first.state)
    rows = {row["id"]: row for row in second.records["contacts"] if row["business_id"] == business.id}
    assert rows[contact]["notes"] == "same second"


def test_a_change_that_sage_shows_late_is_caught_by_the_lookback(server: SandboxServer, run_tap: RunTap) -> None:
    first = run_tap("contacts")
    business = next(iter(server.world.businesses.values()))
    late = server.world.clock.now() - timedelta(seconds=290)
    contact = next(iter(business.collections["contacts"].rows))
    with server.paused():
        server.world.clock.advance(timedelta(minutes=10))
        business.collections["contacts"].change(contact, {"notes": "late"}, late)
    bookmark = first.bookmark("contacts", business.id)
    assert bookmark is not None
    second = run_tap("contacts", state=first.state)
    arrived = {row["id"] for row in second.records["contacts"] if row["business_id"] == business.id}
    assert (contact in arrived) == (timestamp(late) >= timestamp(late)) is True


def test_the_bookmark_never_passes_the_start_of_the_read_by_sages_clock(server: SandboxServer, run_tap: RunTap) -> None:
    business = next(iter(server.world.businesses.values()))
    started = server.world.clock.now()
    contact = next(iter(business.collections["contacts"].rows))
    business.collections["contacts"].change(contact, {}, started + timedelta(hours=1))
    assert run_tap("contacts").bookmark("contacts", business.id) == timestamp(started)


def test_a_list_without_rows_has_no_bookmark(server: SandboxServer, run_tap: RunTap) -> None:
    business = next(iter(server.world.businesses.values()))
    business.collection("journals").rows.clear()
    assert run_tap("journals").bookmark("journals", business.id) is None


def test_each_business_has_its_own_bookmark_in_utc(server: SandboxServer, run_tap: RunTap) -> None:
    run = run_tap("contacts")
    partitions = run.state["bookmarks"]["contacts"]["partitions"]
    assert [partition["context"] for partition in partitions] == [{"business_id": b} for b in server.world.businesses]
    for partition in partitions:
        assert partition["replication_key_value"].endswith("Z")
        assert set(partition) == {"context", "replication_key", "replication_key_value", "deletions_told_until"}


def test_a_start_date_limits_the_first_run_only(server: SandboxServer, run_tap: RunTap) -> None:
    business: Business = next(iter(server.world.businesses.values()))
    start = sorted(row.updated_at for row in business.collections["sales_invoices"].rows.values() if row.updated_at)[1]
    first = run_tap("sales_invoices", start_date=timestamp(start), business_ids=[business.id])
    rows = business.collections["sales_invoices"].rows.values()
    expected = {row.id for row in rows if row.updated_at and row.updated_at >= start}
    assert {row["id"] for row in first.records["sales_invoices"]} == expected

    with server.paused():
        invoice = next(iter(business.collections["sales_invoices"].rows))
        server.world.clock.advance(timedelta(days=1))
        business.collections["sales_invoices"].change(invoice, {}, server.world.clock.now())
        server.world.clock.advance(timedelta(days=30))
    later = run_tap(
        "sales_invoices",
        start_date=timestamp(server.world.clock.now()),
        business_ids=[business.id],
        state=first.state,
    )
    assert invoice in {row["id"] for row in later.records["sales_invoices"]}


def test_a_start_date_leaves_master_data_whole(server: SandboxServer, run_tap: RunTap) -> None:
    business: Business = next(iter(server.world.businesses.values()))
    late = timestamp(server.world.clock.now())
    streams = ("ledger_accounts", "contacts", "products", "tax_rates", "sales_invoices")
    run = run_tap(*streams, start_date=late, business_ids=[business.id])
    assert not run.records.get("sales_invoices")
    for stream in streams[:-1]:
        assert {row["id"] for row in run.records[stream]} == business.collections[stream].rows.keys(), stream


def test_records_without_updated_at_arrive(server: SandboxServer, run_tap: RunTap) -> None:
    business = next(iter(server.world.businesses.values()))
    business.collection("contacts").add(Row("f" * 32, {"id": "f" * 32, "displayed_as": "Old", "$path": ""}, None, None))
    assert "f" * 32 in {row["id"] for row in run_tap("contacts").records["contacts"]}


# Businesses


def test_business_ids_select_businesses(server: SandboxServer, run_tap: RunTap) -> None:
    chosen = list(server.world.businesses)[1]
    run = run_tap("contacts", "businesses", business_ids=[chosen])
    assert {row["business_id"] for row in run.records["contacts"]} == {chosen}
    assert {row["id"] for row in run.records["businesses"]} == {chosen}


def test_a_business_that_the_user_cannot_see_is_an_error_that_lists_the_ones_they_can(
    server: SandboxServer, run_tap: RunTap
) -> None:
    run = run_tap("contacts", business_ids=["unknown"])
    assert "unknown" in str(run.error)
    for business in server.world.businesses.values():
        assert business.id in str(run.error)
        assert business.name in str(run.error)


def test_a_response_for_another_business_is_refused(server: SandboxServer, run_tap: RunTap) -> None:
    server.faults.add(Fault("contacts", "other_business"))
    run = run_tap("contacts")
    assert "another business" in str(run.tap.report.failed[0].reason)
    assert run.error is not None


# Columns


def select(catalog: dict[str, Any], stream: str, deselected: set[str]) -> dict[str, Any]:
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["selected"] = entry["tap_stream_id"] == stream
            elif entry["tap_stream_id"] == stream and metadata["breadcrumb"][1] in deselected:
                metadata["metadata"]["selected"] = False
    return catalog


def test_deselected_columns_are_not_requested(server: SandboxServer, run_tap: RunTap) -> None:
    catalog = run_tap("user").tap.catalog_dict
    keep = {"business_id", "id", "name", "updated_at", "balance"}
    [entry] = [entry for entry in catalog["streams"] if entry["tap_stream_id"] == "contacts"]
    narrow = select(catalog, "contacts", set(entry["schema"]["properties"]) - keep)
    server.requests.clear()
    run = run_tap(catalog=narrow)
    assert {name for row in run.records["contacts"] for name in row} == keep
    [asked] = {request.params["attributes"] for request in server.requests.of("contacts")}
    assert set(asked.split(",")) == {"name", "updated_at", "balance"}


def test_a_stream_may_be_selected_after_the_tap_was_made(run_tap: RunTap) -> None:
    catalog = select(run_tap("user").tap.catalog_dict, "countries", set())
    run = run_tap("contacts", catalog=catalog, stream_maps={"contacts": {"shout": "name.upper()"}})
    assert run.error is None
    assert {row["shout"].isupper() for row in run.records["contacts"]} == {True}


@pytest.mark.parametrize("stream_maps", [{}, {"contacts": {"email": None, "shout": "name.upper()"}}], ids=["", "maps"])
def test_messages_are_those_that_the_sdk_would_make(run_tap: RunTap, stream_maps: dict[str, Any]) -> None:
    config = {"stream_maps": stream_maps} if stream_maps else {}
    catalog = run_tap("user").tap.catalog_dict
    entry = next(entry for entry in catalog["streams"] if entry["tap_stream_id"] == "contacts")
    next(each for each in entry["metadata"] if not each["breadcrumb"])["metadata"]["selected"] = True
    places = [metadata["breadcrumb"] for metadata in entry["metadata"] if len(metadata["breadcrumb"]) > 2]
    for place in [*places[::3], ["properties", "main_address"], ["properties", "notes"]]:
        entry["metadata"].append({"breadcrumb": place, "metadata": {"selected": False}})
    records = run_tap("contacts").records["contacts"]
    stream = run_tap("contacts", catalog=catalog, **config).tap.streams["contacts"]

    def reported(make: Callable[[Any], Any]) -> list[Any]:
        return [(each.stream, each.record) for record in records for each in make(deepcopy(record))]

    ours = reported(stream._generate_record_messages)
    assert ours == reported(partial(Stream._generate_record_messages, stream))
    assert len(ours) == len(records)
    assert ours != reported(lambda record: [RecordMessage("contacts", record)])


def test_a_hook_of_the_sdk_gets_records_as_it_expects_them(run_tap: RunTap, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_credits(_: Stream, row: dict[str, Any], context: Any) -> dict[str, Any] | None:
        return {**row, "seen_of": context["business_id"]} if row["credit"] else None

    every = run_tap("ledger_entries").records["ledger_entries"]
    monkeypatch.setattr(SageStream, "post_process", only_credits)
    chosen = run_tap("ledger_entries").records["ledger_entries"]
    assert chosen == [{**row, "seen_of": row["business_id"]} for row in every if row["credit"]]
    assert 0 < len(chosen) < len(every)


class Listener(GenericSingerWriter[str, Any]):
    """A writer as another project may have it: it looks into messages, and knows nothing of ours."""

    def __init__(self) -> None:
        self.credits = Decimal(0)

    @override
    def serialize_message(self, message: Message) -> str:
        return json.dumps(message.to_dict(), default=str)

    @override
    def write_message(self, message: Message) -> None:
        self.serialize_message(message)
        if isinstance(message, RecordMessage):
            self.credits += message.record["credit"]


def test_a_writer_of_another_project_gets_records_as_it_expects_them(run_tap: RunTap) -> None:
    run = run_tap("ledger_entries")
    listener = Listener()
    tap = TapSageAccounting(config=dict(run.tap.config), message_writer=listener)
    for name, stream in tap.streams.items():
        stream.selected = name == "ledger_entries"
    tap.sync_all()
    assert listener.credits == sum(row["credit"] for row in run.records["ledger_entries"])
    assert listener.credits > 0


def test_flattened_records_are_those_that_were_read(run_tap: RunTap) -> None:
    deep = run_tap("ledger_entries").records["ledger_entries"]
    flat = run_tap("ledger_entries", flattening_enabled=True, flattening_max_depth=2).records["ledger_entries"]
    assert [row["ledger_account__id"] for row in flat] == [row["ledger_account"]["id"] for row in deep]


def test_attributes_that_nobody_declared_are_kept_and_reported_once(server: SandboxServer, run_tap: RunTap) -> None:
    for business in server.world.businesses.values():
        for contact in list(business.collections["contacts"].rows):
            business.collections["contacts"].change(contact, {"loyalty_tier": "gold"}, None)
    run = run_tap("contacts")
    assert all('"loyalty_tier":"gold"' in row["additional_attributes"] for row in run.records["contacts"])
    assert sum("loyalty_tier" in line for line in run.log) == 1
