#!/usr/bin/env python
"""Kill real runs of the tap with SIGKILL, continue from the target's state, and compare with the books.

`--every`: a small business. For each request of a first load, a process is killed while the response is on its way.
The load is then continued to the end.

`--random`: several businesses with thousands of rows, eight requests side by side. A load is killed at random moments
until one run comes to its end. People work in the books during the runs and between them. Firewalls and gateways
respond to some requests with 403 and 404 in Sage's place. Some runs are not killed but fail, because every request for
one list gets such a response. The books stand still meanwhile, for lists that never come to rest take many passes.

In both, the merged tables are compared with the books after one more run.

    python scripts/kill_reads.py --every
    python scripts/kill_reads.py --random 40 --seed 1
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sage_sandbox.books import build_world
from sage_sandbox.faults import Answerer, Fault
from sage_sandbox.server import SandboxServer
from sage_workbench import processes
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.processes import TapProcess
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_sandbox.api import Call

COMPARED = {each.name for each in STREAMS if (each.changed_since or each.deletable) and not each.retired}
"""Streams whose tables follow the books row by row; the others are replaced by each read or by ACTIVATE_VERSION."""
LONG_LISTS = {"contacts", "contact_payments", "purchase_invoices", "sales_invoices", "sales_quotes"}
"""Some of them, so that the state is small, and written often enough to resume within a list."""
LONGEST_LIFE = 300
"""Requests after which a process is killed at the latest."""
MOST_KILLS = 12
"""Kills after which a load is left in peace."""
BETWEEN_DEEDS = 100
"""Requests between two days of business."""
FOREIGN: tuple[tuple[int, Answerer], ...] = (
    (403, "firewall"),
    (404, "firewall"),
    (403, "gateway"),
    (404, "gateway"),
    (404, "nobody"),
)
"""What is answered in Sage's place, and by whom."""
BETWEEN_FOREIGN = 40
"""Requests between two such answers in passing."""
REFUSING = 0.2
"""The part of the runs that fail instead of being killed."""
IN_PASSING = 8
"""Such answers in passing, at most, for each run: each costs a wait."""


@contextmanager
def books(
    size: str, businesses: int, seed: int, streams: set[str], **config: Any
) -> Iterator[tuple[SandboxServer, TapProcess]]:
    """Open a simulated Sage, and a tap that has not read anything of it yet."""
    world = build_world(seed=seed, size=size, businesses=businesses, frozen=True)
    with SandboxServer(world) as server, tempfile.TemporaryDirectory() as directory:
        server.faults.detail_flags_on_lists = True
        settings = {"deletion_sweep_days": 0, "decimals": "text", **config}
        yield server, TapProcess(server, Path(directory), {*streams, "deletions"}, **settings)


def check(server: SandboxServer, tap: TapProcess, warehouse: Warehouse, streams: set[str], what: str) -> None:
    """Run once more in peace, and find every row where it must be."""
    with server.paused():
        server.world.clock.advance(timedelta(minutes=1))
    warehouse.load(tap.run())
    wrong = disagreements(server.world, warehouse, streams)
    if wrong:
        sys.exit(f"{what}: {len(wrong)} differences, such as {wrong[:5]}")


def kill_at_every_request(seed: int, step: int) -> None:
    """Kill one process at each request of a first load."""
    settings: dict[str, Any] = {"page_size": 5, "concurrency": 2}
    with books("tiny", 1, seed, COMPARED, **settings) as (server, tap):
        tap.run()
        requests = sum(request.path.startswith("/v3.1/") for request in server.requests)
    for kill_at in range(0, requests, step):
        with books("tiny", 1, seed, COMPARED, **settings) as (server, tap):
            warehouse = Warehouse()
            warehouse.load(tap.run(kill_when=_at(kill_at)))
            server.advance(1)
            check(server, tap, warehouse, COMPARED, f"killed at request {kill_at}")
    print(f"Killed at {len(range(0, requests, step))} of {requests} requests of a first load: all equal.")


def kill_at_random(kills: int, seed: int) -> None:
    """Kill loads at random moments until there were enough kills."""
    chance = random.Random(seed)  # noqa: S311 - chance, not secrecy
    killed = rounds = resumed = refused = 0
    while killed < kills:
        size, businesses, streams = [("demo", 3, COMPARED), ("large", 2, LONG_LISTS)][rounds % 2]
        with books(size, businesses, seed + rounds, streams, page_size=25, concurrency=8) as (server, tap):
            warehouse = Warehouse()

            work = _work_in(server)
            while True:
                before = tap.killed
                resumed += "'interrupted'" in str(tap.state)
                if tap.killed < MOST_KILLS:
                    refuses = chance.random() < REFUSING
                    server.faults.script = _foreign(chance, streams if refuses else set())
                    kill_when = None if refuses else _at(chance.randrange(LONGEST_LIFE))
                    messages = tap.run(kill_when, meanwhile=None if refuses else work, may_fail=refuses)
                    server.faults.script = []
                else:
                    messages = tap.run()
                warehouse.load(messages)
                refused += tap.failed
                if tap.killed == before and not tap.failed:
                    break
                server.advance(1)
            killed += tap.killed
            rounds += 1
            check(server, tap, warehouse, streams, f"round {rounds} with seed {seed}")
            rows = sum(len(table) for table in warehouse.tables.values())
            print(f"Round {rounds}: {tap.killed} kills, {rows} rows, all equal.", flush=True)
    print(
        f"{killed} kills in {rounds} loads ({resumed} in the middle of a list that was gone on with; {refused} runs "
        "failed over answers in Sage's place): all equal."
    )


def _foreign(chance: random.Random, streams: set[str]) -> list[Fault]:
    """Let somebody answer in Sage's place now and then, and, if there are streams, all requests for one of them."""
    status, by = chance.choice(FOREIGN)
    faults = [Fault("[!t]*", status, by=by, times=IN_PASSING, every=BETWEEN_FOREIGN)]
    if streams:
        faults.insert(0, Fault(f"{chance.choice(sorted(streams))}*", status, by=by, times=None))
    return faults


def _work_in(server: SandboxServer) -> Callable[[Call], None]:
    """Let a second pass with each request, and a day of business with some."""
    requests = iter(range(1_000_000))

    def work(_: Call) -> None:
        server.world.clock.advance(timedelta(seconds=1))
        if next(requests) % BETWEEN_DEEDS == BETWEEN_DEEDS - 1:
            server.advance(1)

    return work


def _at(number: int) -> Callable[[Call], bool]:
    requests = iter(range(1_000_000))
    return lambda _: next(requests) == number


def main() -> None:
    """Kill as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--step", type=int, default=1, help="with --every: only every so many requests")
    parser.add_argument("--random", type=int, default=0, metavar="KILLS")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not arguments.every and not arguments.random:
        parser.error("name --every or --random")
    processes.TIMEOUT = 900
    began = time.monotonic()
    if arguments.every:
        kill_at_every_request(arguments.seed, arguments.step)
    if arguments.random:
        kill_at_random(arguments.random, arguments.seed)
    print(f"It took {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
