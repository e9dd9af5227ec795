"""Values from Sage arrive in the warehouse as what they are, and nothing is lost on the way."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tap_sage_accounting.records.converter import RecordConverter, with_text_decimals

NULLABLE = {
    "number": {"type": ["number", "null"]},
    "integer": {"type": ["integer", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "string": {"type": ["string", "null"]},
    "date": {"type": ["string", "null"], "format": "date"},
    "moment": {"type": ["string", "null"], "format": "date-time"},
    "last_paid": {"type": ["string", "null"], "x-empty-is-null": True},
}
REFERENCE = {"type": ["object", "null"], "properties": {"id": NULLABLE["string"], "path": NULLABLE["string"]}}
LINES = {
    "type": ["array", "null"],
    "items": {
        "type": ["object", "null"],
        "properties": {
            "quantity": NULLABLE["number"],
            "product": REFERENCE,
            "tags": {"type": ["array", "null"], "items": NULLABLE["string"]},
        },
    },
}
SCHEMA = {
    "properties": {
        "business_id": {"type": "string"},
        "id": {"type": "string"},
        "path": NULLABLE["string"],
        "box_t1": NULLABLE["number"],
        **NULLABLE,
        "lines": LINES,
        "contact": REFERENCE,
        "additional_attributes": NULLABLE["string"],
    }
}
ADDED = frozenset(("business_id", "additional_attributes"))


def clean(**attributes: Any) -> dict[str, Any]:
    return RecordConverter(SCHEMA, ADDED).clean(attributes)


def kept(record: dict[str, Any]) -> Any:
    return json.loads(record["additional_attributes"], parse_float=Decimal)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("10.0", Decimal("10.0")),
        ("-14557.08", Decimal("-14557.08")),
        ("1.9437263272", Decimal("1.9437263272")),
        ("12345678901234567890.1234567891", Decimal("12345678901234567890.1234567891")),
        ("0", Decimal(0)),
        (".5", Decimal("0.5")),
        ("1E+3", Decimal("1E+3")),
        (0, 0),
        (Decimal("2.50"), Decimal("2.50")),
        ("", None),
        ("  ", None),
        (None, None),
    ],
)
def test_decimals_are_exact_however_they_are_written(sent: Any, expected: Any) -> None:
    record = clean(number=sent)
    assert record["number"] == expected
    assert str(record["number"]) == str(expected)
    assert "additional_attributes" not in record


@pytest.mark.parametrize("sent", ["NaN", "Infinity", "1_000", "12,50", "ten", True, [1], {"a": 1}, "1e99999"])
def test_what_is_no_number_is_kept_aside_as_it_came(sent: Any) -> None:
    record = clean(number=sent, string="neighbour")
    assert record["number"] is None
    assert record["string"] == "neighbour"
    assert kept(record) == {"number": sent}


@pytest.mark.parametrize(("sent", "expected"), [(7, 7), ("7", 7), ("7.0", 7), (Decimal("7.00"), 7), ("", None)])
def test_integers_are_accepted_in_any_spelling(sent: Any, expected: Any) -> None:
    assert clean(integer=sent)["integer"] == expected


@pytest.mark.parametrize("sent", ["7.5", 2**63, "999999999999999999999"])
def test_an_integer_column_never_rounds_or_overflows(sent: Any) -> None:
    record = clean(integer=sent)
    assert record["integer"] is None
    assert kept(record) == {"integer": sent}


@pytest.mark.parametrize(
    ("sent", "expected"), [(True, True), (False, False), ("true", True), ("false", False), ("", None)]
)
def test_booleans_are_accepted_in_any_spelling(sent: Any, expected: Any) -> None:
    assert clean(boolean=sent)["boolean"] is expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2026-06-30", "2026-06-30"),
        ("2026-06-30T00:00:00Z", "2026-06-30"),
        ("0001-01-01", "0001-01-01"),
        ("", None),
        ("0000-00-00", None),
    ],
)
def test_dates_are_dates_or_null(sent: str, expected: str | None) -> None:
    record = clean(date=sent)
    assert record["date"] == expected
    assert "additional_attributes" not in record


def test_a_time_where_a_date_belongs_is_kept_aside() -> None:
    record = clean(date="2024-05-13T08:01:32.000Z")
    assert record["date"] == "2024-05-13"
    assert kept(record) == {"date": "2024-05-13T08:01:32.000Z"}


@pytest.mark.parametrize("sent", ["05/01/2022", "yesterday", "2026-02-30", 20260630])
def test_what_is_no_date_is_kept_aside(sent: Any) -> None:
    record = clean(date=sent, moment=sent)
    assert record["date"] is None
    assert record["moment"] is None
    assert kept(record) == {"date": sent, "moment": sent}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2026-06-30T18:00:00Z", "2026-06-30T18:00:00Z"),
        ("2026-06-30T18:00:00.000Z", "2026-06-30T18:00:00Z"),
        ("2026-06-30T18:00:00.250Z", "2026-06-30T18:00:00.250000Z"),
        ("2026-06-30T20:00:00+02:00", "2026-06-30T18:00:00Z"),
        ("2026-06-30T18:00:00", "2026-06-30T18:00:00Z"),
        ("2026-06-30", "2026-06-30T00:00:00Z"),
        ("", None),
    ],
)
def test_moments_are_converted_to_utc(sent: str, expected: str | None) -> None:
    assert clean(moment=sent)["moment"] == expected


def test_moments_that_utc_cannot_hold_are_kept_aside() -> None:
    record = clean(moment="0001-01-01T00:00:00+05:00")
    assert record["moment"] is None
    assert kept(record) == {"moment": "0001-01-01T00:00:00+05:00"}


def test_a_date_whose_order_nobody_knows_stays_as_written_and_empty_is_null() -> None:
    assert clean(last_paid="05/01/2022")["last_paid"] == "05/01/2022"
    assert clean(last_paid="")["last_paid"] is None


def test_text_stays_text() -> None:
    for text in ("", "null", "Zoë 🧾\nline two\t", "x" * 100_000):
        assert clean(string=text)["string"] == text
    assert clean(string=17)["string"] == "17"
    assert clean(string=Decimal("1.50"))["string"] == "1.50"


def test_a_nul_character_that_no_database_stores_is_taken_out_and_the_original_kept() -> None:
    record = clean(string="a\0b")
    assert record["string"] == "ab"
    assert kept(record) == {"string": "a\\u0000b"}  # spelled out, for databases refuse it in JSON, too


def test_names_become_legal_column_names_at_every_level() -> None:
    record = clean(**{"$path": "/x/1", "box_T1": "4.5", "contact": {"id": "c", "$path": "/contacts/c"}})
    assert record["path"] == "/x/1"
    assert record["box_t1"] == Decimal("4.5")
    assert record["contact"] == {"id": "c", "path": "/contacts/c"}


def test_two_attributes_of_one_name_are_both_kept() -> None:
    record = clean(**{"$path": "/x/1", "path": "other"})
    assert record["path"] == "/x/1"
    assert kept(record) == {"path": "other"}


def test_unknown_attributes_are_kept_with_their_place_and_reported_once() -> None:
    cleaner = RecordConverter(SCHEMA, ADDED)
    raw = {
        "id": "1",
        "colour": {"name": "red", "share": Decimal("0.10")},
        "business_id": "Sage's own idea",
        "lines": [{"quantity": "1", "product": {"id": "p", "maker": "ACME"}}, {"quantity": "x", "weight": 3}],
    }
    record = cleaner.clean(raw)
    assert record["lines"][0] == {"quantity": Decimal(1), "product": {"id": "p"}}
    assert kept(record) == {
        "business_id": "Sage's own idea",
        "colour": {"name": "red", "share": Decimal("0.10")},
        "lines[0].product.maker": "ACME",
        "lines[1].quantity": "x",
        "lines[1].weight": 3,
    }
    cleaner.clean(raw)
    assert sorted(cleaner.drift.unknown) == ["business_id", "colour", "lines[].product.maker", "lines[].weight"]
    assert cleaner.drift.mismatches == {"lines[].quantity": 2}


@pytest.mark.parametrize("sent", ["text", 5, [], True])
def test_a_value_of_another_kind_never_spoils_its_neighbours(sent: Any) -> None:
    record = clean(contact=sent, string="neighbour")
    assert record["contact"] is None
    assert record["string"] == "neighbour"
    assert kept(record) == {"contact": sent}


def test_lists_keep_nulls_and_positions_and_lists_within_lists() -> None:
    record = clean(lines=[None, {"tags": ["a", None, {"b": 1}]}])
    assert record["lines"] == [None, {"tags": ["a", None, None]}]
    assert kept(record) == {"lines[1].tags[2]": {"b": 1}}


def test_a_lone_object_where_a_list_of_objects_belongs_is_a_list_of_one() -> None:
    assert clean(lines={"quantity": "2"})["lines"] == [{"quantity": Decimal(2)}]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("10.0", "10.0"),
        ("1E+3", "1000"),
        (5, "5"),
        ("12345678901234567890.1234567891", "12345678901234567890.1234567891"),
    ],
)
def test_decimals_travel_as_text_on_request(sent: Any, expected: str) -> None:
    record = RecordConverter(with_text_decimals(SCHEMA, {"type": ["string", "null"]}), ADDED).clean(
        {"number": sent, "lines": [{"quantity": sent}]}
    )
    assert record == {"number": expected, "lines": [{"quantity": expected}]}


def test_an_empty_string_for_a_list_or_an_object_is_null() -> None:
    record = clean(lines="", contact="")
    assert record["lines"] is None
    assert record["contact"] is None


def test_absent_attributes_stay_absent() -> None:
    assert clean(id="1") == {"id": "1"}
