"""On request, the id of each reference stands in a column of its own, beside the reference."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from tap_sage_accounting import schemas
from tap_sage_accounting.records.reference_ids import reference_ids
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable

    from sage_sandbox.server import SandboxServer
    from sage_workbench.runs import Run

    Record = dict[str, Any]
    RunTap = Callable[..., Run]

READ = ("contacts", "sales_invoices", "ledger_entries", "contact_payments", "business_exchange_rates", "tax_profiles")


def columns_of(stream: str) -> dict[str, str]:
    [keys] = [each.primary_keys for each in STREAMS if each.name == stream]
    return reference_ids(schemas.load(stream, keys)["properties"])


def expected(record: Record, stream: str) -> Record:
    """A record as it is without the columns, with them."""
    found = {column: record[name] for column, name in columns_of(stream).items() if name in record}
    return record | {column: reference and reference.get("id") for column, reference in found.items()}


def test_every_reference_has_its_id_beside_it_and_all_else_stays(run_tap: RunTap) -> None:
    plain = run_tap(*READ)
    run = run_tap(*READ, reference_ids=True)
    assert run.error is None
    for stream in READ:
        assert run.records[stream] == [expected(record, stream) for record in plain.records[stream]], stream
    invoices = run.records["sales_invoices"]
    assert all(invoice["contact_id"] for invoice in invoices)
    assert any(payment["payment_on_account_id"] is None for payment in run.records["contact_payments"])


def test_the_schema_has_each_column_behind_its_reference_and_a_key_of_that_name_stays_the_key(run_tap: RunTap) -> None:
    announced = {each["stream"]: each["schema"]["properties"] for each in run_tap(*READ, reference_ids=True).schemas}
    names = list(announced["sales_invoices"])
    for column, reference in columns_of("sales_invoices").items():
        assert names.index(column) == names.index(reference) + 1
        assert announced["sales_invoices"][column]["type"] == ["string", "null"]
    assert columns_of("business_exchange_rates").keys().isdisjoint({"currency_id"})
    assert announced["business_exchange_rates"]["currency_id"]["type"] == "string"
    assert "contact_types_id" not in announced["contacts"]  # a list of references has no one id


def test_an_attribute_of_that_name_that_sage_sends_is_kept_and_not_taken_for_the_id(
    server: SandboxServer, run_tap: RunTap
) -> None:
    contacts = next(iter(server.world.businesses.values())).collections["contacts"]
    key = next(iter(contacts.rows))
    contacts.change(key, {"currency_id": "SENT BY SAGE"}, None)
    [record] = [each for each in run_tap("contacts", reference_ids=True).records["contacts"] if each["id"] == key]
    assert record["currency_id"] == record["currency"]["id"] != "SENT BY SAGE"
    assert json.loads(record["additional_attributes"]) == {"currency_id": "SENT BY SAGE"}


def test_every_id_column_has_values_of_the_type_that_it_is_announced_with(run_tap: RunTap) -> None:
    run = run_tap(*(each.name for each in STREAMS), reference_ids=True)
    announced = {each["stream"]: each["schema"]["properties"] for each in run.schemas}
    values = {
        (stream, column): row[column]
        for stream, rows in run.records.items()
        for column in columns_of(stream)
        for row in rows
        if row.get(column) is not None
    }
    assert len(values) > 100
    assert {type(value) for value in values.values()} == {str}
    assert {tuple(announced[stream][column]["type"]) for stream, column in values} == {("string", "null")}
    assert values["analysis_types", "analysis_type_level_id"].isdigit()  # of which Sage's ids are numbers


def catalog(*deselected: str, lacking: tuple[str, ...] = (), **settings: Any) -> Record:
    """The catalog of a tap with some settings, with some columns of sales invoices deselected or taken out."""
    made: Record = deepcopy(
        TapSageAccounting(config=settings, parse_env_config=False, validate_config=False).catalog_dict
    )
    for entry in made["streams"]:
        is_read = entry["tap_stream_id"] == "sales_invoices"
        for each in entry["metadata"]:
            if not each["breadcrumb"]:
                each["metadata"]["selected"] = is_read
            elif is_read and each["breadcrumb"][1] in deselected:
                each["metadata"]["selected"] = False
        for name in lacking if is_read else ():
            del entry["schema"]["properties"][name]
    return made


def test_an_id_can_be_had_without_its_reference_and_a_reference_without_its_id(
    server: SandboxServer, run_tap: RunTap
) -> None:
    plain = {each["id"]: each for each in run_tap("sales_invoices").records["sales_invoices"]}
    narrow = catalog("contact", "status_id", "currency", "currency_id", reference_ids=True)
    records = run_tap(catalog=narrow, reference_ids=True).records["sales_invoices"]
    assert len(records) == len(plain) > 10
    for record in records:
        assert record["contact_id"] == plain[record["id"]]["contact"]["id"]
        assert record["status"] == plain[record["id"]]["status"]
        assert record.keys().isdisjoint({"contact", "status_id", "currency", "currency_id"})
    asked = [request.params["attributes"] for request in server.requests.of("sales_invoices")][-1].split(",")
    assert {"contact", "status"} <= set(asked)
    assert "currency" not in asked


def test_a_catalog_from_before_gets_no_ids_and_nothing_in_their_place(run_tap: RunTap) -> None:
    plain = run_tap("sales_invoices").records["sales_invoices"]
    before = run_tap(catalog=catalog(), reference_ids=True)
    assert before.records["sales_invoices"] == plain
    some = run_tap(catalog=catalog(lacking=("contact_id",), reference_ids=True), reference_ids=True)
    assert all("contact_id" not in each and each["status_id"] for each in some.records["sales_invoices"])
    assert {each.get("additional_attributes") for each in some.records["sales_invoices"]} == {None}


@pytest.mark.parametrize("stream_map", [{"customer": "contact_id"}, {"customer": "contact_id", "contact": None}])
def test_stream_maps_can_read_the_columns(run_tap: RunTap, stream_map: Record) -> None:
    plain = {each["id"]: each for each in run_tap("sales_invoices").records["sales_invoices"]}
    run = run_tap("sales_invoices", reference_ids=True, stream_maps={"sales_invoices": stream_map})
    assert run.error is None
    assert all(each["customer"] == plain[each["id"]]["contact"]["id"] for each in run.records["sales_invoices"])
