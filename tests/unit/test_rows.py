"""Pages are read in one go where they hold nothing unexpected, and come out as if read record by record."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from singer_sdk.contrib.msgspec import encoder

from sage_sandbox.books import build_world
from tap_sage_accounting import schemas
from tap_sage_accounting.api.request import parse_json
from tap_sage_accounting.client import SageStream
from tap_sage_accounting.records.converter import RecordConverter, with_text_decimals
from tap_sage_accounting.records.row_decoder import MANY, Row, RowDecoder
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from sage_sandbox.store import World

ADDED = SageStream.added_properties
TEXT = {"type": ["string", "null"]}
REFERENCE = {"type": ["object", "null"], "properties": {"id": TEXT, "path": TEXT, "displayed_as": TEXT}}
LINE = {
    "type": ["object", "null"],
    "properties": {
        "quantity": {"type": ["number", "null"]},
        "product": REFERENCE,
        "tags": {"type": ["array", "null"], "items": TEXT},
    },
}
SCHEMA: dict[str, Any] = {
    "properties": {
        "id": TEXT,
        "path": TEXT,
        "total": {"type": ["number", "null"]},
        "count": {"type": ["integer", "null"]},
        "paid": {"type": ["boolean", "null"]},
        "date": {"type": ["string", "null"], "format": "date"},
        "updated_at": {"type": ["string", "null"], "format": "date-time"},
        "last_paid": {"type": ["string", "null"], "x-empty-is-null": True},
        "import": TEXT,
        "contact": REFERENCE,
        "lines": {"type": ["array", "null"], "items": LINE},
    }
}


def sent(rows: list[Any]) -> bytes:
    return json.dumps(rows).encode()


class Decoders:
    """The two decoders of a schema: rows for records, and rows for nothing but JSON."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        properties = {name: part for name, part in schema["properties"].items() if name not in ADDED}
        self.for_records = RowDecoder(properties)
        self.for_json = RowDecoder(properties, for_json=True)

    def read(self, body: bytes) -> list[dict[str, Any]] | None:
        """Read records the quick way where that goes, and see that their JSON is the same."""
        rows, others = self.for_records.decode(body, as_sent), self.for_json.decode(body, as_sent)
        if rows is None or others is None:
            assert rows is others
            return None
        cleaner = RecordConverter(self._schema, ADDED)
        records = [row.to_record() if isinstance(row, Row) else cleaner.clean(row) for row in rows]
        for row, other, record in zip(rows, others, records, strict=True):
            assert isinstance(row, Row) == isinstance(other, Row)
            assert not isinstance(other, Row) or bytes(other.to_json()) == encoder.encode(record)
        return records


def as_sent(row: bytes) -> Any:
    return parse_json(row, "row")


def decoded(decoder: RowDecoder, body: bytes) -> list[Any]:
    rows = decoder.decode(body, as_sent)
    assert rows is not None
    return [*rows]


def careful(schema: dict[str, Any], body: bytes) -> list[dict[str, Any]]:
    cleaner = RecordConverter(schema, ADDED)
    return [cleaner.clean(item) for item in parse_json(body, "list")]


def exactly(records: list[dict[str, Any]]) -> Any:
    """Distinguish 1, 1.0 and true, and 1.50 from 1.5; absent from null."""

    def form(value: Any) -> Any:
        match value:
            case dict():
                return {name: form(part) for name, part in value.items()}
            case list():
                return [form(part) for part in value]
            case _:
                return (type(value).__name__, str(value))

    return form(records)


DECODERS = Decoders(SCHEMA)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(size="tiny", businesses=2, frozen=True)


@pytest.mark.parametrize("decimals", ["number", "text"])
@pytest.mark.parametrize("name", ["contacts", "journals", "ledger_entries", "products", "transactions"])
def test_the_usual_lists_are_read_in_one_go(world: World, name: str, decimals: str) -> None:
    schema = schemas.load(name, ("business_id", "id"))
    if decimals == "text":
        schema = with_text_decimals(schema, {"type": ["string", "null"]})
    business = next(iter(world.businesses.values()))
    body = sent([row.render() for row in business.collections[name].rows.values()])
    records = Decoders(schema).read(body)
    assert records
    assert exactly(records) == exactly(careful(schema, body))


def test_whatever_sage_holds_comes_out_the_same_both_ways(world: World) -> None:
    read = 0
    for stream in STREAMS:
        schema = schemas.load(stream.name, stream.primary_keys)
        if "id" not in schema["properties"]:
            continue
        decoders = Decoders(schema)
        lists = [each.collections[stream.name] for each in world.businesses.values() if stream.name in each.collections]
        for row in [row for each in lists for row in each.rows.values()][:50]:
            body = sent([row.render()])
            if (records := decoders.read(body)) is not None:
                assert exactly(records) == exactly(careful(schema, body)), stream.name
                read += 1
    assert read > 800


@pytest.mark.parametrize(
    "surprise",
    [
        {"colour": "red"},
        {"ID": "1"},
        {"path": "/2"},
        {"business_id": "another"},
        {"business_id": None},
        {"total": "a lot"},
        {"total": True},
        {"total": "NaN"},
        {"count": "1.5"},
        {"paid": "yes"},
        {"date": "2026-02-30"},
        {"date": "2026-06-30T12:00:00Z"},
        {"updated_at": "2026-06-30T18:00:00.1234567Z"},
        {"import": "nul\0"},
        {"import": 5},
        {"contact": ""},
        {"contact": {"id": "1", "colour": "red"}},
        {"lines": {"quantity": "1"}},
        {"lines": [{"tags": [1]}]},
    ],
    ids=str,
)
def test_only_the_row_with_a_surprise_is_left_to_the_careful_way(surprise: dict[str, Any]) -> None:
    usual: list[dict[str, Any]] = [{"id": str(number), "$path": f"/{number}"} for number in range(3)]
    body = sent([usual[0], usual[1] | surprise, usual[2]])
    for decoder in (DECODERS.for_records, DECODERS.for_json):
        first, surprising, last = decoded(decoder, body)
        assert isinstance(first, Row)
        assert surprising == usual[1] | surprise
        assert isinstance(last, Row)
    assert exactly(DECODERS.read(body) or []) == exactly(careful(SCHEMA, body))


@pytest.mark.parametrize("odd", [b"5", b"null", b'"text"', b"[1]", b'{"id":"1","total":1e999}'])
def test_what_is_no_record_goes_the_careful_way_alone(odd: bytes) -> None:
    rows = DECODERS.for_json.decode(b'[{"id":"0"},' + odd + b"]", lambda row: {"as sent": row})
    assert rows is not None
    usual, other = rows
    assert isinstance(usual, Row)
    assert other == {"as sent": odd}


def test_a_schema_that_no_row_of_a_page_fits_is_tried_no_more() -> None:
    """Sage adds an attribute to all rows: to try each would take longer than the careful way."""
    decoder = RowDecoder(SCHEMA["properties"])
    surprising = [{"id": str(number), "colour": "red"} for number in range(MANY)]
    assert decoder.decode(sent([{"id": "0"}, *surprising]), as_sent) == [decoder_row(decoder), *surprising]
    assert decoder.decode(sent(surprising), as_sent) == surprising
    assert decoder.decode(sent([{"id": "0"}]), as_sent) is None


def decoder_row(decoder: RowDecoder) -> Row:
    [row] = decoded(decoder, sent([{"id": "0"}]))
    assert isinstance(row, Row)
    return row


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
    | st.dates().map(str)
    | st.sampled_from(("", "1", "1.50", "-0.0", "true", "2026-06-30T18:00:00+01:00", "\0", '","$path":', "ÿ🙂"))
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("id", "$path", "path", "displayed_as", "quantity", "product", "tags", "x")), inner
        )
    ),
    max_leaves=6,
)
ROWS = st.fixed_dictionaries(
    {"id": st.text(max_size=3)},
    optional={
        "$path": st.text(max_size=5) | VALUES,
        "total": st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str) | VALUES,
        "count": st.integers() | VALUES,
        "paid": st.booleans() | VALUES,
        "date": st.dates().map(str) | VALUES,
        "updated_at": st.datetimes().map(lambda moment: f"{moment.isoformat(timespec='seconds')}Z") | VALUES,
        "last_paid": st.text(max_size=3) | VALUES,
        "import": st.text() | VALUES,
        "contact": VALUES,
        "lines": st.lists(
            st.fixed_dictionaries({}, optional={"quantity": st.integers(), "product": VALUES, "tags": VALUES})
        ),
        "colour": VALUES,
    },
)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.lists(ROWS, max_size=3))
def test_the_quick_way_never_reads_anything_else_than_the_careful_one(rows: list[dict[str, Any]]) -> None:
    body = sent(rows)
    records = DECODERS.read(body)
    assert records is None or exactly(records) == exactly(careful(SCHEMA, body))


DIGITS = st.text("0123456789", min_size=1, max_size=40)
SPELLED = st.one_of(
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.builds("{}{}.{}".format, st.sampled_from(("", "-", "+", " ", "- ")), DIGITS, DIGITS),
    st.builds("{}{}{}".format, DIGITS, st.sampled_from(("e", "E", "E-", "e+", "_", ".e")), DIGITS),
    st.sampled_from(
        (
            "1e400",
            "1e-400",
            "1e9999999999999999999",
            "9" * 5000,
            "-0",
            "-0.0",
            "0",
            "00.10",
            "1.",
            ".5",
            "1_0.5",
            "1.5 ",
            "\t1.5",
            "\u0661.5",
            "sNaN1",
        )
    ),
    st.text(max_size=6),
)
JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


@settings(deadline=None, max_examples=400)
@given(SPELLED, st.booleans())
def test_every_amount_that_is_written_is_the_one_that_sage_sent(spelled: str, as_text: bool) -> None:  # noqa: FBT001
    """It is the decimal that Python reads, digit by digit, or kept aside as it came; both ways agree."""
    as_text = as_text or not JSON_NUMBER.fullmatch(spelled)
    body = b'[{"id":"1","total":%b}]' % (json.dumps(spelled) if as_text else spelled).encode()
    [record] = DECODERS.read(body) or [{}]
    assert exactly([record]) == exactly(careful(SCHEMA, body))
    if record["total"] is None:
        aside = parse_json(record.get("additional_attributes", '{"total":""}').encode(), "aside")["total"]
        assert str(aside) == str(parse_json(body, "row")[0]["total"]).replace("\0", "\\u0000") or not spelled.strip()
    else:
        assert str(record["total"]) == str(Decimal(spelled.strip())) or spelled == "-0"


def test_decimals_are_exact_however_they_are_sent() -> None:
    body = sent([{"id": "1"}]).replace(b'"id": "1"', b'"id": "1", "total": 0.12345678901234567890123456789')
    assert DECODERS.read(body) == [{"id": "1", "total": Decimal("0.12345678901234567890123456789")}]
