#!/usr/bin/env python
"""Measure which part of what a run writes are states, for lists whose deletions Sage does not report.

The state holds the ids of their rows, so it grows with businesses and rows. Loads each number of businesses once, and
once more as a quiet run. Prints a table, and exits with 1 where states are more than a tenth of a load.

    python scripts/measure_states.py --businesses 5 20 200 --rows 5000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sage_sandbox.server import SandboxServer
from sage_sandbox.store import Business, Clock, Row, World

PROGRAM = Path(sys.executable).with_name("tap-sage-accounting")
STREAM = "stock_movements"
NOW = datetime(2026, 6, 30, 18, tzinfo=UTC)
BOUND = 0.1


@dataclass
class Written:
    """What one run wrote, in bytes and messages."""

    records: int = 0
    states: int = 0
    rows: int = 0
    checkpoints: int = 0
    largest: int = 0
    seconds: float = 0.0
    processor: float = 0.0

    @property
    def share(self) -> float:
        """The part of all bytes that are states."""
        return self.states / (self.states + self.records or 1)

    def __str__(self) -> str:
        million = 1e6
        return (
            f"{self.rows:>9,} rows {self.records / million:8.1f} MB  {self.checkpoints:>4} states "
            f"{self.states / million:7.2f} MB (the last {self.largest / million:6.2f} MB)  {self.share:6.1%}  "
            f"{self.seconds:6.1f} s, {self.processor:6.1f} s of the processor"
        )


def world_of(businesses: int, rows: int) -> World:
    """Make businesses with one list each, whose ids are as random as Sage's."""
    made = {}
    for number in range(businesses):
        business_id = uuid.uuid5(uuid.NAMESPACE_OID, str(number)).hex
        body = {"id": business_id, "displayed_as": f"Business {number}", "name": f"Business {number}"}
        permissions = dict.fromkeys(("catalogs", "sales", "settings"), "full_access")
        business = Business(business_id, f"Business {number}", "GB", "Plus", body, permissions)
        collection = business.collection(STREAM)
        for row in range(rows):
            row_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{number}/{row}").hex
            content = {"id": row_id, "displayed_as": f"{row}", "$path": f"/{STREAM}/{row_id}", "quantity": "1.0"}
            collection.add(Row(row_id, content, NOW - timedelta(days=9), NOW - timedelta(days=9)))
        made[business_id] = business
    return World(Clock(NOW, frozen=True), {"id": "b" * 32, "displayed_as": "Jane Example"}, made)


def run(directory: Path) -> Written:
    """Run the program once and count what it writes; the last state goes into a file for the next run."""
    command: list[str | Path] = [PROGRAM, *(f"--{name}={directory / name}.json" for name in ("config", "catalog"))]
    state = directory / "state.json"
    if state.exists():
        command.append(f"--state={state}")
    written, began, before = Written(), time.monotonic(), os.times()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)  # noqa: S603
        for line in process.stdout or ():
            if line.startswith(b'{"type":"STATE"'):
                written.states += len(line)
                written.checkpoints += 1
                written.largest = len(line)
                last = line
            elif line.startswith(b'{"type":"RECORD"'):
                written.records += len(line)
                written.rows += 1
    if process.wait():
        sys.exit((directory / "log").read_text()[-2000:])
    after = os.times()
    written.seconds = time.monotonic() - began
    written.processor = after.children_user - before.children_user + after.children_system - before.children_system
    state.write_text(json.dumps(json.loads(last)["value"]))
    return written


def configure(server: SandboxServer, directory: Path) -> None:
    """Write settings and a catalog that selects the list."""
    store = f"sqlite:///{directory / 'tokens.sqlite'}"
    config = server.tap_config(token_store=store, concurrency=8, deletion_sweep_days=0)
    (directory / "config.json").write_text(json.dumps(config))
    found = subprocess.run([PROGRAM, "--discover"], check=True, capture_output=True)  # noqa: S603
    catalog: dict[str, Any] = json.loads(found.stdout)
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["selected"] = entry["tap_stream_id"] == STREAM
    (directory / "catalog.json").write_text(json.dumps(catalog))


def main() -> int:
    """Measure loads of each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--businesses", type=int, nargs="+", default=[5, 20, 200])
    parser.add_argument("--rows", type=int, default=5000)
    arguments = parser.parse_args()
    worst = 0.0
    for businesses in arguments.businesses:
        with SandboxServer(world_of(businesses, arguments.rows)) as server, tempfile.TemporaryDirectory() as scratch:
            configure(server, Path(scratch))
            first = run(Path(scratch))
            worst = max(worst, first.share)
            print(f"{businesses:>4} businesses, first load: {first}", flush=True)
            print(f"{businesses:>4} businesses, once more:  {run(Path(scratch))}", flush=True)
    return int(worst >= BOUND)


if __name__ == "__main__":
    sys.exit(main())
