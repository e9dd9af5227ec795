"""Whichever way Sage behaves, the merged tables are the books: reads, changes and deletions with each switch."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import List, filled_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

LISTS = ("contacts", "ledger_entries", "products", "sales_quotes")
ROWS = 230
WAYS: list[dict[str, Any]] = [
    {"beyond_last": "empty"},
    {"beyond_last": "refused"},
    {"beyond_last": "empty", "next_present": False},
    {"changed_since": "exclusive"},
    {"changed_since": "ignored"},
    {"deleted_since": "inclusive"},
    {"deleted_since": "inclusive", "tombstones": "id_only"},
    {"totals": False},
    {"totals": False, "next_present": False, "beyond_last": "empty"},
    {"tombstones": "flagged_id"},
    {"inactive_items": "unfiltered"},
    {"etags": True, "limit_headers": True},
]


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(filled_world(LISTS, ROWS)) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(f"{name}={value}" for name, value in way.items()))
def test_rows_come_change_and_go_as_in_the_books(way: dict[str, Any], server: SandboxServer, run_tap: RunTap) -> None:
    server.faults.update(way)
    [business] = server.world.businesses.values()
    warehouse, state = Warehouse(), None
    for _ in range(3):
        run = run_tap(*LISTS, "deletions", state=state, deletion_sweep_days=0, page_size=50)
        assert run.error is None
        warehouse.load(run.messages)
        state = run.state
        assert disagreements(server.world, warehouse, LISTS) == []
        for name in LISTS:
            rows = List(server.world, business, name)
            first, second, *_ = rows.keys
            rows.edit(second)
            rows.delete(first)
        server.world.clock.advance(timedelta(hours=1))


@pytest.mark.parametrize("way", [{"lists_in_full": False}, {"undated_before": "2030-01-01"}], ids=str)
def test_no_row_is_lost_where_rows_lack_lines_or_times(
    way: dict[str, Any], server: SandboxServer, run_tap: RunTap
) -> None:
    server.faults.update(way)
    [business] = server.world.businesses.values()
    run = run_tap(*LISTS)
    assert run.error is None
    for name in LISTS:
        assert {row["id"] for row in run.records[name]} == set(business.collection(name).rows)
