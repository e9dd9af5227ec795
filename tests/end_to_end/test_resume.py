"""A run that ends anywhere, by any means, is continued by the next one without loss."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import LONG_AGO, List, filled_world, key, plain_world
from sage_workbench.processes import TapProcess
from sage_workbench.runs import last_state
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

STREAMS = ("contacts", "ledger_entries", "sales_quotes", "stock_movements")


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(filled_world(STREAMS, 5, businesses=2)) as running:
        yield running


def lists_of(server: SandboxServer) -> list[List]:
    return [List(server.world, b, stream) for b in server.world.businesses.values() for stream in STREAMS]


def work_a_little(server: SandboxServer, step: int) -> None:
    """Delete the oldest row that is left of each list, edit another, add one."""
    with server.paused():
        server.world.clock.advance(timedelta(minutes=1))
        for rows in lists_of(server):
            rows._next = 1000 + step
            if len(rows.keys) > 3:
                rows.delete(rows.keys[0])
                rows.edit(rows.keys[1])
            rows.insert()


@pytest.mark.slow
def test_a_run_that_ends_at_any_request_is_continued_without_loss(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process has put out is a part of the messages from their beginning, up to any place."""
    monkeypatch.setattr(TapSageAccounting, "between_checkpoints", 0.0)
    settings: dict[str, Any] = {"page_size": 2, "concurrency": 1, "deletion_sweep_days": 0}
    whole = run_tap(*STREAMS, "deletions", **settings)
    ends = [0, *(n for n, message in enumerate(whole.messages) if message["type"] in {"SCHEMA", "STATE"})]
    ends += [n for n, message in enumerate(whole.messages) if message["type"] == "RECORD"][::6]
    for step, end in enumerate(sorted(set(ends))):
        delivered = whole.messages[: end + 1]
        warehouse = Warehouse()
        warehouse.load(delivered)
        work_a_little(server, step)
        resumed = run_tap(*STREAMS, "deletions", state=last_state(delivered), **settings)
        assert resumed.error is None
        warehouse.load(resumed.messages)
        assert disagreements(server.world, warehouse, STREAMS) == [], f"ended after message {end}"


def test_streams_and_businesses_that_are_complete_are_not_read_again(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TapSageAccounting, "between_checkpoints", 0.0)
    whole = run_tap("contacts", "ledger_entries", lookback_window=0)
    begun = next(n for n, message in enumerate(whole.messages) if message.get("stream") == "ledger_entries")
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
        for rows in lists_of(server):
            rows._next = 100
            rows.insert()
    state = last_state(whole.messages[: begun + 3])
    complete = {
        partition["context"]["business_id"]
        for partition in state["bookmarks"]["contacts"]["partitions"]
        if partition.get("replication_key_value")
    }
    server.requests.clear()
    resumed = run_tap("contacts", "ledger_entries", state=state, lookback_window=0)
    assert resumed.error is None
    assert complete
    for request in server.requests.of("contacts"):
        filtered = {"updated_or_created_since", "deleted_since"} & request.params.keys()
        assert bool(filtered) == (request.business in complete)


@pytest.mark.parametrize("spoiling", [31, 33, 42])
def test_a_record_that_spoils_pages_does_not_stop_a_read_that_goes_on(
    run_tap: RunTap, monkeypatch: pytest.MonkeyPatch, spoiling: int
) -> None:
    monkeypatch.setattr(TapSageAccounting, "between_checkpoints", 0.0)
    world = plain_world()
    rows = List(world, next(iter(world.businesses.values())), "sales_invoices")
    for hours in range(60):
        rows.insert(LONG_AGO + timedelta(hours=hours))
    with SandboxServer(world) as server:
        settings = server.tap_config(page_size=5, concurrency=1)
        messages = run_tap("sales_invoices", **settings).messages
        ends = [n for n, message in enumerate(messages) if "'rows': 30" in str(message)]
        delivered = messages[: ends[0] + 1]
        server.faults.poison = {key(spoiling): "full"}
        resumed = run_tap("sales_invoices", state=last_state(delivered), **settings)
        assert resumed.error is None
        assert len(resumed.records["sales_invoices"]) == 35
        warehouse = Warehouse()
        warehouse.load(delivered)
        warehouse.load(resumed.messages)
        assert disagreements(world, warehouse, ["sales_invoices"]) == []


REQUESTS = 18
"""Requests of a first run, which a process is killed at in turn."""


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", range(REQUESTS))
def test_a_process_that_is_killed_while_a_page_is_on_its_way_is_continued_without_loss(
    run_tap: RunTap, tmp_path: Path, kill_at: int
) -> None:
    streams = (*STREAMS, "sales_invoices")
    world = plain_world()
    with SandboxServer(world) as server:
        lists = [List(world, next(iter(world.businesses.values())), stream) for stream in streams]
        for rows in lists:
            for minutes in range(27 if rows.stream == "sales_invoices" else 6):
                rows.insert(LONG_AGO + timedelta(minutes=minutes))
        settings: dict[str, Any] = {"page_size": 3, "deletion_sweep_days": 0}
        tap = TapProcess(server, tmp_path, (*streams, "deletions"), concurrency=1 + kill_at % 2, **settings)
        requests = iter(range(1_000))
        warehouse = Warehouse()
        warehouse.load(tap.run(kill_when=lambda _: next(requests) == kill_at))
        assert tap.killed == 1
        with server.paused():
            world.clock.advance(timedelta(minutes=1))
            for rows in lists:
                rows.delete(rows.keys[0])
                rows.edit(rows.keys[1])
                rows.insert()
        resumed = run_tap(*streams, "deletions", state=tap.state, **{**server.tap_config(), **settings})
        assert resumed.error is None
        warehouse.load(resumed.messages)
        assert disagreements(world, warehouse, streams) == []


def test_the_state_is_written_before_rows_whose_deletion_only_it_can_show(run_tap: RunTap) -> None:
    run = run_tap(*STREAMS)
    reported: set[str] = set()
    needed: set[str] = set()
    for message in run.messages:
        if message["type"] == "STATE":
            for stream, bookmarks in message["value"]["bookmarks"].items():
                for partition in bookmarks.get("partitions", []):
                    if "inventory" in partition or "deletions_told_until" in partition:
                        reported.add(f"{stream} of {partition['context']['business_id']}")
        elif message["type"] == "RECORD" and message["stream"] != "ledger_entries":
            assert f"{message['stream']} of {message['record']['business_id']}" in reported
            needed.add(message["stream"])
    assert needed == set(STREAMS) - {"ledger_entries"}


def test_books_that_live_are_followed_through_runs_that_end_anywhere(run_tap: RunTap) -> None:
    streams = ("contacts", "journals", "sales_invoices", "sales_quotes", "stock_movements", "transactions")
    with SandboxServer(build_world(size="tiny", businesses=2, frozen=True)) as living:
        living.faults.detail_flags_on_lists = True
        settings = {**living.tap_config(), "page_size": 3, "deletion_sweep_days": 0}
        warehouse = Warehouse()
        state: dict[str, Any] = {}
        for turn in range(6):
            run = run_tap(*streams, state=copy.deepcopy(state), **settings)
            delivered = run.messages[: len(run.messages) * (turn + 1) // 6]
            warehouse.load(delivered)
            state = last_state(delivered) or state
            living.advance(1)
        warehouse.load(run_tap(*streams, state=state, **settings).messages)
        assert disagreements(living.world, warehouse, streams) == []
