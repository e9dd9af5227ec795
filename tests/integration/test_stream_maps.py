"""A mistake in a stream map is refused before any request: it would deliver what it should remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigValidationError

from sage_sandbox.server import SandboxServer
from sage_workbench.plain_books import LONG_AGO, List, plain_world
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]
    Record = dict[str, Any]


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        yield running


@pytest.fixture
def contacts(server: SandboxServer) -> List:
    rows = List(server.world, next(iter(server.world.businesses.values())), "contacts")
    rows.fill(5)
    for number, key in enumerate(rows.keys):
        rows.collection.change(key, {"name": f"Name {number}", "email": f"{number}@example.com"}, LONG_AGO)
    return rows


REFUSED: dict[str, tuple[Record, str]] = {
    "stream": ({"contact": {"email": None}}, "Stream map 'contact' is about no stream; did you mean 'contacts'?"),
    "stream left out": (
        {"contact_person": None},
        "'contact_person' is about no stream; did you mean 'contact_persons'?",
    ),
    "pattern": ({"kontact*": {"email": None}}, "'kontact*' is about no stream"),
    "source": ({"people": {"__source__": "contcts"}}, "'people' is about no stream; did you mean 'contacts'?"),
    "removed column": ({"contacts": {"e_mail": None}}, "removes 'e_mail', which is no column; did you mean 'email'?"),
    "removed column as text": (
        {"contacts": {"emial": "__NULL__"}},
        "'emial', which is no column; did you mean 'email'?",
    ),
    "removed column of no stream of a pattern": ({"*": {"e_mail": None}}, "removes 'e_mail', which is no column"),
    "removed part": ({"contacts": {"main_address.city": None}}, "removes 'main_address.city', which is no column"),
    "removed flattened part": ({"contacts": {"main_address__city": None}}, "removes 'main_address__city'"),
    "hashed column": ({"contacts": {"e_mail": "md5(email)"}}, "'email' would be sent as it is; did you mean 'email'?"),
    "transposed column": ({"contacts": {"emial": "md5(email)"}}, "'email' would be sent as it is"),
    "column in the plural": ({"contacts": {"emails": "None"}}, "'email' would be sent as it is"),
    "column in upper case": ({"contacts": {"EMAIL": "None"}}, "'email' would be sent as it is"),
    "name in an expression": (
        {"contacts": {"hash": "md5(e_mail)"}},
        "the expression for 'hash' reads 'e_mail', which is no column of 'contacts'; did you mean 'email'?",
    ),
    "function": (
        {"contacts": {"hash": "md6(email)"}},
        "reads 'md6', which is no column of 'contacts'; did you mean 'md5'?",
    ),
    "part of the record": ({"contacts": {"hash": "record['e_mail']"}}, "reads 'e_mail'"),
    "optional part of the record": ({"contacts": {"hash": "_.get('e_mail')"}}, "reads 'e_mail'"),
    "itself without a column": ({"contacts": {"hash": "self.upper()"}}, "reads 'hash', which is no column"),
    "itself in a filter": ({"contacts": {"__filter__": "self"}}, "reads 'self'"),
    "name in a filter": ({"contacts": {"__filter__": "namee == 'x'"}}, "'__filter__' reads 'namee'"),
    "name of some streams": ({"*": {"hash": "md5(email)"}}, "which is no column of 'currencies'"),
    "syntax": ({"contacts": {"email": "md5(email"}}, "the text for 'email' is no expression"),
    "assignment": ({"contacts": {"email": "x = 1"}}, "the text for 'email' is no expression"),
    "nothing": ({"contacts": {"email": ""}}, "the text for 'email' is no expression"),
    "filter's syntax": ({"contacts": {"__filter__": "name =="}}, "the text for '__filter__' is no expression"),
    "lambda": ({"contacts": {"email": "(lambda: 1)()"}}, "has Lambda, which stream maps do not know"),
    "private attribute": ({"contacts": {"email": "email.__class__"}}, "has '__class__'"),
    "a number": ({"contacts": {"email": 5}}, "'stream_maps.contacts' does not fit"),
    "a stream as text": ({"contacts": "drop"}, "'stream_maps.contacts' does not fit"),
    "option": ({"contacts": {"__filters__": "True"}}, "no option '__filters__'; did you mean '__filter__'?"),
    "option of all": ({"__els__": None}, "there is no option '__els__'; did you mean '__else__'?"),
    "else": ({"contacts": {"__else__": "email"}}, "'__else__' must be null"),
    "else of all": ({"__else__": "keep"}, "'__else__' must be null"),
    "alias": ({"contacts": {"__alias__": ""}}, "'__alias__' must be a text"),
    "key removed": ({"contacts": {"id": None}}, "removes 'id', which is in the key"),
    "key left out": ({"contacts": {"__else__": None, "name": "name"}}, "'__else__' leaves 'id' out"),
    "key of nothing": ({"contacts": {"__key_properties__": ["uuid"]}}, "the key 'uuid' is no column"),
    "key as text": ({"contacts": {"__key_properties__": "id"}}, "'stream_maps.contacts' does not fit"),
    "same key for all": ({"contacts": {"id": "'x'"}}, "gives rows the same 'id'"),
    "no key for all": ({"contacts": {"id": "None"}}, "gives rows the same 'id'"),
    "value for expressions": (
        {"contacts": {"email": "md5(config['slat'] + email)"}},
        "reads config['slat'], which stream_map_config lacks; did you mean 'salt'?",
    ),
    "fakes": ({"contacts": {"name": "fake.name()"}}, "needs the package 'faker'"),
    "same table": ({"contacts": {"__alias__": "currencies"}}, "lead 'contacts' and 'currencies' to the same table"),
    "same table in upper case": ({"contacts": {"__alias__": "Currencies"}}, "to the same table, 'currencies'"),
    "one table for a pattern": ({"c*": {"__alias__": "all"}}, "to the same table, 'all'"),
    "same copy": ({"currencies": {"__source__": "contacts"}}, "to the same table, 'currencies'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED)
def test_a_stream_map_that_cannot_mean_what_it_says_is_refused(server: SandboxServer, kind: str) -> None:
    stream_maps, reported = REFUSED[kind]
    config = server.tap_config(stream_maps=stream_maps, stream_map_config={"salt": "pepper"})
    catalog = TapSageAccounting(parse_env_config=False, validate_config=False).catalog_dict
    for entry in catalog["streams"]:
        for each in entry["metadata"]:
            if not each["breadcrumb"]:
                each["metadata"]["selected"] = entry["tap_stream_id"] in ("contacts", "currencies")
    with pytest.raises(ConfigValidationError) as refused:
        TapSageAccounting(config=config, catalog=catalog)
    assert [line for line in refused.value.errors if reported in line], refused.value.errors
    assert list(server.requests) == []


def test_a_column_that_is_not_selected_cannot_be_read(server: SandboxServer) -> None:
    catalog = TapSageAccounting(parse_env_config=False, validate_config=False).catalog_dict
    [entry] = [each for each in catalog["streams"] if each["tap_stream_id"] == "contacts"]
    for each in entry["metadata"]:
        if each["breadcrumb"] in ([], ["properties", "email"]):
            each["metadata"]["selected"] = not each["breadcrumb"]
    config = server.tap_config(stream_maps={"contacts": {"hash": "md5(email)"}})
    with pytest.raises(ConfigValidationError) as refused:
        TapSageAccounting(config=config, catalog=catalog)
    assert "reads 'email', which is no column of 'contacts'; it is not selected." in refused.value.errors[0]


ACCEPTED: dict[str, tuple[Record, Callable[[Record], bool]]] = {
    "a computed column": ({"contacts": {"email_hash": "md5(email)"}}, lambda row: len(row["email_hash"]) == 32),
    "a slip on purpose": (
        {"contacts": {"e_mail": "md5(email)", "email": "email"}},
        lambda row: len(row["e_mail"]) == 32 and "@" in row["email"],
    ),
    "few columns": (
        {"contacts": {"__else__": None, "business_id": "business_id", "id": "id", "e_mail": "md5(email)"}},
        lambda row: row.keys() == {"business_id", "id", "e_mail"},
    ),
    "a pattern": ({"cont*": {"email": None}}, lambda row: "email" not in row),
    "all streams": ({"*": {"email": None, "hash": "md5(record.get('email') or '')"}}, lambda row: "email" not in row),
    "a comprehension": (
        {"contacts": {"letters": "''.join([letter for letter in name if letter != 'N'])"}},
        lambda row: row["letters"].startswith("ame"),
    ),
    "a format": ({"contacts": {"label": "f'{name} {email}'"}}, lambda row: "@" in row["label"]),
    "a function": (
        {"contacts": {"on": "datetime.date.today().isoformat()", "n": "int(float('1'))"}},
        lambda row: row["n"] == 1,
    ),
    "another key": (
        {"contacts": {"__key_properties__": ["key"], "key": "business_id + id", "id": None}},
        lambda row: row["key"] and "id" not in row,
    ),
    "no key": ({"contacts": {"__key_properties__": None}}, lambda row: bool(row["id"])),
    "a name": (
        {"contacts": {"__alias__": "people_{}".format("x"), "source": "'sage'"}},
        lambda row: row["source"] == "sage",
    ),
    "nothing else": ({"contacts": {}, "__else__": None}, lambda row: bool(row["id"])),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_stream_maps_that_work_are_left_alone(contacts: List, run_tap: RunTap, kind: str) -> None:
    stream_maps, holds = ACCEPTED[kind]
    run = run_tap("contacts", stream_maps=stream_maps)
    assert run.error is None
    [rows] = run.records.values()
    assert len(rows) == len(contacts.keys)
    assert all(map(holds, rows))


def test_a_row_whose_key_a_stream_map_leaves_empty_fails_its_read(contacts: List, run_tap: RunTap) -> None:
    contacts.collection.change(contacts.keys[2], {"email": None}, LONG_AGO)
    run = run_tap("contacts", stream_maps={"contacts": {"__key_properties__": ["email"]}})
    assert "1 read failed (contacts)" in str(run.error)
    assert "leaves 'email' empty in a record of 'contacts'" in run.tap.report.failed[0].reason
    assert None not in {row["email"] for row in run.records["contacts"]}
