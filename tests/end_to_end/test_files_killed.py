"""A run that is killed while it fetches files is continued by the next one: every file whole, none fetched twice."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.attached_files import asked_for, attach, files_in, first, in_books, stored
from sage_workbench.merge import Warehouse
from sage_workbench.plain_books import plain_world
from sage_workbench.processes import TIMEOUT, TapProcess
from sage_workbench.ready_programs import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sage_sandbox.api import Call

    Record = dict[str, Any]

FILES = 5


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        for number in range(FILES):
            attach(first(running.world), number, file_size=300_000)
        yield running


def process(server: SandboxServer, directory: Path, **config: Any) -> TapProcess:
    url = f"file://{directory / 'files'}"
    return TapProcess(server, directory, ["attachments"], attachments_url=url, **config)


def records_in(messages: list[Record]) -> list[Record]:
    return [message["record"] for message in messages if message["type"] == "RECORD"]


def rows(*runs: list[Record]) -> list[Record]:
    warehouse = Warehouse()
    for messages in runs:
        warehouse.load(messages)
    return list(warehouse.tables["attachments"].values())


def kept(directory: Path) -> set[str]:
    """The ids of the attachments whose files are there."""
    return {name.split("/")[1] for name in files_in(directory / "files")}


def run_and_listen(tap: TapProcess) -> tuple[list[Record], list[str]]:
    """Run to the end; give the messages, and the ids whose files were requested.

    What a killed run requested last may be logged when the next one is at work already.
    """
    asked: list[str] = []

    def listen(call: Call) -> None:
        if call.path.endswith("/file"):
            asked.append(call.path.split("/")[1])

    return tap.run(meanwhile=listen), asked


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_run_that_is_killed_in_the_middle_of_a_file_leaves_no_part_of_it(
    server: SandboxServer, tmp_path: Path, concurrency: int
) -> None:
    tap = process(server, tmp_path, concurrency=concurrency)
    slow = f"{FILES - 2:032x}"
    slow = f"{slow[:8]}-{slow[8:12]}-{slow[12:16]}-{slow[16:20]}-{slow[20:]}"
    server.faults.add(Fault(f"attachments/{slow}/file", "drip", seconds=0.001))
    output = tmp_path / "killed.jsonl"
    with output.open("wb") as out, Program(tap.command(), stdout=out) as running:
        deadline = time.monotonic() + TIMEOUT
        while slow not in asked_for(server) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # some of it came
        os.kill(running.pid, signal.SIGKILL)
    killed = tap.take(output.read_bytes())
    whole = kept(tmp_path)
    assert slow not in whole
    stored(records_in(killed))
    resumed, asked = run_and_listen(tap)
    assert stored(rows(killed, resumed)) == in_books(server.world)
    assert sorted(asked) == sorted({key for _, key in in_books(server.world)} - whole)
    assert len(files_in(tmp_path / "files")) == FILES


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", range(1, 3 + FILES))
def test_a_run_that_is_killed_at_any_request_is_continued_without_a_file_twice(
    server: SandboxServer, tmp_path: Path, kill_at: int
) -> None:
    tap = process(server, tmp_path, concurrency=1 + kill_at % 2)
    requests = iter(range(1_000))

    def is_time(_: Call) -> bool:
        return next(requests) == kill_at

    killed = tap.run(kill_when=is_time)
    stored(records_in(killed))
    whole = kept(tmp_path)
    resumed, asked = run_and_listen(tap)
    assert stored(rows(killed, resumed)) == in_books(server.world)
    assert sorted(asked) == sorted({key for _, key in in_books(server.world)} - whole)
    assert run_and_listen(tap)[1] == []
