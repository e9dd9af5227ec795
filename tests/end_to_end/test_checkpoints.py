"""States stay a small part of what is written, at any number of businesses, and a kill loses nothing."""

from __future__ import annotations

import copy
import json
import logging
import tempfile
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.singerlib.encoding import SimpleSingerWriter

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import Row
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import LONG_AGO, plain_world
from sage_workbench.processes import TapProcess
from support.signalled import TERM, processes_in, until
from tap_sage_accounting.exceptions import NoRoomError
from tap_sage_accounting.run import checkpoints, held_rows
from tap_sage_accounting.run.packed_ids import pack, unpack
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from singer_sdk.singerlib import Message

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

QUOTES = "sales_quotes"
UNREPORTED = (QUOTES, "stock_movements", "tax_rates")
ROW = {"reference": "A row of four hundred bytes", "notes": "x" * 170}
Record = dict[str, Any]


def books(businesses: int, rows: int, streams: tuple[str, ...] = (QUOTES,)) -> SandboxServer:
    """Lists whose deletions Sage does not report, with ids that are as random as Sage's."""
    world = plain_world(businesses)
    for business in world.businesses.values():
        for stream in streams:
            for number in range(rows):
                row_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{business.id}{stream}{number}").hex
                body: Record = {"id": row_id, "displayed_as": f"Row {number}", "$path": f"/{stream}/{row_id}", **ROW}
                if stream == QUOTES:
                    body["quote_lines"] = []
                business.collection(stream).add(Row(row_id, body, LONG_AGO, LONG_AGO))
    return SandboxServer(world)


def size_of(messages: list[Record], kind: str) -> int:
    return sum(len(json.dumps(message, default=float)) for message in messages if message["type"] == kind)


@pytest.mark.parametrize(
    ("businesses", "rows", "streams"), [(1, 1500, UNREPORTED), (8, 400, UNREPORTED), (40, 60, UNREPORTED[:1])]
)
def test_states_stay_under_a_tenth_of_what_is_written(
    run_tap: RunTap, businesses: int, rows: int, streams: tuple[str, ...]
) -> None:
    with books(businesses, rows, streams) as server:
        run = run_tap(*streams, **server.tap_config())
        assert run.error is None
        states, records = size_of(run.messages, "STATE"), size_of(run.messages, "RECORD")
        assert len(run.records[QUOTES]) == businesses * rows
        assert states < (states + records) / 10
        warehouse = Warehouse()
        warehouse.load(run.messages)
        assert disagreements(server.world, warehouse, streams) == []


def test_a_quiet_run_writes_its_state_once(run_tap: RunTap) -> None:
    with books(3, 20, UNREPORTED) as server:
        first = run_tap(*UNREPORTED, **server.tap_config())
        server.world.clock.advance(timedelta(days=2))
        second = run_tap(*UNREPORTED, state=first.state, **server.tap_config())
        third = run_tap(*UNREPORTED, state=second.state, **server.tap_config())
        assert [message["type"] for message in third.messages].count("STATE") == 1
        assert third.messages[-1]["type"] == "STATE"


def named_in(state: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return the rows that a state names: stream, business and id."""
    return {
        (stream, partition["context"]["business_id"], row_id)
        for stream, bookmarks in state["bookmarks"].items()
        for partition in bookmarks["partitions"]
        for row_id in unpack(partition.get("inventory") or pack(()))
    }


def rows_of(messages: list[Any]) -> set[tuple[str, str, str]]:
    """Return the rows that were delivered."""
    found = [(message["stream"], message["record"]) for message in messages if message["type"] == "RECORD"]
    return {(stream, row["business_id"], row["id"]) for stream, row in found}


def test_no_row_leaves_before_a_state_that_names_it(run_tap: RunTap) -> None:
    with books(4, 90, UNREPORTED) as server:
        run = run_tap(*UNREPORTED, page_size=10, **server.tap_config())
        known: set[tuple[str, str, str]] = set()
        for message in run.messages:
            if message["type"] == "STATE":
                known = named_in(message["value"])
            elif message["type"] == "RECORD":
                row = message["record"]
                assert (message["stream"], row["business_id"], row["id"]) in known


def test_no_state_speaks_of_a_read_whose_rows_are_still_to_come(run_tap: RunTap) -> None:
    with books(4, 90, UNREPORTED) as server:
        run = run_tap(*UNREPORTED, page_size=10, **server.tap_config())
        for place, message in enumerate(run.messages):
            if message["type"] == "STATE":
                warehouse = Warehouse()
                warehouse.load(run.messages[:place])
                for partition in message["value"]["bookmarks"][QUOTES]["partitions"]:
                    if "replication_key_value" in partition:
                        assert len(warehouse.rows(QUOTES, partition["context"]["business_id"])) == 90


@pytest.mark.slow
@pytest.mark.parametrize("part", range(6))
def test_a_run_that_ends_between_any_two_messages_is_continued_without_loss(run_tap: RunTap, part: int) -> None:
    """Rows that were delivered are deleted before the next run."""
    with books(2, 24, UNREPORTED) as server:
        settings = {**server.tap_config(), "page_size": 5, "deletion_sweep_days": 0}
        whole = run_tap(*UNREPORTED, **settings)
        collections = [
            business.collection(stream) for business in server.world.businesses.values() for stream in UNREPORTED
        ]
        for end in range(part, len(whole.messages), 18):
            delivered = whole.messages[: end + 1]
            warehouse = Warehouse()
            warehouse.load(delivered)
            states = [message["value"] for message in delivered if message["type"] == "STATE"]
            server.world.clock.advance(timedelta(minutes=5))
            for collection in collections:
                if len(collection.rows) > 6:
                    collection.delete(next(iter(collection.rows)), server.world.clock.now())
            server.world.clock.advance(timedelta(minutes=5))
            state = copy.deepcopy(states[-1]) if states else {}
            warehouse.load(run_tap(*UNREPORTED, state=state, **settings).messages)
            assert disagreements(server.world, warehouse, UNREPORTED) == [], f"ended after message {end}"


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [3, 9, 15, 22])
def test_a_process_that_is_killed_is_continued_without_loss(tmp_path: Path, kill_at: int) -> None:
    with books(3, 150, UNREPORTED) as server:
        tap = TapProcess(server, tmp_path, (*UNREPORTED, "deletions"), page_size=20, deletion_sweep_days=0)
        requests = iter(range(1000))
        warehouse = Warehouse()
        warehouse.load(tap.run(kill_when=lambda _: next(requests) == kill_at))
        assert tap.killed == 1
        with server.paused():
            server.world.clock.advance(timedelta(minutes=5))
            for business in server.world.businesses.values():
                for stream in UNREPORTED:
                    collection = business.collection(stream)
                    for row_id in list(collection.rows)[::7]:
                        collection.delete(row_id, server.world.clock.now())
        warehouse.load(tap.run())
        assert disagreements(server.world, warehouse, UNREPORTED) == []


def test_a_row_that_comes_again_does_not_overtake_the_one_that_waits(run_tap: RunTap) -> None:
    """The list moves while it is read: a row slips to a later page, and is edited there."""
    with books(1, 30) as server:
        business = next(iter(server.world.businesses.values()))
        quotes = business.collection(QUOTES)
        first = next(iter(quotes.rows))

        def act(call: Any) -> None:
            if call.path == QUOTES and call.page == 3:
                server.on_request = None
                server.world.clock.advance(timedelta(minutes=1))
                row = quotes.rows.pop(first)
                quotes.rows[first] = row
                quotes.change(first, {"displayed_as": "edited"}, server.world.clock.now())

        server.on_request = act
        run = run_tap(QUOTES, page_size=10, concurrency=1, **server.tap_config())
        rows = [row for row in run.records[QUOTES] if row["id"] == first]
        assert len(rows) == 2
        assert rows[-1]["displayed_as"] == "edited"


def test_a_slow_run_writes_states_all_the_same(run_tap: RunTap, monkeypatch: pytest.MonkeyPatch) -> None:
    with books(3, 20) as server:
        usual = run_tap(QUOTES, "contacts", **server.tap_config())
        monkeypatch.setattr(TapSageAccounting, "between_checkpoints", 0.0)
        slow = run_tap(QUOTES, "contacts", **server.tap_config())
        states = [[message["type"] for message in run.messages].count("STATE") for run in (usual, slow)]
        assert states[1] > states[0] + 3


def test_rows_that_wait_leave_at_once_where_no_temporary_file_can_be_made(
    run_tap: RunTap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(held_rows, "IN_MEMORY", 20_000)
    monkeypatch.setattr(checkpoints, "PACE", 10_000)
    with books(2, 200) as server:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
        run = run_tap(QUOTES, **server.tap_config())
        assert run.error is None
        assert len(run.records[QUOTES]) == 400
        assert [message["type"] for message in run.messages].count("STATE") > 4


class FullDisk:
    """A temporary file on a disk that is full."""

    _rolled = True

    def write(self, _: bytes = b"") -> None:
        raise OSError(28, "No space left on device")

    seek = close = write


def test_a_full_disk_ends_the_run_in_one_line_and_the_next_one_reads_everything(
    run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    with books(2, 50) as server:
        with monkeypatch.context() as patch:
            patch.setattr(held_rows, "SpooledTemporaryFile", lambda _: FullDisk())
            run = run_tap(QUOTES, **server.tap_config())
        assert isinstance(run.error, NoRoomError)
        assert "No space left on device" in str(run.error)
        assert named_in(run.state) <= rows_of(run.messages)
        warehouse = Warehouse()
        warehouse.load(run.messages)
        warehouse.load(run_tap(QUOTES, state=run.state, **server.tap_config()).messages)
        assert disagreements(server.world, warehouse, [QUOTES]) == []


def test_what_was_delivered_before_a_full_disk_is_still_known(run_tap: RunTap, monkeypatch: pytest.MonkeyPatch) -> None:
    with books(1, 30) as server:
        [business] = server.world.businesses.values()
        quotes = business.collection(QUOTES)
        first = run_tap(QUOTES, "deletions", **server.tap_config())
        with server.paused():
            new = uuid.uuid4().hex
            body = {"id": new, "displayed_as": "New", "$path": f"/{QUOTES}/{new}", **ROW, "quote_lines": []}
            quotes.add(Row(new, body, server.world.clock.now(), server.world.clock.now()))
        with monkeypatch.context() as patch:
            patch.setattr(held_rows, "SpooledTemporaryFile", lambda _: FullDisk())
            second = run_tap(QUOTES, "deletions", state=first.state, **server.tap_config())
        assert isinstance(second.error, NoRoomError)
        gone = next(iter(quotes.rows))
        with server.paused():
            quotes.delete(gone, server.world.clock.now())
        third = run_tap(QUOTES, "deletions", state=second.state, deletion_sweep_days=0, **server.tap_config())
        assert [row["id"] for row in third.records["deletions"]] == [gone]


def test_rows_that_wait_are_read_again_after_a_stop(tmp_path: Path) -> None:
    with books(2, 60, UNREPORTED) as server, processes_in(tmp_path) as start:
        tap = TapProcess(server, tmp_path, (*UNREPORTED, "deletions"), page_size=20, deletion_sweep_days=0)
        slow = server.faults.add(Fault("tax_rates", "slow", seconds=60, page=2))
        process = start(tap.command())
        until(lambda: slow.times == 0 and process.is_idle())
        process.send([TERM])
        assert process.code() == 128 + TERM, process.log
        warehouse = Warehouse()
        messages = tap.take(process.output)
        warehouse.load(messages)
        assert messages[-1]["type"] == "STATE"
        assert named_in(messages[-1]["value"]) <= rows_of(messages)
        delivered = sum(map(len, warehouse.tables.values()))
        assert f": {delivered} records, " in process.log
        server.faults.script.clear()
        with server.paused():
            for business in server.world.businesses.values():
                for stream in UNREPORTED:
                    collection = business.collection(stream)
                    for row_id in list(collection.rows)[::5]:
                        collection.delete(row_id, server.world.clock.now())
        warehouse.load(tap.run())
        assert disagreements(server.world, warehouse, UNREPORTED) == []


def test_a_writer_of_another_kind_gets_whole_messages(tmp_path: Path) -> None:
    class Other(SimpleSingerWriter):
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[Record] = []

        def write_message(self, message: Message) -> None:
            self.lines.append(json.loads(self.format_message(message)))

    with books(1, 30) as server:
        writer = Other()
        settings = server.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}")
        tap = TapSageAccounting(config=settings, message_writer=writer)
        for name, stream in tap.streams.items():
            stream.selected = name == QUOTES
        logging.disable(logging.CRITICAL)
        tap.sync_all()
        logging.disable(logging.NOTSET)
        warehouse = Warehouse()
        warehouse.load(writer.lines)
        assert disagreements(server.world, warehouse, [QUOTES]) == []
