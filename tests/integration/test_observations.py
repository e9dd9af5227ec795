"""A run counts what contradicts the assumptions about Sage, and reports it in one line at its end."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.books import PLANS, build_world
from sage_sandbox.faults import Fault
from sage_sandbox.store import timestamp
from support.presence import present
from tap_sage_accounting.assumptions import assumptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from sage_sandbox.server import SandboxServer
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

LINE = "Sage differs from what is assumed of it, how often by assumption: "
STREAMS = ("contacts", "ledger_entries", "sales_invoices", "products")
TOGETHER: dict[str, dict[str, Any]] = {
    "requests.echo": {"echo_business": False},
    "requests.etags": {"etags": True},
    "requests.compression": {"gzip": True},
    "limits.headers": {"limit_headers": True},
    "pages.total": {"totals": False},
    "pages.sort": {"sort": "ignored"},
    "requests.clock": {"date_header": "unset"},
    "records.decimals": {"decimals": "numbers"},
}
"""What a run sees of one Sage that does all of it."""
ALONE: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("requests.clock", {"date_header": "absent"}, ("products",)),
    ("requests.clock", {"clock_offsets": [7200]}, ("products",)),
    ("pages.next", {"next_present": False}, ("ledger_entries",)),
    ("pages.full", {"short_pages": 7}, ("contacts", "sales_invoices")),
]
"""What shows in other ways where it comes together with others."""


def observed(run: Run) -> dict[str, int]:
    lines = [line.removeprefix(LINE) for line in run.log if line.startswith(LINE)]
    assert len(lines) <= 1
    found: dict[str, int] = json.loads(lines[0]) if lines else {}
    assert found.keys() <= assumptions().keys()
    return found


@pytest.fixture
def tiny_world() -> bytes:
    """A world of one business is enough here."""
    return pickle.dumps(build_world(size="tiny", businesses=1, frozen=True, plans=[PLANS[1]]))


def test_a_sage_that_behaves_as_assumed_is_not_mentioned(server: SandboxServer, run_tap: RunTap) -> None:
    run = run_tap()
    assert run.error is None
    assert observed(run) == {}
    server.advance(days=2)
    again = run_tap(*STREAMS, state=run.state)
    assert again.error is None
    assert observed(again) == {}


def test_what_a_run_sees_is_counted(server: SandboxServer, run_tap: RunTap) -> None:
    for way in TOGETHER.values():
        server.faults.update(way)
    run = run_tap(*STREAMS)
    assert run.error is None
    assert observed(run).keys() == TOGETHER.keys()
    assert min(observed(run).values()) > 0


@pytest.mark.parametrize(("assumption", "way", "streams"), ALONE, ids=[str(way) for _, way, _ in ALONE])
def test_what_a_run_sees_alone_is_counted(
    assumption: str, way: dict[str, Any], streams: tuple[str, ...], server: SandboxServer, run_tap: RunTap
) -> None:
    server.faults.update(way)
    run = run_tap(*streams)
    assert run.error is None
    assert observed(run)[assumption] > 0


def test_a_filter_that_is_ignored_is_seen(server: SandboxServer, run_tap: RunTap) -> None:
    first = run_tap(*STREAMS)
    server.world.clock.advance(timedelta(days=3))
    server.faults.changed_since = "ignored"
    assert observed(run_tap(*STREAMS, state=first.state))["changes.inclusive"] > 0


def test_deleted_records_without_their_time_are_seen(server: SandboxServer, run_tap: RunTap) -> None:
    first = run_tap(*STREAMS)
    server.advance(days=5)
    server.faults.tombstones = "id_only"
    assert observed(run_tap(*STREAMS, state=first.state))["deletions.content"] > 0


def test_refusals_for_their_number_are_seen(server: SandboxServer, run_tap: RunTap) -> None:
    server.faults.add(Fault(path="contacts", what=429, times=2, retry_after=0))
    server.faults.add(Fault(path="products", what=429, times=1))
    found = observed(run_tap(*STREAMS))
    assert (found["limits.minute"], found["limits.retry_after"]) == (2, 1)


def test_attributes_that_the_schemas_lack_are_seen(server: SandboxServer, run_tap: RunTap) -> None:
    business = next(iter(server.world.businesses.values()))
    row = next(iter(business.collection("contacts").rows.values()))
    row.change({"carbon_footprint": "1.5"}, row.updated_at)
    assert observed(run_tap(*STREAMS)) == {"records.attributes": 1}


def test_lists_that_are_not_found_are_counted(server: SandboxServer, run_tap: RunTap) -> None:
    server.faults.edition_refusal = 404
    assert observed(run_tap("contacts", "stock_items"))["rights.edition"] == 1


def test_moments_that_are_none_fail_no_read(server: SandboxServer, run_tap: RunTap) -> None:
    first = run_tap("sales_invoices")
    server.advance(days=2)
    values = cycle(("7", "[]", "null", "true", "{}"))
    for business in server.world.businesses.values():
        for row in business.collection("sales_invoices").rows.values():
            moments = {timestamp(present(each)) for each in (row.updated_at, row.created_at)}
            server.faults.raw |= dict(zip(sorted(moments), values, strict=False))
    again = run_tap("sales_invoices", state=first.state)
    assert again.error is None
    assert len(again.records["sales_invoices"]) > 0
