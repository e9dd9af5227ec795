"""A run that was killed or stopped has a row that says so."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse
from sage_workbench.plain_books import filled_world
from sage_workbench.processes import TIMEOUT, TapProcess
from sage_workbench.ready_programs import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sage_sandbox.api import Call

STREAMS = ("contacts", "sales_quotes", "tax_rates")
LOGGED = ("runs", "run_reads", *STREAMS)


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(filled_world(STREAMS, 3, businesses=2)) as running:
        yield running


def statuses(warehouse: Warehouse) -> list[str]:
    return [row["status"] for row in warehouse.tables["runs"].values()]


@pytest.mark.parametrize("path", STREAMS)
def test_a_process_that_was_killed_leaves_a_row_that_the_next_run_closes(
    server: SandboxServer, tmp_path: Path, path: str
) -> None:
    process, warehouse = TapProcess(server, tmp_path, LOGGED), Warehouse()
    warehouse.load(process.run(kill_when=lambda call: call.path == path))
    assert process.killed == 1
    assert statuses(warehouse) == ["running"]
    warehouse.load(process.run())
    assert statuses(warehouse) == ["interrupted", "complete"]
    ended = {(row["business_id"], row["stream"]) for row in warehouse.tables["run_reads"].values()}
    assert ended == {(owner, stream) for owner in server.world.businesses for stream in STREAMS}


def test_a_process_that_was_killed_before_it_wrote_a_state_leaves_a_row_nonetheless(
    server: SandboxServer, tmp_path: Path
) -> None:
    process, warehouse = TapProcess(server, tmp_path, LOGGED), Warehouse()
    warehouse.load(process.run())
    state = process.state
    # Pages are requested before it is known what there is to read, deletions are not.
    warehouse.load(process.run(kill_when=lambda call: "deleted_since" in call.params))
    process.state = state  # the target kept no state of the run that was killed
    warehouse.load(process.run())
    assert statuses(warehouse) == ["complete", "running", "complete"]


def test_a_process_that_was_stopped_says_which_reads_were_complete(server: SandboxServer, tmp_path: Path) -> None:
    process, warehouse = TapProcess(server, tmp_path, LOGGED, concurrency=1), Warehouse()
    started = threading.Event()

    def stop(call: Call) -> None:
        started.wait()
        if call.path == "tax_rates":
            os.kill(program.pid, signal.SIGTERM)

    server.on_request = stop
    with (tmp_path / "out").open("wb") as output, (tmp_path / "log").open("wb") as log:
        program = Program(process.command(), stdout=output, stderr=log)
        started.set()
        assert program.wait(TIMEOUT) not in (0, 1)
    server.on_request = None
    messages: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    warehouse.load(messages)
    [row] = warehouse.tables["runs"].values()
    assert (row["status"], row["reason"], row["reads"]) == ("stopped", None, 6)
    ended = {(each["business_id"], each["stream"]) for each in warehouse.tables["run_reads"].values()}
    delivered = {(each["business_id"], stream) for stream in STREAMS for each in warehouse.tables[stream].values()}
    assert ("contacts", "complete") in {
        (each["stream"], each["status"]) for each in warehouse.tables["run_reads"].values()
    }
    assert ended <= delivered
    assert messages[-1]["type"] == "STATE"
