"""Runs of one application at once, with one token store, divide its limit and lose nothing."""

from __future__ import annotations

import json
import signal
import sqlite3
import stat
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from sage_sandbox.faults import Faults
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import List, plain_world
from sage_workbench.processes import TIMEOUT, TapProcess
from sage_workbench.ready_programs import Program
from tap_sage_accounting.auth.usage_table import ENDING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = 100
LIMIT, SECONDS = 40, 4.0


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    world = plain_world(businesses=2)
    for business in world.businesses.values():
        List(world, business, "ledger_entries").fill(PAGES)
    with SandboxServer(world, faults=Faults(rate_limit=LIMIT, minute=SECONDS, retry_after="absent")) as running:
        yield running


class Runs:
    """A run for each business, all with one token store."""

    def __init__(self, server: SandboxServer, directory: Path) -> None:
        self.store = directory / "tokens.sqlite"
        self._processes = {}
        for business in server.world.businesses:
            own = directory / business
            own.mkdir()
            settings = {"page_size": 1, "business_ids": [business], "patience": 60}
            process = TapProcess(server, own, ("ledger_entries",), **settings, token_store=f"sqlite:///{self.store}")
            self._processes[own] = process

    def start(self) -> list[Program]:
        started = []
        for directory, process in self._processes.items():
            with (directory / "output").open("wb") as output, (directory / "log").open("wb") as log:
                started.append(Program(process.command(), stdout=output, stderr=log))
        return started

    @property
    def logs(self) -> list[str]:
        return [(directory / "log").read_text() for directory in self._processes]

    @property
    def warehouse(self) -> Warehouse:
        """What all of them brought."""
        warehouse = Warehouse()
        for directory in self._processes:
            lines = (directory / "output").read_text().splitlines()
            warehouse.load(json.loads(line, parse_float=Decimal) for line in lines)
        return warehouse


def refused(server: SandboxServer) -> int:
    return sum(request.status == 429 for request in server.requests)


@pytest.mark.slow
def test_runs_at_once_divide_the_limit_of_their_application_and_lose_nothing(
    server: SandboxServer, tmp_path: Path
) -> None:
    runs = Runs(server, tmp_path)
    for process in runs.start():
        assert process.wait(TIMEOUT) == 0
    assert disagreements(server.world, runs.warehouse, ["ledger_entries"]) == []
    assert refused(server) < 2 * PAGES / 2
    beside = runs.store.with_name(runs.store.name + ENDING)
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    with closing(sqlite3.connect(beside)) as database:
        published = [json.loads(usage) for (usage,) in database.execute("SELECT usage FROM tap_sage_accounting_runs")]
    assert [usage["is_over"] for usage in published] == [True, True]
    lists_of_businesses = 2
    assert sum(usage["sent"] for usage in published) == 2 * PAGES + lists_of_businesses


def test_a_run_that_cannot_see_others_goes_on_alone_and_says_so_once(server: SandboxServer, tmp_path: Path) -> None:
    runs = Runs(server, tmp_path)
    runs.store.with_name(runs.store.name + ENDING).mkdir()
    for process in runs.start():
        assert process.wait(TIMEOUT) == 0
    assert disagreements(server.world, runs.warehouse, ["ledger_entries"]) == []
    assert [log.count("What other runs of this application request is not known") for log in runs.logs] == [1, 1]
    assert not any("Traceback" in log for log in runs.logs)


def test_a_run_that_is_killed_holds_up_no_other(server: SandboxServer, tmp_path: Path) -> None:
    runs = Runs(server, tmp_path)
    killed, other = runs.start()
    server.on_request = lambda _: killed.send_signal(signal.SIGKILL) if len(server.requests) > LIMIT + 20 else None
    assert other.wait(TIMEOUT) == 0
    assert killed.wait(TIMEOUT) == -signal.SIGKILL
