"""One text that is no text costs no more than itself: every row arrives, and what Sage sent is kept."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import timestamp
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import LONG_AGO, NOW, Ledger, List, plain_world
from tap_sage_accounting.api.request import parse_json
from tap_sage_accounting.exceptions import (
    IncompleteRunError,
    MalformedResponseError,
    SageError,
    UnreadableResponseError,
)
from tap_sage_accounting.records.lenient_json import DamagedText, decode_leniently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_sandbox.store import Business
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

ROWS = 28
TEXTS = {
    "half a pair": ('"Ann \\ud83d"', "Ann \ufffd", "Ann \\ud83d"),
    "half a pair before a pair": ('"\\ud83d\\ud83d\\ude00"', "\ufffd\U0001f600", "\\ud83d\\ud83d\\ude00"),
    "the other half": ('"\\ude00 Ann"', "\ufffd Ann", "\\ude00 Ann"),
    "half a pair as bytes": ('"Ann \xed\xa0\xbd"', "Ann \ufffd", "Ann \\xed\\xa0\\xbd"),
    "a pair as bytes": ('"\xed\xa0\xbd\xed\xb8\x80"', "\U0001f600", "\\xed\\xa0\\xbd\\xed\\xb8\\x80"),
    "Latin-1": ('"Caf\xe9"', "Caf\ufffd", "Caf\\xe9"),
    "a cut character": ('"Caf\xc3"', "Caf\ufffd", "Caf\\xc3"),
    "a line break": ('"Ann\nBell"', "Ann\nBell", "Ann\nBell"),
    "a tabulator": ('"Ann\tBell"', "Ann\tBell", "Ann\tBell"),
    "NUL": ('"Ann\0Bell"', "AnnBell", "Ann\\x00Bell"),
    "an escape sequence": ('"\x1b[31mAnn"', "\x1b[31mAnn", "\\x1b[31mAnn"),
    "an unknown escape": ('"C:\\Ann"', "C:\\Ann", "C:\\Ann"),
    "a short escape": ('"\\u12 Ann"', "\\u12 Ann", "\\u12 Ann"),
    "not a number": ("NaN", "NaN", "NaN"),
    "infinity": ("-Infinity", "-Infinity", "-Infinity"),
    "a leading zero": ("007", "007", "007"),
    "5,000 digits": ("9" * 5000, "9" * 5000, "9" * 5000),
}
"""What stands in the place of a JSON text, what is made of it, and what is kept of it."""


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    world = plain_world(businesses=2)
    for business in world.businesses.values():
        for stream in ("contacts", "sales_quotes", "ledger_entries"):
            List(world, business, stream).fill(ROWS)
        business.objects["invoice_settings"] = {"$path": "/invoice_settings", "next_invoice_number": 7}
    with SandboxServer(world) as running:
        yield running


@pytest.fixture
def business(server: SandboxServer) -> Business:
    return next(iter(server.world.businesses.values()))


def spoil(server: SandboxServer, business: Business, stream: str, raw: str, attribute: str = "name") -> str:
    """Let the first row of a list have something in an attribute that is no JSON."""
    rows = business.collection(stream)
    key = next(iter(rows.rows))
    rows.change(key, {attribute: "@raw@"}, LONG_AGO)
    server.faults.raw = {"@raw@": raw}
    return key


def row_of(run: Run, stream: str, key: str, business: Business) -> dict[str, Any]:
    [row] = [row for row in run.records[stream] if row["id"] == key and row["business_id"] == business.id]
    return row


# Records


@pytest.mark.slow
@pytest.mark.parametrize(("raw", "value", "original"), TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("quick", [False, True], ids=["small page", "large page"])
def test_a_damaged_text_costs_no_row(
    server: SandboxServer, run_tap: RunTap, business: Business, raw: str, value: str, original: str, *, quick: bool
) -> None:
    if quick:
        for row in list(business.collection("contacts").rows.values())[1:]:
            business.collection("contacts").change(row.id, {"notes": "x" * 4000}, LONG_AGO)
    key = spoil(server, business, "contacts", raw)
    run = run_tap("contacts", "sales_quotes")
    assert run.error is None
    assert len(run.records["contacts"]) == len(run.records["sales_quotes"]) == 2 * ROWS
    damaged = row_of(run, "contacts", key, business)
    assert damaged["name"] == value
    kept = json.loads(damaged["additional_attributes"])
    assert kept == {"name": original}
    assert "\0" not in original
    others = [other for other in run.records["contacts"] if other is not damaged]
    assert all(other["displayed_as"].startswith("Row") for other in others)
    assert not any(other.get("additional_attributes") for other in others)
    named = [line for line in run.log if line.startswith("Texts of 'contacts' that Sage sent damaged")]
    assert len(named) == 1
    assert f"record {key} of {business.name} ({business.id}) (name)" in named[0]
    assert named[0].isprintable()
    assert len(server.requests.of("contacts")) == 2
    assert run.bookmark("contacts", business.id) is not None
    for message in run.messages:
        json.dumps(message, default=str, ensure_ascii=False).encode()


@pytest.mark.slow
@pytest.mark.parametrize("attribute", ["credit_limit", "id", "$path", "main_address", "unheard"])
@pytest.mark.parametrize("raw", ["NaN", '"2026-06-30T18:00:0\xe9"'])
def test_a_damaged_text_costs_no_row_whichever_attribute_it_is(
    server: SandboxServer, run_tap: RunTap, business: Business, attribute: str, raw: str
) -> None:
    spoil(server, business, "contacts", raw, attribute)
    run = run_tap("contacts", "sales_quotes", page_size=5)
    assert run.error is None
    assert len(run.records["contacts"]) == 2 * ROWS
    [kept] = [row["additional_attributes"] for row in run.records["contacts"] if row.get("additional_attributes")]
    assert list(json.loads(kept)) == [attribute]
    again = run_tap("contacts", "sales_quotes", page_size=5, state=run.state)
    assert again.error is None


def test_damaged_moments_stay_out_of_bookmarks(server: SandboxServer, run_tap: RunTap, business: Business) -> None:
    rows = List(server.world, business, "contacts")
    rows._next = 1000
    key = rows.insert(LONG_AGO + timedelta(hours=1))
    server.faults.raw = {timestamp(LONG_AGO + timedelta(hours=1)): '"2026-06-30T18:00:0\xe9"'}
    run = run_tap("contacts", page_size=5)
    assert run.error is None
    row = row_of(run, "contacts", key, business)
    assert (row["created_at"], row["updated_at"]) == (None, None)
    assert set(json.loads(row["additional_attributes"])) == {"created_at", "updated_at"}
    assert run.bookmark("contacts", business.id) == timestamp(LONG_AGO)
    assert "ufffd" not in json.dumps(run.state)


def test_damaged_texts_inside_a_record_are_reported_by_their_place(
    server: SandboxServer, run_tap: RunTap, business: Business
) -> None:
    rows = business.collection("sales_quotes")
    key = next(iter(rows.rows))
    lines = [{"id": "l1", "description": "Sound"}, {"id": "l2", "description": "@raw@", "colour": ["@raw@"]}]
    rows.change(key, {"quote_lines": lines, "unheard": {"of": ["@raw@"]}}, LONG_AGO)
    server.faults.raw = {"@raw@": '"\xff\\ud83d"'}
    run = run_tap("sales_quotes")
    assert run.error is None
    row = row_of(run, "sales_quotes", key, business)
    assert [line["description"] for line in row["quote_lines"]] == ["Sound", "\ufffd\ufffd"]
    original = "\\xff\\ud83d"
    assert json.loads(row["additional_attributes"]) == {
        "quote_lines[1].description": original,
        "quote_lines[1].colour": [original],
        "unheard": {"of": [original]},
    }


def test_names_of_attributes_may_be_damaged_too(server: SandboxServer, run_tap: RunTap, business: Business) -> None:
    rows = business.collection("contacts")
    key = next(iter(rows.rows))
    rows.change(key, {"@one@": 1, "@two@": 2}, LONG_AGO)
    server.faults.raw = {"@one@": '"\\ud83d"', "@two@": '"\xe9"'}
    run = run_tap("contacts")
    assert run.error is None
    kept = json.loads(row_of(run, "contacts", key, business)["additional_attributes"])
    assert kept == {"\\ud83d": 1, "\\xe9": 2}


def test_ids_that_are_damaged_in_different_ways_stay_different(
    server: SandboxServer, run_tap: RunTap, business: Business
) -> None:
    rows = business.collection("contacts")
    first, second, *_ = rows.rows
    rows.change(first, {"id": "@one@"}, LONG_AGO)
    rows.change(second, {"id": "@two@"}, LONG_AGO)
    server.faults.raw = {"@one@": '"\\ud83d"', "@two@": '"\\ud83e"'}
    run = run_tap("contacts")
    assert run.error is None
    assert {"\\ud83d", "\\ud83e"} <= {row["id"] for row in run.records["contacts"]}
    assert len({(row["business_id"], row["id"]) for row in run.records["contacts"]}) == 2 * ROWS


def test_a_byte_order_mark_is_no_damage(server: SandboxServer, run_tap: RunTap, business: Business) -> None:
    spoil(server, business, "contacts", '\xef\xbb\xbf"Ann"')
    run = run_tap("contacts")
    assert run.error is None
    assert len(run.records["contacts"]) == 2 * ROWS
    assert not any("damaged" in line for line in run.log)


def test_of_an_attribute_that_comes_twice_the_last_value_counts(
    server: SandboxServer, run_tap: RunTap, business: Business
) -> None:
    key = spoil(server, business, "contacts", '"first", "name": "last", "notes": "Caf\xe9"')
    run = run_tap("contacts")
    assert row_of(run, "contacts", key, business)["name"] == "last"
    key = spoil(server, business, "contacts", '"first", "name": "last"')
    run = run_tap("contacts")
    assert row_of(run, "contacts", key, business)["name"] == "last"


# Numbers


@pytest.mark.parametrize(
    ("raw", "decimals", "attribute"),
    [
        ("1e400", "number", "credit_limit"),
        ("1e400", "text", "credit_limit"),
        ("9" * 400, "number", "credit_limit"),
        ("9" * 400, "number", "credit_days"),
        ("-1e999999999", "text", "credit_limit"),
        ("-1e999999999", "number", "credit_days"),
        ("1e-999999999", "text", "credit_limit"),
        ("0e-999999999", "text", "credit_limit"),
        ('"1e999"', "number", "credit_limit"),
        (f'"{"9" * 400}"', "number", "credit_days"),
    ],
)
def test_a_number_that_no_column_holds_is_set_aside(
    server: SandboxServer, run_tap: RunTap, business: Business, attribute: str, decimals: str, raw: str
) -> None:
    key = spoil(server, business, "contacts", raw, attribute)
    run = run_tap("contacts", decimals=decimals)
    assert run.error is None
    assert len(run.records["contacts"]) == 2 * ROWS
    row = row_of(run, "contacts", key, business)
    assert row[attribute] is None
    kept = json.loads(row["additional_attributes"], parse_float=Decimal, parse_int=Decimal)
    assert Decimal(kept[attribute]) == Decimal(raw.strip('"'))


@pytest.mark.parametrize("raw", ["1e300", "9" * 300, "0.00", "1e-9", '"123456789012345678901234567890.12"'])
def test_a_large_number_arrives_exactly(server: SandboxServer, run_tap: RunTap, business: Business, raw: str) -> None:
    key = spoil(server, business, "contacts", raw, "credit_limit")
    run = run_tap("contacts")
    assert row_of(run, "contacts", key, business)["credit_limit"] == Decimal(raw.strip('"'))


# Everywhere


@pytest.mark.parametrize("raw", ['"\\ud83d"', '"Caf\xe9"', "NaN", '"Ann\nBell"'])
def test_single_objects_businesses_and_deletions_are_read_as_leniently(
    server: SandboxServer, run_tap: RunTap, business: Business, raw: str
) -> None:
    streams = ("businesses", "contacts", "invoice_settings", "deletions")
    before = run_tap(*streams)
    business.objects["invoice_settings"]["payment_terms_and_conditions"] = "@raw@"
    business.body["displayed_as"] = "@raw@"
    rows = business.collection("contacts")
    gone, *_ = rows.rows
    rows.change(gone, {"name": "@raw@"}, NOW)
    rows.delete(gone, NOW)
    server.faults.raw = {"@raw@": raw}
    run = run_tap(*streams, state=before.state)
    assert run.error is None
    assert {row["id"] for row in run.records["businesses"]} == set(server.world.businesses)
    assert len(run.records["invoice_settings"]) == 2
    [deleted] = [row for row in run.records["contacts"] if row.get("deleted_at")]
    assert deleted["id"] == gone
    assert json.loads(deleted["additional_attributes"])["name"]
    assert [row["id"] for row in run.records["deletions"]] == [gone]
    damaged = {line.split("'")[1] for line in run.log if line.startswith("Texts of ")}
    assert damaged == {"businesses", "contacts", "invoice_settings"}


@pytest.mark.parametrize("raw", ['"\\ud83d"', '"Caf\xe9"', '"Ann\nBell"'])
def test_sweeps_and_the_trial_balance_are_read_as_leniently(
    server: SandboxServer, run_tap: RunTap, business: Business, raw: str
) -> None:
    ledger = Ledger(server.world, business)
    for number in range(5):
        ledger.post(number)
    quotes = business.collection("sales_quotes")
    damaged, gone, *_ = quotes.rows
    quotes.change(damaged, {"displayed_as": "@raw@"}, NOW)
    for account in ledger.accounts.keys:
        ledger.accounts.collection.change(account, {"displayed_as": "@raw@"}, NOW)
    server.faults.raw = {"@raw@": raw}
    streams = ("ledger_accounts", "sales_quotes", "transactions", "trial_balance")
    run = run_tap(*streams, deletion_sweep_days=0)
    assert run.error is None
    quotes.delete(gone, NOW)
    again = run_tap(*streams, deletion_sweep_days=0, state=run.state)
    assert again.error is None
    warehouse = Warehouse()
    warehouse.load(run.messages)
    warehouse.load(again.messages)
    [flagged] = [row for row in warehouse.tables["sales_quotes"].values() if row.get("deleted_at")]
    assert flagged["id"] == gone
    balance = [row.get("additional_attributes") for row in run.records["trial_balance"]]
    assert {key for kept in balance if kept for key in json.loads(kept)} == {"displayed_as"}


# What stays a fault


@pytest.mark.parametrize("raw", ['"Ann \\', '"Ann "Bell" Ltd"', "Ann", "[1, 2", '{"a": }'])
def test_a_record_that_breaks_the_page_itself_is_the_only_one_missing(
    server: SandboxServer, run_tap: RunTap, business: Business, raw: str
) -> None:
    key = spoil(server, business, "contacts", raw)
    run = run_tap("contacts", "sales_quotes")
    assert isinstance(run.error, IncompleteRunError)
    [failed] = run.tap.report.failed
    assert failed.stream == "contacts"
    assert key in failed.reason
    assert {row["id"] for row in run.records["contacts"] if row["business_id"] == business.id} == set(
        business.collection("contacts").rows
    ) - {key}
    assert run.bookmark("contacts", business.id) is None


@pytest.mark.parametrize("what", ["cut", "html"])
def test_a_page_that_is_cut_off_is_no_half_page(
    server: SandboxServer, run_tap: RunTap, business: Business, what: str
) -> None:
    spoil(server, business, "contacts", '"Caf\xe9"')
    server.faults.add(Fault("contacts", what, times=2))
    run = run_tap("contacts")
    assert run.error is None
    assert len(run.records["contacts"]) == 2 * ROWS


BODY = json.dumps({"$items": [{"id": "1", "name": "Ann é \U0001f600", "n": [1.5, None]}, {"id": "2"}]}).encode()
SPOILED = BODY.replace(b"Ann", b"Ann\xe9\n\\ud83d")


@pytest.mark.parametrize("cut", range(len(SPOILED)))
def test_no_beginning_of_a_body_is_taken_for_a_body(cut: int) -> None:
    with pytest.raises(MalformedResponseError):
        parse_json(SPOILED[:cut], "list")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"<html>\xe9</html>",
        b"{'a': 1}",
        b"[" * 100_000,
        b'{"a": 1} {"b": "\xe9"}',
        b'"' + b'\\"' * 100_000,
    ],
    ids=["empty", "byte", "html", "python", "deep", "two", "quotes"],
)
def test_what_is_no_json_stays_none(body: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        parse_json(body, "list")


def test_an_error_body_that_is_nested_too_deeply_is_not_an_error_of_sage() -> None:
    assert SageError.parse(b"[" * 100_000) == SageError()


def test_an_unreadable_body_is_reported_by_its_size_not_its_text() -> None:
    with pytest.raises(UnreadableResponseError) as unreadable:
        parse_json(b'{"name": "Ms. Private \xe9', "'contacts', page 3")
    assert str(unreadable.value) == "'contacts', page 3: the response is not complete JSON (23 bytes)."


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False).map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_sound_json_is_decoded_as_ever(value: Any, ascii_only: bool) -> None:  # noqa: FBT001 - by hypothesis
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert decode_leniently(body) == parse_json(body, "it")


@given(st.binary(max_size=40), VALUES)
def test_whatever_bytes_stand_in_a_text_its_neighbours_are_unharmed(raw: bytes, value: Any) -> None:
    inside = raw.replace(b'"', b"").replace(b"\\", b"")
    body = b'[%s, "%s", 7]' % (json.dumps(value).encode(), inside)
    before, text, after = parse_json(body, "it")
    assert (before, after) == (value, 7)
    assert isinstance(text, str)
    text.encode()
    if isinstance(text, DamagedText):
        text.original.encode()
        assert "\0" not in text + text.original


def test_the_next_run_agrees_with_the_books_once_the_text_is_sound(
    server: SandboxServer, run_tap: RunTap, business: Business
) -> None:
    key = spoil(server, business, "contacts", '"Caf\xe9"')
    warehouse = Warehouse()
    run = run_tap("contacts", "ledger_entries", "sales_quotes")
    warehouse.load(run.messages)
    business.collection("contacts").change(key, {"name": "Caf\u00e9"}, server.world.clock.now())
    again = run_tap("contacts", "ledger_entries", "sales_quotes", state=run.state)
    warehouse.load(again.messages)
    assert disagreements(server.world, warehouse, ["contacts", "ledger_entries", "sales_quotes"]) == []
    assert row_of(again, "contacts", key, business).get("additional_attributes") is None
