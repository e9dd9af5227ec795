"""Pages are read in one go where they hold nothing unexpected, and come out as if read record by record."""

from __future__ import annotations

import json
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
from tap_sage_accounting.records.row_decoder import RowDecoder
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
        properties = {name: part for name, part in schema["properties"].items() if name not in ADDED}
        self.for_records = RowDecoder(properties)
        self.for_json = RowDecoder(properties, for_json=True)

    def read(self, body: bytes) -> list[dict[str, Any]] | None:
        """Read records the quick way, and see that their JSON is the same."""
        rows, others = self.for_records.decode(body), self.for_json.decode(body)
        assert (rows is None) == (others is None)
        if rows is None or others is None:
            return None
        records = [row.to_record() for row in rows]
        assert [bytes(row.to_json()) for row in others] == [encoder.encode(record) for record in records]
        return records


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
def test_a_page_with_a_surprise_is_left_to_the_careful_way(surprise: dict[str, Any]) -> None:
    rows = [{"id": "0", "$path": "/0"}, {"id": "1", "$path": "/1", **surprise}]
    assert DECODERS.read(sent(rows)) is None
    assert DECODERS.read(sent(rows[:1])) == [{"id": "0", "path": "/0"}]


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


def test_decimals_are_exact_however_they_are_sent() -> None:
    body = sent([{"id": "1"}]).replace(b'"id": "1"', b'"id": "1", "total": 0.12345678901234567890123456789')
    assert DECODERS.read(body) == [{"id": "1", "total": Decimal("0.12345678901234567890123456789")}]
