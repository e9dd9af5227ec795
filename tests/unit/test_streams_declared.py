from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.every import each
from support.scripts import load_script
from tap_sage_accounting import schemas, streams
from tap_sage_accounting.client import CurrencyKeyedStream, SageStream, SingleObjectStream
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]

every_stream = each(STREAMS, lambda stream: stream.name)

# Sage's retired and foreign objects, which a business in the UK, Ireland or Canada has no use for.
RETIRED = {
    "business_activity_types",
    "corrective_reason_codes",
    "datev_settings",
    "email_settings",
    "journal_code_types",
    "journal_codes",
    "legal_form_types",
    "migration_tax_returns",
    "migrations",
    "purchase_corrective_invoices",
    "sales_corrective_invoices",
    "tax_offices",
}

# The lists that Sage's description gives `deleted_since`.
DELETIONS_TOLD = {
    "addresses",
    "attachments",
    "bank_accounts",
    "bank_deposits",
    "bank_transfers",
    "contact_allocations",
    "contact_opening_balances",
    "contact_payments",
    "contact_persons",
    "contacts",
    "journals",
    "other_payments",
    "products",
    "purchase_corrective_invoices",
    "purchase_credit_notes",
    "purchase_invoices",
    "purchase_quick_entries",
    "sales_corrective_invoices",
    "sales_credit_notes",
    "sales_invoices",
    "sales_quick_entries",
    "services",
    "stock_items",
}

# The lists whose records can be deleted without a way to request it.
DELETIONS_UNTOLD = {
    "analysis_type_categories",
    "bank_opening_balances",
    "business_exchange_rates",
    "draft_tax_returns",
    "hosted_artefact_payment_settings",
    "journal_codes",
    "ledger_account_opening_balances",
    "opening_balance_journals",
    "product_sales_price_types",
    "sales_estimates",
    "sales_quotes",
    "service_rate_types",
    "stock_movements",
    "tax_rates",
}

# What Sage leaves out of a list's records until a flag requests it.
OPT_IN = {
    "show_analysis_types": "analysis_type_categories",
    "show_balance": "balance",
    "show_corrections": "corrections",
    "show_payments_allocations": "payments_allocations",
    "show_recurring_invoice": "recurring_invoice",
    "show_unfinished_recurring_invoices_status": "has_unfinished_recurring_invoices",
}

# Attributes of the same names that are there without a flag.
ALWAYS_THERE = {("analysis_types", "analysis_type_categories"), ("bank_accounts", "balance")}

# Parameters that change something in Sage, narrow a list down or need dates to go with them.
NEVER_SENT = {
    "active",
    "active_only",
    "cis_only",
    "exclude_deleted_entries",
    "exclude_stripe",
    "exclude_system",
    "filter_foreign_currencies",
    "filter_inactive_bank_accounts",
    "filter_inactive_contacts",
    "has_attachments",
    "mark_as_sent",
    "show_balance_details",
    "show_control_accounts",
    "show_included_in_chart",
    "valid_for_business",
}


def properties_of(stream: type[SageStream]) -> dict[str, dict[str, object]]:
    properties: dict[str, dict[str, object]] = schemas.load(stream.name, stream.primary_keys)["properties"]
    return properties


@pytest.fixture(scope="module")
def stream_table() -> ModuleType:
    return load_script("stream_table")


def test_every_stream_that_a_module_declares_is_part_of_the_tap() -> None:
    bases = {SageStream, SingleObjectStream, CurrencyKeyedStream}
    declared = set()
    for found in pkgutil.iter_modules(streams.__path__, f"{streams.__name__}."):
        module = importlib.import_module(found.name)
        declared |= {
            thing
            for thing in vars(module).values()
            if isinstance(thing, type) and issubclass(thing, SageStream) and thing.__module__ == module.__name__
        }
    assert declared - bases == set(STREAMS)


def test_streams_are_listed_once_and_by_name() -> None:
    names = [stream.name for stream in STREAMS]
    assert names == sorted(set(names))


def test_every_stream_has_a_schema_and_every_schema_a_stream() -> None:
    assert {stream.name for stream in STREAMS} == set(schemas.names())


@every_stream
def test_the_class_is_named_after_the_stream(stream: type[SageStream]) -> None:
    assert re.sub(r"(?<!^)(?=[A-Z])", "_", stream.__name__).lower() == stream.name


@every_stream
def test_the_docstring_is_one_sentence(stream: type[SageStream]) -> None:
    sentence = stream.__dict__.get("__doc__")
    assert sentence
    assert re.fullmatch(r"[A-Z][^\n.!?|]{15,118}\.", sentence)


@every_stream
def test_the_keys_are_columns_that_are_never_null(stream: type[SageStream]) -> None:
    properties = properties_of(stream)
    assert stream.primary_keys
    assert len(set(stream.primary_keys)) == len(stream.primary_keys)
    assert all("null" not in properties[key]["type"] for key in stream.primary_keys)  # type: ignore[operator]


@every_stream
def test_a_stream_with_a_filter_for_changes_says_when_a_record_changed(stream: type[SageStream]) -> None:
    assert vars(stream)["replication_key"] == ("updated_at" if stream.changed_since else None)
    if stream.changed_since:
        assert properties_of(stream)["updated_at"]["format"] == "date-time"


@every_stream
def test_a_stream_whose_records_can_be_deleted_has_a_column_that_says_so(stream: type[SageStream]) -> None:
    properties = properties_of(stream)
    if stream.deletable:
        assert properties["deleted_at"]["format"] == "date-time"
    if stream.deletion_flag:
        assert "boolean" in properties[stream.deletion_flag]["type"]  # type: ignore[operator]


@every_stream
def test_the_declaration_does_not_contradict_itself(stream: type[SageStream]) -> None:
    assert stream.deletable or not stream.deleted_since
    assert not (stream.deleted_since and stream.deletion_flag)
    assert stream.changed_since or not (stream.deleted_since or stream.sortable or stream.deletion_flag)
    assert stream.areas or not stream.full_access
    assert len(set(stream.areas)) == len(stream.areas)
    assert stream.editions == tuple(name for name in ("Start", "Standard", "Plus") if name in stream.editions)
    assert stream.countries == tuple(sorted(set(stream.countries)))
    assert stream.editions
    assert stream.countries
    assert stream.retired or {*stream.countries} <= {"CA", "GB", "IE"}


@every_stream
def test_flags_add_attributes_and_have_no_side_effects(stream: type[SageStream]) -> None:
    assert len(set(stream.flags)) == len(stream.flags)
    assert all(flag.startswith(("show_", "include_")) for flag in stream.flags)
    assert NEVER_SENT.isdisjoint(stream.flags)


@every_stream
def test_what_a_flag_adds_has_a_column_and_what_needs_a_flag_is_requested(stream: type[SageStream]) -> None:
    properties = properties_of(stream)
    for flag, attribute in OPT_IN.items():
        if flag in stream.flags:
            assert f'"{attribute}"' in json.dumps(properties)
        if attribute in properties and flag not in stream.flags:
            assert (stream.name, attribute) in ALWAYS_THERE


def test_settings_have_one_row_per_business() -> None:
    own = {stream.name for stream in STREAMS if stream.primary_keys == ("business_id",)}
    assert own == {
        "business_settings",
        "cis_settings",
        "datev_settings",
        "email_settings",
        "financial_settings",
        "invoice_settings",
        "migrations",
    }


def test_single_objects_have_no_filters() -> None:
    for stream in STREAMS:
        if issubclass(stream, SingleObjectStream):
            assert not any((stream.changed_since, stream.deleted_since, stream.sortable, stream.deletable))


def test_exchange_rates_are_keyed_by_currency() -> None:
    keyed = {stream.name for stream in STREAMS if stream.primary_keys == ("business_id", "currency_id")}
    assert keyed == {"business_exchange_rates", "exchange_rates", "live_exchange_rates"}


def test_deletions_are_found_where_sage_reports_them_and_where_it_does_not() -> None:
    assert {stream.name for stream in STREAMS if stream.deleted_since} == DELETIONS_TOLD
    assert {stream.name for stream in STREAMS if stream.deletable and not stream.deleted_since} == DELETIONS_UNTOLD
    assert {stream.name for stream in STREAMS if stream.deletion_flag} == {"ledger_entries", "transactions"}


def test_documents_that_sage_marks_as_sent_when_they_are_read_are_left_alone() -> None:
    untouched = {stream.name for stream in STREAMS if stream.detail_params.get("mark_as_sent") == "false"}
    assert untouched == {"sales_corrective_invoices", "sales_credit_notes", "sales_invoices"}


def test_objects_that_no_current_business_has_are_not_selected() -> None:
    assert {stream.name for stream in STREAMS if stream.retired} == RETIRED


def test_the_log_of_runs_is_for_those_who_select_it() -> None:
    assert {stream.name for stream in STREAMS if stream.collected} == {"deletions", "run_reads", "runs"}
    assert {stream.name for stream in STREAMS if stream.opt_in} == {"run_reads", "runs"}
    assert {stream.name for stream in STREAMS if not stream.selected_by_default} == RETIRED | {"run_reads", "runs"}


APART = {"deletions", "run_reads", "runs", "trial_balance"}


def test_a_quiet_hourly_run_stays_under_50_requests_per_business() -> None:
    hourly = [stream for stream in STREAMS if not (stream.static or stream.retired)]
    lists = sum(len(stream.parts) + stream.deleted_since for stream in hourly if stream.name not in APART)
    # Settings, changed transactions, accounts and two months; and once for all businesses, their list.
    trial_balance, businesses = 5, 1
    assert lists + trial_balance + businesses < 50


@pytest.mark.parametrize(
    "name",
    [
        "sales_invoices",
        "purchase_invoices",
        "contact_payments",
        "ledger_entries",
        "ledger_accounts",
        "contacts",
        "bank_accounts",
    ],
)
def test_the_hourly_run_brings_what_the_ledger_needs(name: str) -> None:
    assert not next(stream for stream in STREAMS if stream.name == name).static


def test_the_list_has_every_stream_once(stream_table: ModuleType) -> None:
    rows = [line for line in stream_table.markdown().splitlines() if line.startswith("|")][2:]
    named = re.findall(r"`(\w+)`", "".join(rows))
    assert sorted(named) == sorted(stream.name for stream in STREAMS)
    assert {name for name in named if f"*`{name}`*" in "".join(rows)} == RETIRED | {"run_reads", "runs"}
    assert {row.count("|") for row in rows} == {3}


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("sales_credit_notes", ("reported", "Sales", "all", "hourly")),
        ("contacts", ("reported", "Contacts or Sales or Purchases", "all", "hourly")),
        ("ledger_entries", ("flagged `deleted`", "Journals", "all", "hourly")),
        ("user", ("none", "everybody", "all", "daily")),
        ("business_exchange_rates", ("missing", "Settings", "all", "daily")),
        ("purchase_corrective_invoices", ("reported", "Purchases", "Plus; ES", "no")),
    ],
)
def test_the_documentation_says_what_a_stream_needs_and_offers(
    stream_table: ModuleType, name: str, facts: tuple[str, ...]
) -> None:
    [stream] = [each for each in STREAMS if each.name == name]
    stated = (stream_table.deletions, stream_table.rights, stream_table.offered_in, stream_table.selected)
    assert tuple(column(stream) for column in stated) == facts


def test_objects_left_out_are_no_streams(stream_table: ModuleType) -> None:
    assert {stream.name for stream in STREAMS}.isdisjoint(stream_table.LEFT_OUT)
