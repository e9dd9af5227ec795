"""A deletion that Sage reports by id only is marked in the table, and nothing else in it changes.

Such a mark travels under a schema of its own, and past the users' stream maps. Everything goes through the real target.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from hashlib import md5
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.singerlib import RecordMessage
from typing_extensions import override

from sage_sandbox.server import SandboxServer
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.loading import Loading
from sage_workbench.plain_books import LONG_AGO, List, plain_world
from sage_workbench.runs import Recorder
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from singer_sdk.singerlib import Message

    from sage_workbench.runs import Run

    Record = dict[str, Any]
    RunTap = Callable[..., Run]

BUSINESSES = 3
ROWS = 6


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world(BUSINESSES)) as running:
        running.faults.tombstones = "id_only"
        yield running


@pytest.fixture
def contacts(server: SandboxServer) -> list[List]:
    """A few contacts of each business."""
    lists = [List(server.world, business, "contacts") for business in server.world.businesses.values()]
    for contacts in lists:
        contacts.fill(ROWS)
        for key in contacts.keys:
            number = int(key, 16)
            name = f"Name {number} of {contacts.owner.name}"
            contacts.collection.change(key, {"name": name, "email": f"{number}@example.com"}, LONG_AGO)
    return lists


@pytest.fixture
def loading(server: SandboxServer, database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Loading:
    schema = f"s{md5(request.node.name.encode()).hexdigest()[:16]}"
    return Loading(server, database, tmp_path, schema)


def hashed(text: str) -> str:
    return md5(text.encode()).hexdigest()


def live_another_day(server: SandboxServer, contacts: list[List]) -> set[tuple[str, str]]:
    """Delete two contacts of the first business, and change all others of every business."""
    gone = {(contacts[0].owner.id, key) for key in contacts[0].keys[:2]}
    with server.paused():
        server.world.clock.advance(timedelta(days=1))
        for each in contacts:
            for key in each.keys:
                if (each.owner.id, key) in gone:
                    each.delete(key)
                else:
                    each.edit(key)
    return gone


COPIES: dict[str, Record] = {
    "with_an_expression_that_fails_on_nothing": {"label": "displayed_as.upper()"},
    "with_an_expression_on_the_whole_record": {"label": "record['displayed_as'].upper() + record.get('name')[:4]"},
    "with_itself": {"email": "self.upper()", "name": "md5(self)"},
    "with_a_filter_on_a_column": {"__filter__": "name.startswith('Name')"},
    "with_a_filter_on_the_key": {"__filter__": "business_id and id"},
    "with_another_value_each_time": {"email": "str(rand())"},
    "with_a_hashed_key": {"id": "md5(self)"},
    "with_a_key_of_its_own": {
        "__key_properties__": ["source", "key"],
        "source": "'sage'",
        "key": "business_id + id",
        "id": "md5(id)",
    },
    "with_few_columns": {
        "__else__": None,
        "business_id": "business_id",
        "id": "id",
        "displayed_as": "displayed_as",
        "name": "name.upper()",
        "deleted_at": "deleted_at",
    },
    "with_a_column_removed": {"email": None, "main_address": "__NULL__"},
}
"""Tables that one stream fills, each in its own way."""


@pytest.mark.postgres
@pytest.mark.slow
def test_a_deletion_reported_by_id_only_changes_nothing_else_whatever_the_stream_maps(
    server: SandboxServer, contacts: list[List], loading: Loading
) -> None:
    stream_maps = {name: {"__source__": "contacts", **definition} for name, definition in COPIES.items()}
    stream_maps["con*s"] = {"label": "displayed_as.upper()"}
    tables = ["contacts", *COPIES]
    loading.run(["contacts"], stream_maps=stream_maps)
    before = {table: loading.rows(table) for table in tables}
    gone = live_another_day(server, contacts)
    loading.run(["contacts"], stream_maps=stream_maps)
    after = {table: loading.rows(table) for table in tables}
    for table, rows in after.items():
        key_of = hashed if COPIES.get(table, {}).get("id", "id") != "id" else str
        check(before[table], rows, {(owner, key_of(key)) for owner, key in gone}, table)
        for each in contacts:
            for key in each.keys:
                reported, row = each.collection.rows[key].render(), rows[each.owner.id, key_of(key)]
                assert row["displayed_as"] == reported["displayed_as"], table


def check(
    before: dict[tuple[str, str], Record], after: dict[tuple[str, str], Record], gone: set[tuple[str, str]], table: str
) -> None:
    """See that the deleted rows are marked, hold what they held, and that no other lost anything."""
    assert len(before) == BUSINESSES * ROWS, table
    assert after.keys() == before.keys(), table
    assert {place for place, row in after.items() if row["deleted_at"]} == gone, table
    for place, row in after.items():
        assert row["_sdc_extracted_at"] is not None, (table, place)
        own = {name: value for name, value in row.items() if name != "deleted_at" and not name.startswith("_sdc_")}
        if place in gone:
            assert own == {name: before[place][name] for name in own}, (table, place)
        else:
            assert {name for name, value in own.items() if value is None} == {
                name for name in own if before[place][name] is None
            }, (table, place)


@pytest.mark.postgres
def test_a_renamed_stream_is_marked_under_its_name(
    server: SandboxServer, contacts: list[List], loading: Loading
) -> None:
    settings: dict[str, Any] = {
        "stream_maps": {"contacts": {"__alias__": "people", "label": "name.upper()"}, "__else__": None}
    }
    loading.run(["contacts", "deletions"], **settings)
    before = loading.rows("people")
    gone = live_another_day(server, contacts)
    loading.run(["contacts", "deletions"], **settings)
    check(before, loading.rows("people"), gone, "people")


@pytest.mark.postgres
def test_flattened_rows_keep_their_columns_too(server: SandboxServer, contacts: list[List], loading: Loading) -> None:
    settings: dict[str, Any] = {
        "flattening_enabled": True,
        "flattening_max_depth": 1,
        "stream_maps": {"contacts": {"label": "name"}},
    }
    loading.run(["contacts"], **settings)
    before = loading.rows("contacts")
    gone = live_another_day(server, contacts)
    loading.run(["contacts"], **settings)
    check(before, loading.rows("contacts"), gone, "contacts")


def test_a_run_that_is_stopped_between_the_parts_of_rows_still_ends_with_the_whole_schema(
    server: SandboxServer, contacts: list[List], tmp_path: Path
) -> None:
    class Stopping(Recorder):
        """Is stopped while it writes the first part of a row."""

        @override
        def write_message(self, message: Message) -> None:
            super().write_message(message)
            if isinstance(message, RecordMessage) and "name" not in self.messages[-1]["record"]:
                raise SystemExit(143)

    config = server.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}")
    states: list[Record] = []
    for writer in (Recorder(), Stopping()):
        tap = TapSageAccounting(config=config, state=states[-1] if states else None, message_writer=writer)
        for name, stream in tap.streams.items():
            stream.selected = name == "contacts"
        with suppress(SystemExit):
            tap.sync_all()
        states.append(writer.messages[-1]["value"])
        live_another_day(server, contacts)
    *_, part, whole, state = writer.messages
    assert part["record"].keys() == {"business_id", "id", "deleted_at"}
    assert (whole["type"], state["type"]) == ("SCHEMA", "STATE")
    assert "name" in whole["schema"]["properties"]
    bookmarks = [each["replication_key_value"] for each in state["value"]["bookmarks"]["contacts"]["partitions"]]
    assert bookmarks == [each["replication_key_value"] for each in states[0]["bookmarks"]["contacts"]["partitions"]], (
        "a bookmark moved although its read was stopped"
    )


# Stream maps that fail on a record


@pytest.mark.parametrize(
    "stream_maps",
    [
        {"contacts": {"label": "email.upper()"}},
        {"contacts": {"__filter__": "email.endswith('.com')"}},
        {"people": {"__source__": "contacts", "number": "int(email[:1])"}},
    ],
    ids=["an expression", "a filter", "a copy"],
)
def test_a_stream_map_that_fails_on_a_record_fails_that_read_and_no_other(
    contacts: list[List], run_tap: RunTap, stream_maps: Record
) -> None:
    wrong = contacts[1]
    wrong.collection.change(wrong.keys[3], {"email": None}, LONG_AGO)
    run = run_tap("contacts", "currencies", stream_maps=stream_maps)
    assert "1 read failed (contacts)" in str(run.error)
    [failed] = run.tap.report.failed
    assert failed.business.startswith(wrong.owner.name)
    [(name, definition)] = stream_maps.items()
    assert f"the stream map '{name}' fails on a record: the expression for '{list(definition)[-1]}'" in failed.reason
    assert run.bookmark("contacts", wrong.owner.id) is None
    for each in (contacts[0], contacts[2]):
        assert run.bookmark("contacts", each.owner.id) is not None
        arrived = {row["id"] for row in run.records["contacts"] if row["business_id"] == each.owner.id}
        assert arrived == set(each.keys)


@pytest.mark.usefixtures("contacts")
def test_a_column_that_sage_does_not_send_is_empty_for_expressions(run_tap: RunTap) -> None:
    run = run_tap("contacts", stream_maps={"contacts": {"gone": "'yes' if deleted_at else 'no'", "label": "notes"}})
    assert run.error is None
    rows = run.records["contacts"]
    assert {(row["gone"], row["label"]) for row in rows} == {("no", None)}
    assert len(rows) == BUSINESSES * ROWS
