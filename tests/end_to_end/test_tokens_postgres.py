"""PostgreSQL as a token store: its defaults, its restarts, and the way to it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.failing_stores import DarkProxy, RestartablePostgres, self_signed
from sage_workbench.small_sage import manager, small_world, token_requests
from support.presence import present
from tap_sage_accounting.auth import store as token_store
from tap_sage_accounting.auth.store import TokenStore
from tap_sage_accounting.exceptions import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_sandbox.api import Call
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

pytestmark = [pytest.mark.postgres, pytest.mark.waits]

STREAMS = ("contacts", "sales_invoices", "purchase_invoices", "ledger_accounts", "products", "journals")


@pytest.fixture
def postgres() -> Iterator[RestartablePostgres]:
    with RestartablePostgres() as server:
        yield server


def opened(url: str) -> TokenStore:
    store = TokenStore(url)
    store.check()
    return store


@pytest.mark.parametrize(
    "default",
    [
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "default_transaction_deferrable = on",
    ],
)
def test_parallel_runs_do_not_mind_the_defaults_of_the_server(postgres: RestartablePostgres, default: str) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE postgres SET {default}")
    with SandboxServer(small_world()) as sage:
        sage.faults.access_token_lifetime = 0.4
        together = threading.Barrier(6)

        def renew_often(_: int) -> int:
            store = opened(postgres.url)
            tokens = manager(sage, store, sleep=None)
            seen = set()
            for _ in range(4):
                together.wait(60)
                seen.add(tokens.access_token())
                threading.Event().wait(0.2)
            return len(seen)

        with ThreadPoolExecutor(6) as threads:
            assert min(threads.map(renew_often, range(6))) > 1
        assert sage.grants.refusals == {}
        assert sage.grants.refreshes > 1


def test_a_server_that_restarts_in_mid_run_costs_nothing_but_time(
    server: SandboxServer, run_tap: RunTap, postgres: RestartablePostgres
) -> None:
    server.faults.access_token_lifetime = 1
    restarts: list[threading.Timer] = []

    def stop(call: Call) -> None:
        if call.path == "contacts" and not restarts:
            postgres.stop()
            restarts.append(threading.Timer(5, postgres.start))
            restarts[0].start()
        if restarts:
            threading.Event().wait(0.1)  # so that tokens end while the server is away

    server.on_request = stop
    run = run_tap(*STREAMS, token_store=postgres.url)
    restarts[0].join()
    assert run.error is None
    assert run.tap.report.failed == []
    assert server.grants.refusals == {}
    warnings = [line for line in run.log if "Trying again for" in line]
    assert 1 <= len(warnings) <= 3
    assert TokenStore(postgres.url).read(server.client_id, server.refresh_token) is not None


def test_a_server_that_stays_away_ends_the_run_once(
    server: SandboxServer, run_tap: RunTap, postgres: RestartablePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_store, "STORE_PATIENCE", 1.0)
    server.faults.access_token_lifetime = 1
    stopped: list[str] = []

    def stop(call: Call) -> None:
        if call.path != "businesses" and not stopped:
            stopped.append(call.path)
            postgres.stop()
        if stopped:
            threading.Event().wait(0.1)

    server.on_request = stop
    run = run_tap(*STREAMS, token_store=postgres.url)
    assert isinstance(run.error, TokenStoreError)
    assert run.tap.report.failed == []
    assert not [line for line in run.log if "something unexpected" in line]
    assert len([line for line in run.log if "Trying again for" in line]) == 1
    postgres.start()
    server.on_request, server.faults.access_token_lifetime = None, 300
    assert run_tap(*STREAMS, token_store=postgres.url, state=run.state).error is None
    assert server.grants.refusals == {}


def test_a_login_waits_longer_than_a_run_for_a_server_that_restarts(
    postgres: RestartablePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_store, "STORE_PATIENCE", 0.1)
    with SandboxServer(small_world()) as sage:
        store = opened(postgres.url)
        tokens = manager(sage, store).endpoint.refresh(sage.refresh_token)
        postgres.stop()
        back = threading.Timer(2, postgres.start)
        back.start()
        store.keep_login(sage.client_id, None, tokens)
        back.join()
        assert present(opened(postgres.url).read(sage.client_id, None)).tokens == tokens
        assert token_requests(sage) == 1


# The way to the server

ELSEWHERE = "0.0.0.0"
"""Leads to this machine, and is no loopback address."""
UNENCRYPTED = "the connection to it is not encrypted"


def test_a_connection_to_another_machine_that_is_not_encrypted_is_warned_of(
    postgres: RestartablePostgres, caplog: pytest.LogCaptureFixture
) -> None:
    with DarkProxy(postgres.socket, ELSEWHERE) as proxy:
        store = opened(proxy.url)
        store.read("nobody", None)
    assert caplog.text.count(UNENCRYPTED) == 1
    assert "sslmode=verify-full" in caplog.text


def test_a_connection_that_is_encrypted_is_not_warned_of(
    postgres: RestartablePostgres, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with DarkProxy(postgres.socket, ELSEWHERE, self_signed(tmp_path)) as proxy:
        opened(f"{proxy.url}?sslmode=require")
    assert UNENCRYPTED not in caplog.text


@pytest.mark.parametrize("way", ["socket", "127.0.0.1", "localhost"])
def test_a_connection_within_this_machine_is_not_warned_of(
    postgres: RestartablePostgres, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    with DarkProxy(postgres.socket) as proxy:
        opened(postgres.url if way == "socket" else proxy.url.replace("127.0.0.1", way))
    assert UNENCRYPTED not in caplog.text


def test_a_server_that_does_not_respond_is_given_up(postgres: RestartablePostgres) -> None:
    with DarkProxy(postgres.socket) as proxy:
        proxy.go_dark()
        with pytest.raises(TokenStoreError, match="timeout"):
            opened(f"{proxy.url}?connect_timeout=2")
