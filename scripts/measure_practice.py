#!/usr/bin/env python
"""Measure runs of logins that reach many businesses: what each costs, and that nothing is lost where most rest.

Growth: a first load and a quiet run for each number of businesses. It shows the processor's time for a request, and the
bytes of state for a business.

    python scripts/measure_practice.py growth --businesses 20 180 500

Rest: first a load of what people work on. In the next hour, a fifth of the businesses post something. An hourly run
reads them under a limit, with `idle_business_hours`. Runs of the hours after that are killed, and a last one reads
everything. The command fails when the tables then differ from the books.

    python scripts/measure_practice.py rest --businesses 300 --limit 100 --kills 4
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.pipeline import catalog_of
from sage_workbench.plain_books import Ledger, List, plain_world
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.executable).with_name("tap-sage-accounting")
ALL = {stream.name for stream in STREAMS if not stream.retired}
HOURLY = {stream.name for stream in STREAMS if not (stream.retired or stream.static)}
"""What people work on."""
FILLED = ("contacts", "contact_persons", "products", "stock_movements", "ledger_entries", "transactions")
COMPARED = ("contacts", *Ledger.STREAMS)
HOURS = 24
"""The setting `idle_business_hours` of these runs."""
ACTIVE = 5
"""One of so many businesses posts something in an hour."""
TOO_MANY = 429


@dataclass(frozen=True)
class Ran:
    """What one run did: seconds, bytes and messages."""

    requests: int
    refused: int
    seconds: float
    processor: float
    states: int
    state: int
    output: Path
    says: str


@dataclass
class Practice:
    """A login that reaches some businesses, the tap's runs on it, and the tables that they fill."""

    server: SandboxServer
    directory: Path
    streams: set[str]
    state: Any = None

    def __post_init__(self) -> None:
        """Begin with empty tables."""
        self.warehouse = Warehouse()

    def run(self, *, kill_after: float | None = None, load: bool = False, **settings: Any) -> Ran:
        """Run the tap from the state that the last run left; `load`: into the tables."""
        command, output = self._command(settings), self.directory / "output"
        before, began, sent = os.times(), time.monotonic(), len(self.server.requests)
        with output.open("wb") as out, (self.directory / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=out, stderr=log)  # noqa: S603 - our own program
            with suppress(subprocess.TimeoutExpired):
                process.wait(kill_after)
            process.send_signal(signal.SIGKILL)
            code = process.wait()
        log_lines = (self.directory / "log").read_text().splitlines()
        if code != (0 if kill_after is None else -signal.SIGKILL) and not (code == 0 and kill_after is not None):
            sys.exit("\n".join(log_lines[-20:]))
        after, states = os.times(), [line for line in lines_of(output) if line.startswith(b'{"type":"STATE"')]
        if states:
            self.state = json.loads(states[-1])["value"]
        if load:
            self.warehouse.load(json.loads(line, parse_float=Decimal) for line in lines_of(output))
        return Ran(
            requests=len(self.server.requests) - sent,
            refused=sum(each.status == TOO_MANY for each in [*self.server.requests][sent:]),
            seconds=time.monotonic() - began,
            processor=sum(after[2:4]) - sum(before[2:4]),
            states=sum(map(len, states)),
            state=len(states[-1]) if states else 0,
            output=output,
            says=" ".join(line.rpartition("| ")[2] for line in log_lines if " rest: " in line),
        )

    def _command(self, settings: dict[str, Any]) -> list[str | Path]:
        config = self.server.tap_config(token_store=f"sqlite:///{self.directory / 'tokens.sqlite'}", **settings)
        files = {"config": config, "catalog": catalog_of(config, self.streams), "state": self.state}
        for name, content in files.items():
            (self.directory / name).write_text(json.dumps(content))
        return [PROGRAM, *(f"--{name}={self.directory / name}" for name, content in files.items() if content)]

    def pass_time(self, **length: float) -> None:
        """Let time pass in the books."""
        with self.server.paused():
            self.server.world.clock.advance(timedelta(**length))


def lines_of(output: Path) -> Iterator[bytes]:
    """Yield the whole lines that a run wrote."""
    with output.open("rb") as lines:
        yield from (line for line in lines if line.endswith(b"\n"))


def growth(businesses: list[int]) -> None:
    """Print what a first load and a quiet run cost."""
    print("| Businesses | Run | Requests | Processor, µs a request | Last state, bytes a business | All states |")
    print("|---|---|---|---|---|---|")
    for count in businesses:
        world = plain_world(businesses=count)
        for each in world.businesses.values():
            for name in FILLED:
                List(world, each, name).fill(40)
        with SandboxServer(world) as server, tempfile.TemporaryDirectory() as scratch:
            practice = Practice(server, Path(scratch), ALL)
            for name in ("first", "quiet"):
                ran = practice.run()
                cells = (
                    f"{ran.requests:,}",
                    f"{ran.processor / ran.requests * 1e6:,.0f}",
                    f"{ran.state // count:,}",
                    f"{ran.states / 1e6:.1f} MB",
                )
                print(f"| {count} | {name} |", " | ".join(cells), "|", flush=True)
                practice.pass_time(hours=1)


def rest(businesses: int, limit: int, kills: int, seed: int) -> None:
    """Print what an hourly run takes where most businesses rest, and compare the tables with the books at the end."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    world = plain_world(businesses=businesses)
    ledgers = {each.id: Ledger(world, each) for each in world.businesses.values()}
    contacts = {each.id: List(world, each, "contacts") for each in world.businesses.values()}
    for business_id, ledger in ledgers.items():
        contacts[business_id].fill(5)
        for number in range(4):
            ledger.post(number)
    with SandboxServer(world) as server, tempfile.TemporaryDirectory() as scratch:
        practice = Practice(server, Path(scratch), HOURLY)

        def hour() -> None:
            practice.pass_time(minutes=30)
            with server.paused():
                for each in chance.sample([*ledgers], max(1, businesses // ACTIVE)):
                    ledgers[each].post(chance.randrange(1000))
                    contacts[each].edit(chance.choice(contacts[each].keys))
                silent = contacts[chance.choice([*ledgers])]
                silent.edit(chance.choice(silent.keys))
            practice.pass_time(minutes=30)

        def report(name: str, ran: Ran) -> None:
            refused = f"{ran.refused} refused, " if ran.refused else ""
            print(f"{name}: {ran.requests:,} requests, {refused}{ran.seconds / 60:.1f} minutes. {ran.says}", flush=True)

        practice.pass_time(hours=1)
        report("first load", practice.run(load=True, idle_business_hours=HOURS))
        hour()
        server.faults.update({"rate_limit": limit})
        report(f"an hour later, {limit} a minute", practice.run(load=True, idle_business_hours=HOURS))
        server.faults.update({"rate_limit": None})
        for _ in range(kills):
            hour()
            ran = practice.run(load=True, kill_after=chance.uniform(0.5, 5), idle_business_hours=HOURS)
            report("a run that is killed", ran)
        practice.pass_time(hours=HOURS)
        report("a full look", practice.run(load=True, idle_business_hours=HOURS))
        wrong = disagreements(world, practice.warehouse, {*COMPARED})
    print(f"{len(wrong)} rows differ from the books", *wrong[:5], sep="\n")
    sys.exit(bool(wrong))


def main() -> None:
    """Measure what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    growing = commands.add_parser("growth", help="what runs cost by the number of businesses")
    growing.add_argument("--businesses", type=int, nargs="+", default=[20, 180, 500])
    resting = commands.add_parser("rest", help="an hourly run where most businesses rest")
    resting.add_argument("--businesses", type=int, default=300)
    resting.add_argument("--limit", type=int, default=100, help="requests a minute (default: %(default)s)")
    resting.add_argument("--kills", type=int, default=4, help="runs that are killed (default: %(default)s)")
    resting.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    if options.command == "growth":
        growth(options.businesses)
    else:
        rest(options.businesses, options.limit, options.kills, options.seed)


if __name__ == "__main__":
    main()
