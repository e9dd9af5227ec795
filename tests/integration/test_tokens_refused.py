"""Access tokens that the API refuses: renewed where that helps, and not where it does not."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from tap_sage_accounting.api import http_client
from tap_sage_accounting.api.request import require_business
from tap_sage_accounting.auth.endpoint import NoAccessTokenError
from tap_sage_accounting.auth.manager import AccessRefusedError, TokenManager
from tap_sage_accounting.exceptions import IncompleteRunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sage_sandbox.api import Call
    from sage_sandbox.server import SandboxServer
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

STREAMS = ("contacts", "sales_invoices", "purchase_invoices", "ledger_accounts", "products", "journals")


@pytest.mark.slow
@pytest.mark.parametrize("words", ["errors", "oauth", "empty"])
@pytest.mark.parametrize("moment", ["from the start", "in mid-run"])
def test_a_sage_that_refuses_every_token_ends_the_run_once_and_after_one_renewal(
    server: SandboxServer, run_tap: RunTap, words: str, moment: str
) -> None:
    server.faults.update({"expired_body": words})
    if moment == "from the start":
        server.faults.refuse_tokens = True
    else:

        def refuse(call: Call) -> None:
            server.faults.refuse_tokens = call.path != "businesses"

        server.on_request = refuse
    run = run_tap(*STREAMS)
    assert isinstance(run.error, AccessRefusedError)
    assert "not even one that was renewed a moment ago" in str(run.error)
    assert server.grants.refreshes <= 2
    assert run.tap.report.failed == []
    assert not [line for line in run.log if "something unexpected" in line]
    server.on_request, server.faults.refuse_tokens = None, False
    assert run_tap(*STREAMS).error is None


def test_a_401_of_a_gateway_in_sages_place_renews_no_token(server: SandboxServer, run_tap: RunTap) -> None:
    server.faults.update({"expired_body": "html", "refuse_tokens": True})
    assert run_tap(*STREAMS).error is not None
    assert server.grants.refreshes == 1


def test_a_list_that_refuses_every_token_fails_alone_and_costs_one_renewal(
    server: SandboxServer, run_tap: RunTap
) -> None:
    server.faults.add(Fault(path="contacts", what=401, times=None))
    run = run_tap(*STREAMS)
    assert isinstance(run.error, IncompleteRunError)
    assert {outcome.stream for outcome in run.tap.report.failed} == {"contacts"}
    assert "accepts the same token for something else" in str(run.tap.report.failed[0])
    assert run.records["sales_invoices"]
    assert server.grants.refreshes <= 2


def test_a_business_that_refuses_every_token_leaves_the_others_alone(server: SandboxServer, run_tap: RunTap) -> None:
    lapsed, other = server.world.businesses
    server.faults.add(Fault(path="*", what=401, business=lapsed, times=None))
    run = run_tap(*STREAMS)
    assert isinstance(run.error, IncompleteRunError)
    assert len(run.tap.report.failed) == len(STREAMS)
    for name in STREAMS:
        assert {record["business_id"] for record in run.records[name]} <= {other}
    assert run.records["contacts"]
    assert server.grants.refreshes <= 2


def test_tokens_that_die_early_again_and_again_are_renewed_again_and_again(
    server: SandboxServer, run_tap: RunTap
) -> None:
    dying = set(STREAMS)

    def die(call: Call) -> None:
        if call.path in dying:
            dying.remove(call.path)
            server.grants._access.clear()

    server.on_request = die
    run = run_tap(*STREAMS, concurrency=1)
    assert run.error is None
    assert 2 < server.grants.refreshes <= 1 + len(STREAMS)


def kill_twice(server: SandboxServer) -> threading.Event:
    """Let a token die with its first response about books, and the next one, too; return what is set then."""
    calls: list[str] = []
    over = threading.Event()

    def die(call: Call) -> None:
        if call.path in STREAMS and len(calls) < 2:
            calls.append(call.path)
            server.grants._access.clear()
        if len(calls) == 2:
            over.set()

    server.on_request = die
    return over


def test_a_token_that_dies_while_its_first_response_is_looked_at_is_renewed(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = kill_twice(server)
    real_check, real_condemn, condemned = require_business, TokenManager.condemn, threading.Event()

    def check(*arguments: Any) -> None:
        if over.is_set():
            condemned.wait(60)
        real_check(*arguments)

    def condemn(tokens: TokenManager, *arguments: str) -> None:
        try:
            real_condemn(tokens, *arguments)
        finally:
            condemned.set()

    monkeypatch.setattr(http_client, "require_business", check)
    monkeypatch.setattr(TokenManager, "condemn", condemn)
    run = run_tap(*STREAMS, concurrency=2)
    assert condemned.is_set()
    assert run.error is None


def test_a_token_that_another_read_finds_dead_meanwhile_is_no_token_that_is_accepted_elsewhere(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_twice(server)
    real, replaced = TokenManager.reject, []

    def reject(tokens: TokenManager, token: str) -> bool:
        if not (is_other := real(tokens, token)):
            tokens.condemn(token, "by another read")
            replaced.append(tokens.access_token())
        return is_other

    monkeypatch.setattr(TokenManager, "reject", reject)
    run = run_tap(*STREAMS, concurrency=1)
    assert replaced
    assert run.error is None


def test_tokens_that_die_at_once_all_the_time_end_the_run(server: SandboxServer, run_tap: RunTap) -> None:
    server.on_request = lambda _: server.grants._access.clear()
    run = run_tap(*STREAMS)
    assert isinstance(run.error, AccessRefusedError)
    assert server.grants.refreshes <= 13


def test_a_request_that_is_under_way_for_longer_than_tokens_live_is_sent_again_with_another(
    server: SandboxServer, run_tap: RunTap
) -> None:
    """Two ends of a token may fall into one request."""
    server.faults.access_token_lifetime = 0.8
    held = 0

    def hold(_: Call) -> None:
        nonlocal held
        held += 1
        if held in {3, 6, 9}:
            time.sleep(1)  # the server serves nobody meanwhile, and then finds their tokens dead

    server.on_request = hold
    run = run_tap(*STREAMS, concurrency=4)
    assert run.error is None
    assert run.tap.report.failed == []


def test_access_tokens_that_no_request_can_carry_end_the_run_and_cost_no_login(
    server: SandboxServer, run_tap: RunTap
) -> None:
    server.faults.add(Fault(path="token", what="odd_access_token", times=3))
    for refreshes in (1, 2, 3):
        run = run_tap(*STREAMS)
        assert isinstance(run.error, NoAccessTokenError)
        assert server.grants.refreshes == refreshes
        assert not run.messages
    assert run_tap(*STREAMS).error is None
    assert not server.grants.refusals


def test_an_access_token_that_no_request_can_carry_in_mid_run_costs_no_login(
    server: SandboxServer, run_tap: RunTap
) -> None:
    def die(call: Call) -> None:
        if call.path == "sales_invoices":
            server.faults.add(Fault(path="token", what="odd_access_token"))
            server.grants._access.clear()
            server.on_request = None

    server.on_request = die
    run = run_tap(*STREAMS)
    assert run.error is not None
    assert run_tap(*STREAMS, state=run.state).error is None
    assert not server.grants.refusals
