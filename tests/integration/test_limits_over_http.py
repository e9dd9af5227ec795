"""Limits of any length, and refusals that are none, met over HTTP: everything is read, and little is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault, Faults
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import List, plain_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run

PAGES = 100
LIMITS: dict[str, dict[str, Any]] = {
    "10 in half a second": {"rate_limit": 10, "minute": 0.5},
    "30 in 1.5 seconds": {"rate_limit": 30, "minute": 1.5, "retry_after": "absent"},
    "each second by itself": {"rate_limit": 20, "minute": 1.0, "rate_window": "fixed"},
    "20 a second, one by one": {"rate_limit": 20, "minute": 1.0, "rate_window": "bucket"},
    "one of 20 refused": {"faults": [{"every": 20}]},
    "one of 25 refused beside a limit": {"rate_limit": 25, "minute": 1.0, "faults": [{"every": 25}]},
    "all refused for two seconds": {"faults": [{"skip": 20, "lasts": 2.0}]},
}
DAY = {"rate_limit": 40, "minute": 86_400.0}


@pytest.fixture(autouse=True)
def quick_attempts() -> None:
    """Keep the delays that users have."""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[SandboxServer]:
    world = plain_world(businesses=2)
    for business in world.businesses.values():
        List(world, business, "ledger_entries").fill(PAGES // 2)
    switches = dict(request.param)
    faults = [Fault(what=429, times=None, **fault) for fault in switches.pop("faults", [])]
    with SandboxServer(world, faults=Faults(script=faults, **switches)) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("server", LIMITS.values(), ids=LIMITS, indirect=True)
def test_everything_is_read_and_little_is_refused(server: SandboxServer, run_tap: Callable[..., Run]) -> None:
    run = run_tap("ledger_entries", page_size=1, patience=60)
    assert run.error is None
    warehouse = Warehouse()
    warehouse.load(run.messages)
    assert disagreements(server.world, warehouse, ["ledger_entries"]) == []
    refused = sum(request.status == 429 for request in server.requests)
    assert 0 < refused < 0.6 * PAGES  # on a machine that does much else


@pytest.mark.parametrize(
    "server",
    [{"faults": [{"path": "contacts", "retry_after": seconds}]} for seconds in (None, 0, 1)],
    ids=["absent", "zero", "one"],
    indirect=True,
)
def test_a_list_that_is_always_refused_is_not_requested_all_the_time_and_holds_up_no_other(
    server: SandboxServer, run_tap: Callable[..., Run]
) -> None:
    run = run_tap("contacts", "ledger_entries", page_size=1, patience=2)
    assert "2 reads failed (contacts)" in str(run.error)
    warehouse = Warehouse()
    warehouse.load(run.messages)
    assert disagreements(server.world, warehouse, ["ledger_entries"]) == []
    assert len(server.requests.of("contacts")) < 50


@pytest.mark.parametrize("server", [DAY, {**DAY, "retry_after": "date"}], ids=["seconds", "date"], indirect=True)
def test_a_limit_of_a_day_ends_the_run_and_says_when_to_come_back(
    server: SandboxServer, run_tap: Callable[..., Run]
) -> None:
    run = run_tap("ledger_entries", page_size=1)
    assert "longer than the setting 'patience' allows" in str(run.error)
    assert "run again after" in str(run.error)
    assert sum(request.status == 200 for request in server.requests) >= DAY["rate_limit"]
