"""With `batch_config`, rows travel in files: exact, complete, and announced before any state that speaks of them."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest

from sage_sandbox.books import advance, build_world
from sage_sandbox.server import SandboxServer
from sage_workbench import ready_programs
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.loading import Loading
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import LONG_AGO, List, plain_world
from sage_workbench.processes import TIMEOUT, TapProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sage_sandbox.api import Call

    Record = dict[str, Any]

LONG = "12345678901234567890.1234567891"
KILLED = ("contacts", "bank_deposits", "ledger_entries", "sales_invoices", "products", "journals")


def rows_of(message: Record) -> list[Record]:
    """The rows of the files that a BATCH message announces."""
    rows = []
    for url in message["manifest"]:
        content = Path(url2pathname(urlparse(url).path)).read_bytes()
        text = gzip.decompress(content) if message["encoding"]["compression"] == "gzip" else content
        rows += [json.loads(line, parse_float=Decimal) for line in text.decode().splitlines()]
    return rows


def unpacked(messages: Iterable[Record]) -> Iterator[Record]:
    """The messages that there would be without files."""
    for message in messages:
        if message["type"] == "BATCH":
            for row in rows_of(message):
                yield {"type": "RECORD", "stream": message["stream"], "record": row}
        else:
            yield message


def batch_config(directory: Path, **others: Any) -> Record:
    return {"storage": {"root": (directory / "files").as_uri()}, **others}


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world(3)) as running:
        running.faults.tombstones = "id_only"
        yield running


@pytest.fixture
def contacts(server: SandboxServer) -> list[List]:
    lists = [List(server.world, business, "contacts") for business in server.world.businesses.values()]
    for each in lists:
        each.fill(25)
        for key in each.keys:
            each.collection.change(key, {"name": f"Name {int(key, 16)}", "credit_limit": LONG}, LONG_AGO)
    return lists


@pytest.mark.postgres
def test_files_load_into_postgres_row_by_row_and_deletions_leave_other_columns_alone(
    server: SandboxServer, contacts: list[List], tmp_path: Path
) -> None:
    with postgres_server() as url:
        loading = Loading(server, url, tmp_path, "sage")
        loading.run(["contacts", "deletions"], batch_config=batch_config(tmp_path))
        gone = contacts[0].keys[:2]
        with server.paused():
            server.world.clock.advance(timedelta(days=1))
            for key in gone:
                contacts[0].delete(key)
            for each in contacts:
                each.edit(each.keys[5])
        loading.run(["contacts", "deletions"], batch_config=batch_config(tmp_path))
        rows = loading.rows("contacts")
        deletions = {row["id"] for row in loading.ask("select * from deletions")}
    assert len(rows) == 3 * 25
    assert {row["credit_limit"] for row in rows.values()} == {Decimal(LONG)}
    assert {key for (_, key), row in rows.items() if row["deleted_at"]} == {*gone} == deletions
    for each in contacts:
        for key in each.keys:
            body, row = each.collection.rows[key].render(), rows[each.owner.id, key]
            assert (row["name"], row["displayed_as"]) == (body["name"], body["displayed_as"])
    assert all(rows[contacts[0].owner.id, key]["name"] for key in gone)


@pytest.mark.parametrize(
    ("encoding", "ending"),
    [({}, ".jsonl.gz"), ({"format": "jsonl", "compression": "gzip"}, ".jsonl.gz"), ({"compression": "none"}, ".jsonl")],
    ids=["usual", "gzip", "none"],
)
def test_each_file_holds_rows_of_one_stream_and_business_as_records_would(
    server: SandboxServer, contacts: list[List], tmp_path: Path, encoding: Record, ending: str
) -> None:
    expected = [
        (message["stream"], message["record"])
        for message in TapProcess(server, tmp_path, ["contacts", "deletions"]).run()
        if message["type"] == "RECORD"
    ]
    config = batch_config(tmp_path, batch_size=10, encoding=encoding)
    messages = TapProcess(server, tmp_path, ["contacts", "deletions"], batch_config=config).run()
    assert "RECORD" not in {message["type"] for message in messages}
    found = [(message["stream"], message["record"]) for message in unpacked(messages) if message["type"] == "RECORD"]
    assert json.loads(json.dumps(found, default=float)) == json.loads(json.dumps(expected))
    batches = [rows_of(message) for message in messages if message["type"] == "BATCH"]
    assert [len(rows) for rows in batches] == [10, 10, 5] * 3
    assert all(len({row["business_id"] for row in rows}) == 1 for rows in batches)
    assert {file.name.partition(".")[2] for file in (tmp_path / "files").iterdir()} == {ending.lstrip(".")}
    assert contacts


def test_a_run_that_is_killed_again_and_again_loses_no_row_that_a_state_speaks_of(tmp_path: Path) -> None:
    with SandboxServer(build_world(size="tiny", businesses=2, frozen=True)) as server:
        server.faults.detail_flags_on_lists = True
        config = batch_config(tmp_path, batch_size=40)
        tap = TapProcess(server, tmp_path, KILLED, page_size=7, concurrency=2, batch_config=config)
        warehouse = Warehouse()
        for request in (9, 17, 30, 44):
            warehouse.load(unpacked(tap.run(kill_when=nth(request))))
            with server.paused():
                advance(server.world, days=1, seed=request)
        assert tap.killed == 4
        warehouse.load(unpacked(tap.run()))
        assert disagreements(server.world, warehouse, KILLED) == []


def test_whatever_state_a_target_saw_last_the_files_before_it_hold_its_rows(tmp_path: Path) -> None:
    with SandboxServer(build_world(size="tiny", businesses=2, frozen=True)) as server:
        server.faults.detail_flags_on_lists = True
        tap = TapProcess(server, tmp_path, KILLED[:3], batch_config=batch_config(tmp_path))
        messages = tap.run()
        states = [place for place, message in enumerate(messages) if message["type"] == "STATE"]
        assert len(states) > 1
        for last in states:
            warehouse = Warehouse()
            warehouse.load(unpacked(messages[: last + 1]))
            tap.state = messages[last]["value"]
            warehouse.load(unpacked(tap.run()))
            assert disagreements(server.world, warehouse, KILLED[:3]) == []


def nth(number: int) -> Callable[[Call], bool]:
    seen = [0]

    def is_it(call: Call) -> bool:
        seen[0] += call is not None
        return seen[0] == number

    return is_it


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({"batch_config": {}}, "needs 'storage.root', where its files go"),
        ({"batch_config": {"encoding": {"format": "jsonl"}}}, "needs 'storage.root'"),
        ({"batch_config": {"storage": {"prefix": "x"}}}, "needs 'storage.root'"),
        ({"batch_config": {"storage": {"root": "x"}, "encoding": {"format": "parquet"}}}, "format 'jsonl' only"),
        ({"batch_config": {"storage": {"root": "x", "path": "y"}}}, "has no 'path'"),
        ({"batch_config": {"storage": {"root": "x"}, "batch_size": 0}}, "'batch_size' of one or more"),
        (
            {"batch_config": {"storage": {"root": "x"}}, "emit_activate_version_messages": True},
            "exclude each other",
        ),
    ],
    ids=str,
)
def test_what_files_cannot_do_is_refused_before_any_request(
    server: SandboxServer, tmp_path: Path, settings: Record, reported: str
) -> None:
    assert reported in Loading(server, "", tmp_path, "").refused(["contacts"], **settings)


def test_a_file_that_cannot_be_written_ends_the_run_without_another_state(
    server: SandboxServer, contacts: list[List], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("not a directory")
    config = {"storage": {"root": (tmp_path / "taken").as_uri()}}
    command = Loading(server, "", tmp_path, "").command(["contacts"], batch_config=config)
    done = ready_programs.run(command, TIMEOUT)
    assert done.returncode == 1
    assert "A batch file of 'contacts' could not be written to" in done.stderr
    assert "Traceback" not in done.stderr
    states = [message["value"] for message in map(json.loads, done.stdout.splitlines()) if message["type"] == "STATE"]
    moved = [
        each for state in states for each in state["bookmarks"]["contacts"]["partitions"] if "replication_key" in each
    ]
    assert moved == []
    assert contacts
