"""Tap and target as two programs with a pipe between them, and the books that should arrive at its end."""

from __future__ import annotations

import subprocess
import sys
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sage_sandbox.books import trial_balance
from sage_workbench.listings import key_of, listable
from sage_workbench.ready_programs import Program
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sage_sandbox.server import SandboxServer
    from sage_sandbox.store import Business

Record: TypeAlias = dict[str, Any]
Command: TypeAlias = "list[str | Path]"

PROGRAMS = Path(sys.executable).parent
ALL = {stream.name for stream in STREAMS}
TIMEOUT = 600
"""Seconds for one run of a pipeline."""


@dataclass(frozen=True)
class Books:
    """What the simulated Sage holds at a moment: by stream, business and key; the living and the deleted."""

    moment: datetime
    alive: dict[tuple[str, str, str], Record]
    deleted: dict[tuple[str, str, str], Record]
    objects: dict[tuple[str, str], Record]
    trial_balance: dict[tuple[str, str, str], Record]

    @property
    def lists(self) -> set[str]:
        """The streams that are lists of records with an identity of their own."""
        return {name for name, _, _ in self.alive | self.deleted}

    @classmethod
    def of(cls, server: SandboxServer) -> Books:
        businesses = server.world.businesses.values()
        lists = [(name, each, each.collections[name]) for each in businesses for name in ALL & set(each.collections)]
        return cls(
            moment=server.world.clock.now(),
            alive={
                (name, each.id, key_of(body)): body
                for name, each, collection in lists
                for body in (listable(name, row.render()) for row in collection.rows.values())
            },
            deleted={
                (name, each.id, row.id): listable(name, row.render())
                for name, each, collection in lists
                for row in collection.tombstones.values()
            },
            objects={
                (name, each.id): body for each in businesses for name, body in {**each.objects, "": each.body}.items()
            },
            trial_balance={
                (each.id, month["from_date"], line["id"]): {**line, "to_date": month["to_date"]}
                for each in businesses
                if "ledger_entries" in each.collections
                for month in monthly(each, server.world.clock.now())
                for line in month["ledger_accounts"]
            },
        )


def monthly(business: Business, now: datetime) -> Iterator[Record]:
    day = date.fromisoformat(business.objects["financial_settings"]["accounts_start_date"]).replace(day=1)
    while day <= now.date():
        last = day.replace(day=monthrange(day.year, day.month)[1])
        yield trial_balance(business, day, last)
        day = date(day.year + day.month // 12, day.month % 12 + 1, 1)


def catalog_of(config: Record, streams: Collection[str]) -> Record:
    catalog: Record = TapSageAccounting(config=config).catalog_dict
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["selected"] = entry["tap_stream_id"] in streams
    return catalog


def pipe(tap: Command, target: Command, logs: Path) -> str:
    """Let a target read what a tap writes; give the states that the target confirms.

    Args:
        tap: program and arguments.
        target: program and arguments.
        logs: where `tap.log` and `target.log` are written.
    """
    with (logs / "tap.log").open("w") as tap_log, (logs / "target.log").open("w") as target_log:
        source = Program(tap, stdout=subprocess.PIPE, stderr=tap_log)
        sink = subprocess.Popen(target, stdin=source.stdout, stdout=subprocess.PIPE, stderr=target_log, text=True)
        assert source.stdout
        source.stdout.close()
        states, _ = sink.communicate(timeout=TIMEOUT)
        source.wait(TIMEOUT)
    for name, program in (("tap", source), ("target", sink)):
        assert program.returncode == 0, (logs / f"{name}.log").read_text()[-3000:]
    return states
