"""The list of businesses: every one of them is found, with few requests, in whichever form Sage lists them."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.plain_books import plain_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        yield running


def found(run: Run) -> list[str]:
    assert run.error is None
    return [business.id for business in run.tap.businesses]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["$items_per_page", "$itemsPerPage"])
@pytest.mark.parametrize("count", [1, 499, 500, 501, 1200])
def test_pages_of_businesses_take_one_request_for_each_500(
    server: SandboxServer, run_tap: RunTap, count: int, key: str
) -> None:
    """A page that is full takes another one, as long as no page named a next one."""
    server.faults.update({"businesses_size_key": key})
    server.world.businesses.update(plain_world(businesses=count).businesses)
    assert found(run_tap("user")) == list(server.world.businesses)
    assert len(server.requests.of("businesses")) == ceil(count / 500) + (count == 500)


@pytest.mark.parametrize("key", ["$items_per_page", "$itemsPerPage"])
@pytest.mark.parametrize("count", [1, 501, 1200])
def test_businesses_that_come_all_at_once_take_one_request(
    server: SandboxServer, run_tap: RunTap, count: int, key: str
) -> None:
    server.faults.update({"businesses_paged": False, "businesses_size_key": key})
    server.world.businesses.update(plain_world(businesses=count).businesses)
    assert found(run_tap("user")) == list(server.world.businesses)
    assert len(server.requests.of("businesses")) == 1


@pytest.mark.parametrize("what", [500, 502, 504])
def test_a_page_of_businesses_that_is_too_much_for_sage_is_read_in_smaller_ones(
    server: SandboxServer, run_tap: RunTap, what: int
) -> None:
    server.world.businesses.update(plain_world(businesses=130).businesses)
    server.faults.add(Fault("businesses", what, times=3))
    assert found(run_tap("user")) == list(server.world.businesses)
    assert min(int(each.params["items_per_page"]) for each in server.requests.of("businesses")) >= 25


@pytest.mark.parametrize("what", ["empty_page", "no_items", "cut", 500])
def test_a_business_on_a_later_page_is_not_forgotten(server: SandboxServer, run_tap: RunTap, what: Any) -> None:
    server.world.businesses.update(plain_world(businesses=505).businesses)
    server.faults.add(Fault("businesses", what, page=2))
    assert found(run_tap("user")) == list(server.world.businesses)
