"""The catalog of a run: what it says is done, corrected and reported, or refused before any request."""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from sage_sandbox.server import SandboxServer
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.loading import Loading
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import LONG_AGO, List, plain_world
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]
    Record = dict[str, Any]

ROWS = 12
STREAMS = ("contacts", "ledger_entries", "currencies", "deletions")
TEXT = {"type": ["string", "null"]}
DISCOVERED: Record = TapSageAccounting(parse_env_config=False, validate_config=False).catalog_dict


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world(2)) as running:
        yield running


@pytest.fixture
def contacts(server: SandboxServer) -> List:
    lists = []
    for business in server.world.businesses.values():
        for stream in STREAMS[:3]:
            rows = List(server.world, business, stream)
            lists.append(rows)
            rows.fill(ROWS)
            for number, key in enumerate(rows.keys):
                changes: dict[str, Record] = {
                    "contacts": {
                        "name": f"Name {number}",
                        "credit_limit": f"{number}.50",
                        "credit_days": number,
                        "email": f"{number}@example.com",
                        "notes": "x" * 6000,
                        "main_address": {"id": key, "city": "Town", "postal_code": "1"},
                        "colour": "blue",
                    },
                    "ledger_entries": {"debit": f"{number}.25", "date": "2026-06-01"},
                    "currencies": {},
                }
                rows.collection.change(key, changes[stream], LONG_AGO)
    return lists[0]


def catalog(*streams: str) -> Record:
    """A discovered catalog with some streams selected."""
    made = deepcopy(DISCOVERED)
    for entry in made["streams"]:
        root(entry)["selected"] = entry["tap_stream_id"] in streams
    return made


def entry_of(given: Record, stream: str) -> Record:
    entries: list[Record] = given["streams"]
    [entry] = [each for each in entries if each["tap_stream_id"] == stream]
    return entry


def root(entry: Record) -> Record:
    metadata: Record
    [metadata] = [each["metadata"] for each in entry["metadata"] if not each["breadcrumb"]]
    return metadata


def column(entry: Record, name: str) -> Record:
    return next(each for each in entry["metadata"] if each["breadcrumb"] == ["properties", name])


def violations(run: Run) -> Counter[str]:
    """What a target that validates finds wrong in the records of a run, and columns that were never announced."""
    found: Counter[str] = Counter()
    schemas: dict[str, Record] = {}
    for message in run.messages:
        if message["type"] == "SCHEMA":
            schemas[message["stream"]] = message["schema"]
        elif message["type"] == "RECORD":
            schema = schemas[message["stream"]]
            validator = DEFAULT_JSONSCHEMA_VALIDATOR(schema)
            found.update(error.message[:80] for error in validator.iter_errors(message["record"]))
            found.update(message["record"].keys() - schema["properties"].keys())
    return found


# Records and the schema that is announced


def older(entry: Record) -> None:
    for name in ("email", "credit_limit", "notes"):
        del entry["schema"]["properties"][name]
    del entry["schema"]["properties"]["main_address"]["properties"]["postal_code"]


def retyped(**types: Record) -> Callable[[Record], None]:
    return lambda entry: entry["schema"]["properties"].update(types)


def without(*names: str) -> Callable[[Record], None]:
    def change(entry: Record) -> None:
        for name in names:
            del entry["schema"]["properties"][name]

    return change


CATALOGS: dict[str, Callable[[Record], None]] = {
    "older version": older,
    "integer to text": retyped(credit_days=TEXT),
    "time to text": retyped(updated_at=TEXT),
    "number to text": retyped(credit_limit=TEXT),
    "number to decimal text": retyped(credit_limit={**TEXT, "format": "x-singer.decimal"}),
    "number to whole number": retyped(credit_limit={"type": ["integer", "null"]}),
    "text to number": retyped(name={"type": ["number", "null"]}),
    "time to date": retyped(updated_at={**TEXT, "format": "date"}),
    "object to text": retyped(main_address=TEXT),
    "any object": retyped(main_address={"type": "object"}),
    "never null": retyped(telephone={"type": "string"}, name={"type": "string"}),
    "short text": retyped(name={**TEXT, "maxLength": 6}),
    "some values": retyped(name={"enum": ["Name 1", "Name 2", None]}),
    "several types": retyped(credit_days={"type": ["integer", "string", "null"]}, name={"type": ["boolean", "string"]}),
    "choice": retyped(credit_limit={"anyOf": [{"type": "number"}, {"type": "null"}]}),
    "no type": retyped(credit_limit={}, name={"description": "anything"}),
    "another order of types": retyped(name={"type": ["null", "string"]}),
    "a column for something new": retyped(colour=TEXT, size={"type": ["integer", "null"]}),
    "a column for something new of another type": retyped(colour={"type": ["integer", "null"]}),
    "no additional attributes": without("additional_attributes"),
    "other additional attributes": retyped(additional_attributes={"type": ["object", "null"]}),
    "no business": without("business_id"),
    "no key": without("id"),
    "key of another type": retyped(id={"type": "integer"}),
    "no bookmark": without("updated_at"),
    "no deletions": without("deleted_at"),
    "no schema": lambda entry: entry.pop("schema"),
    "empty schema": lambda entry: entry.update(schema={}),
    "required columns": lambda entry: entry["schema"].update(required=["id", "telephone"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CATALOGS)
def test_records_follow_the_schema_that_is_announced_and_lose_nothing(
    server: SandboxServer, contacts: List, run_tap: RunTap, kind: str
) -> None:
    given = catalog("contacts")
    CATALOGS[kind](entry_of(given, "contacts"))
    usual = {row["id"]: row for row in run_tap("contacts", business_ids=[contacts.owner.id]).records["contacts"]}
    run = run_tap(catalog=given)
    assert run.error is None
    assert violations(run) == {}
    rows = [row for row in run.records["contacts"] if row["business_id"] == contacts.owner.id]
    assert [row["id"] for row in rows] == list(usual)
    for row in rows:
        stated = json.dumps({**row, **json.loads(row.get("additional_attributes") or "{}")}, default=str)
        for name in ("name", "email", "credit_limit", "credit_days", "colour"):
            value = usual[row["id"]].get(name, "blue")
            assert str(value) in stated, name
    assert run.bookmark("contacts", contacts.owner.id) is not None

    with server.paused():
        server.world.clock.advance(timedelta(days=1))
        server.faults.tombstones = "id_only"
        gone = contacts.keys[0]
        contacts.delete(gone)
        contacts.edit(contacts.keys[1])
    second = run_tap(catalog=given, state=run.state)
    assert second.error is None
    assert violations(second) == {}
    [mark] = [row for row in second.records["contacts"] if (row["business_id"], row["id"]) == (contacts.owner.id, gone)]
    assert mark["deleted_at"]


@pytest.mark.parametrize("decimals", ["text", "string"])
def test_a_catalog_discovered_before_decimals_became_text_still_fits(
    contacts: List, run_tap: RunTap, decimals: str
) -> None:
    run = run_tap(catalog=catalog("contacts", "ledger_entries"), decimals=decimals)
    assert violations(run) == {}
    assert {row["debit"] for row in run.records["ledger_entries"]} == {Decimal(f"{each}.25") for each in range(ROWS)}
    assert contacts.keys


@pytest.mark.postgres
def test_one_warning_names_the_streams_whose_schema_is_another_and_says_to_discover_again(
    contacts: List, loading: Loading
) -> None:
    def change(given: Record) -> None:
        older(entry_of(given, "contacts"))
        entry_of(given, "ledger_entries")["schema"]["properties"]["debit"] = TEXT
        entry_of(given, "products")["schema"]["properties"] = {}

    loading.run(STREAMS, change, decimals="number")
    [line] = [line for line in loading.log.splitlines() if "Discover again" in line]
    assert "WARNING" in line
    assert "'contacts' (credit_limit, email, main_address, notes), 'ledger_entries' (debit)" in line
    assert "products" not in line
    rows = loading.rows("contacts")
    assert len(rows) == 2 * len(contacts.keys)
    kept = [json.loads(row["additional_attributes"]) for row in rows.values()]
    assert {each["email"] for each in kept} == {f"{number}@example.com" for number in range(ROWS)}
    assert {each["main_address.postal_code"] for each in kept} == {"1"}
    assert {row["main_address"]["city"] for row in rows.values()} == {"Town"}


@pytest.mark.postgres
def test_a_catalog_of_this_version_is_followed_without_a_word(contacts: List, loading: Loading) -> None:
    loading.run(STREAMS)
    assert "The catalog" not in loading.log
    assert len(loading.rows("contacts")) == 2 * len(contacts.keys)


@pytest.mark.parametrize(
    ("part", "stated"),
    [
        ({"type": "text"}, "'contacts' has the type 'text' in 'name'"),
        ({"type": []}, "'contacts' has the type [] in 'name'"),
        ({"type": 5}, "'contacts' has the type 5 in 'name'"),
        ({"type": ["string", "nil"]}, "'contacts' has the type ['string', 'nil'] in 'name'"),
        ({"anyOf": "string"}, "'contacts' has a choice of types that is none in 'name'"),
        ({"type": "array", "items": {"type": "strings"}}, "'contacts' has the type 'strings' in 'name'"),
        ("string", "schema of 'contacts' is damaged at 'name'"),
        (None, "schema of 'contacts' is damaged at 'name'"),
        ({"type": "object", "properties": ["a"]}, "schema of 'contacts' is damaged at 'name'"),
    ],
    ids=str,
)
def test_a_schema_that_is_none_is_refused(loading: Loading, part: Any, stated: str) -> None:
    def change(given: Record) -> None:
        entry_of(given, "contacts")["schema"]["properties"]["name"] = part

    assert stated in loading.refused(["contacts"], change)


# Metadata


def replicate(**values: Any) -> Callable[[Record], None]:
    """What Meltano makes of `metadata: {"*": ...}`."""

    def change(given: Record) -> None:
        for entry in given["streams"]:
            root(entry).update({name.replace("_", "-"): value for name, value in values.items()})
            entry.update(values)

    return change


def in_contacts(act: Callable[[Record], Any]) -> Callable[[Record], None]:
    return lambda given: act(entry_of(given, "contacts")) and None


def mark(name: str, **values: Any) -> Callable[[Record], None]:
    return in_contacts(
        lambda entry: column(entry, name)["metadata"].update({k.replace("_", "-"): values[k] for k in values})
    )


CORRECTED: dict[str, tuple[Callable[[Record], None], str]] = {
    "incremental for all": (
        replicate(replication_method="INCREMENTAL", replication_key="updated_at"),
        "'currencies', 'deletions': Sage cannot list it by change",
    ),
    "lower case": (replicate(replication_method="incremental"), "'contacts', 'ledger_entries': the replication method"),
    "log based": (replicate(replication_method="LOG_BASED"), "there is no such replication method"),
    "nonsense": (replicate(replication_method=["FULL_TABLE"]), "there is no such replication method"),
    "another key": (replicate(replication_key="created_at"), "the replication key is updated_at"),
    "a key of its own": (
        in_contacts(lambda entry: entry.update(key_properties=["email"])),
        "the key is business_id, id",
    ),
    "no key": (in_contacts(lambda entry: entry.update(key_properties=[])), "the key is business_id, id"),
    "a key in metadata": (
        in_contacts(lambda entry: root(entry).update({"table-key-properties": ["name"]})),
        "the key is business_id, id",
    ),
    "selected as text": (in_contacts(lambda entry: root(entry).update(selected="true")), "'selected' is read as true"),
    "selected as number": (in_contacts(lambda entry: root(entry).update(selected=1)), "'selected' is read as true"),
    "key deselected": (mark("id", inclusion="available", selected=False), "are always selected"),
    "bookmark unsupported": (mark("updated_at", inclusion="unsupported"), "are always selected"),
    "another name": (in_contacts(lambda entry: entry.update(stream="people")), "needs '__alias__' in a stream map"),
    "unknown stream": (
        lambda given: given["streams"].append({**entry_of(given, "contacts"), "tap_stream_id": "contact"}),
        "'contact': there is no such stream; did you mean 'contacts'?",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CORRECTED)
def test_what_loses_nothing_is_corrected_and_reported(
    contacts: List, server: SandboxServer, run_tap: RunTap, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    act, stated = CORRECTED[kind]
    given = catalog(*STREAMS)
    act(given)
    caplog.clear()
    TapSageAccounting(config=server.tap_config(), catalog=deepcopy(given))
    warnings = [each.getMessage() for each in caplog.records if "catalog" in each.getMessage()]
    assert [line for line in warnings if stated in line], warnings
    run = run_tap(catalog=given)
    assert run.error is None
    assert violations(run) == {}
    for stream in ("contacts", "ledger_entries"):
        for partition in run.state["bookmarks"][stream]["partitions"]:
            assert partition["replication_key"] == "updated_at"
            assert partition["replication_key_value"]
    assert all("replication_key" not in each for each in run.state["bookmarks"]["currencies"]["partitions"])
    warehouse = Warehouse()
    warehouse.load(run.messages)
    assert disagreements(server.world, warehouse, STREAMS[:3]) == []
    server.requests.clear()
    run_tap(catalog=given, state=run.state)
    asked = [request.params for request in server.requests.of(contacts.stream)]
    assert asked
    assert all({"updated_or_created_since", "deleted_since"} & params.keys() for params in asked)


REFUSED: dict[str, tuple[Callable[[Record], Any], str]] = {
    "no streams": (lambda given: given.pop("streams"), "The catalog is none"),
    "streams as object": (lambda given: given.update(streams={}), "The catalog is none"),
    "a stream without a name": (
        in_contacts(lambda entry: (entry.pop("tap_stream_id"), entry.pop("stream"))),
        "without a 'tap_stream_id'",
    ),
    "a stream twice": (
        lambda given: given["streams"].append({**entry_of(given, "contacts"), "metadata": []}),
        "two different entries for the stream 'contacts'",
    ),
    "metadata as text": (in_contacts(lambda entry: entry.update(metadata="all")), "'contacts' has damaged metadata"),
    "metadata without breadcrumb": (
        in_contacts(lambda entry: entry["metadata"].append({"metadata": {}})),
        "a 'breadcrumb' must be a list of names",
    ),
    "breadcrumb as text": (
        in_contacts(lambda entry: entry["metadata"].append({"breadcrumb": "properties", "metadata": {}})),
        "a 'breadcrumb' must be a list of names",
    ),
    "values as list": (
        in_contacts(lambda entry: entry["metadata"].append({"breadcrumb": ["properties", "x"], "metadata": ["y"]})),
        "'metadata' must be an object",
    ),
    "selected as nonsense": (
        in_contacts(lambda entry: root(entry).update(selected="perhaps")),
        "neither true nor false",
    ),
    "a typo in what is deselected": (
        in_contacts(
            lambda entry: entry["metadata"].append(
                {"breadcrumb": ["properties", "e_mail"], "metadata": {"selected": False}}
            )
        ),
        "deselects 'e_mail', which is no column of it; did you mean 'email'?",
    ),
    "a part of a list deselected": (
        in_contacts(
            lambda entry: entry["metadata"].append(
                {
                    "breadcrumb": ["properties", "contact_types", "items", "properties", "id"],
                    "metadata": {"selected": False},
                }
            )
        ),
        "which is no column of it",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_used_is_refused_before_any_request(loading: Loading, kind: str) -> None:
    act, stated = REFUSED[kind]
    said = loading.refused(["contacts"], act)
    assert stated in said
    assert "nothing was sent to Sage" in said


@pytest.mark.parametrize("missing", ["null", "absent", "empty", "no root"])
def test_metadata_that_are_not_there_select_everything(contacts: List, run_tap: RunTap, missing: str) -> None:
    given = {"streams": [entry_of(catalog("contacts"), "contacts")]}
    [entry] = given["streams"]
    match missing:
        case "null":
            entry["metadata"] = None
        case "absent":
            del entry["metadata"]
        case "empty":
            entry["metadata"] = []
        case _:
            entry["metadata"] = [each for each in entry["metadata"] if each["breadcrumb"]]
    run = run_tap(catalog=given)
    assert run.error is None
    assert {row["id"] for row in run.records["contacts"]} == {*contacts.keys}
    assert all(row["name"] for row in run.records["contacts"])


def test_an_incremental_stream_may_be_read_in_full_and_back_without_a_loss(
    server: SandboxServer, contacts: List, run_tap: RunTap
) -> None:
    whole = catalog("contacts")
    replicate(replication_method="full_table")(whole)
    warehouse = Warehouse()
    state: Record = {}
    for day, given in enumerate((catalog("contacts"), whole, whole, catalog("contacts"), catalog("contacts"))):
        run = run_tap(catalog=given, state=state)
        assert run.error is None
        warehouse.load(run.messages)
        state = run.state
        if given is whole:
            arrived = {row["id"] for row in run.records["contacts"] if row["business_id"] == contacts.owner.id}
            assert arrived >= {*contacts.keys}
        assert disagreements(server.world, warehouse, ["contacts"]) == []
        with server.paused():
            server.world.clock.advance(timedelta(days=1))
            contacts.edit(contacts.keys[day])
            contacts.insert()
            contacts.delete(contacts.keys[day + 1])


def test_a_catalog_may_be_made_in_code(server: SandboxServer) -> None:
    with pytest.raises(ConfigValidationError, match="The catalog is not right"):
        TapSageAccounting(config=server.tap_config(), catalog={"streams": [{"tap_stream_id": None}]})


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture
def loading(server: SandboxServer, database: str, tmp_path: Path) -> Loading:
    return Loading(server, database, tmp_path, f"s{abs(hash(tmp_path))}")
