"""Sage is out of order or refuses for a while: the run waits within its patience, and ends in order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import requests
from typing_extensions import override

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import filled_world
from tap_sage_accounting.api import outages
from tap_sage_accounting.api.http_client import MAX_ATTEMPTS, HttpClient
from tap_sage_accounting.api.observations import Observations
from tap_sage_accounting.api.outages import EVERYTHING, LIMIT_WINDOW, Outages, Scope
from tap_sage_accounting.api.request import Request, Response
from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.exceptions import (
    IncompleteRunError,
    RequestTooLargeError,
    RetriesExhaustedError,
    RetryAfterTooLongError,
    RunOverError,
    ServiceUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from requests_mock import Mocker

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]
API = "https://sage.test/v3.1"
CONTACTS, USER, BALANCE = f"{API}/contacts", f"{API}/user", f"{API}/trial_balance"
PATIENCE = 900
FOUND: dict[str, Any] = {"$items": []}
OUT_OF_ORDER: list[dict[str, Any]] = [
    {"status_code": 429},
    {"status_code": 503},
    {"status_code": 521},
    {"status_code": 429, "headers": {"Retry-After": "nan"}},
    {"status_code": 429, "headers": {"Retry-After": "-5"}},
    {"status_code": 503, "headers": {"Retry-After": "inf"}},
    {"exc": requests.ConnectTimeout()},
    {"exc": requests.ConnectionError(ConnectionRefusedError())},
]


class Clock:
    """Seconds that pass only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


class Tokens:
    """Gives a token."""

    def access_token(self) -> str:
        return "access-token"

    def sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.access_token()}"
        return request

    def accept(self, token: str) -> None:
        """Leave the token as it is."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(outages, "FIRST_DELAY", 1.0)
    return Clock()


@pytest.fixture
def connection(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpClient]:
    found = connection_at(clock, PATIENCE, monkeypatch)
    yield found
    found.close()


def connection_at(clock: Clock, patience: int, monkeypatch: pytest.MonkeyPatch) -> HttpClient:
    gate = RequestGate(concurrency=2, minute=0.001)
    monkeypatch.setattr(gate, "pause", clock.wait)
    monkeypatch.setattr(gate, "refused", lambda *_: clock.wait(1))
    return HttpClient(
        tokens=Tokens(),  # type: ignore[arg-type] # what a connection needs of its token manager
        gate=gate,
        api_url=API,
        user_agent="test/1",
        connections=2,
        patience=patience,
        observations=Observations(),
        clock=clock,
    )


def ask(connection: HttpClient, path: str = "contacts", business_id: str | None = "b1", **options: Any) -> Any:
    request = Request(f"/{path}", {}, business_id, f"'{path}' of Harbour Lights")
    return connection.get(request, Response.json, **options)


def out_of_order(requests_mock: Mocker, url: str, clock: Clock, fault: dict[str, Any], *, until: float) -> Any:
    """Let an address fail until a moment."""

    def answer(_: object, context: Any) -> str:
        if clock.now >= until:
            return '{"$items": []}'
        if "exc" in fault:
            raise fault["exc"]
        context.status_code = fault["status_code"]
        context.headers.update(fault.get("headers", {}))
        return str(fault.get("text", ""))

    return requests_mock.get(url, text=answer)


# Seconds, not attempts


@pytest.mark.parametrize("seconds", [60, 600])
@pytest.mark.parametrize("fault", OUT_OF_ORDER, ids=str)
def test_an_outage_shorter_than_the_patience_is_waited_out(
    connection: HttpClient, clock: Clock, requests_mock: Mocker, fault: dict[str, Any], seconds: int
) -> None:
    contacts = out_of_order(requests_mock, CONTACTS, clock, fault, until=clock.now + seconds)
    assert ask(connection) == FOUND
    assert contacts.call_count < (30 if "429" not in str(fault) else 90)


@pytest.mark.parametrize("fault", OUT_OF_ORDER, ids=str)
def test_an_outage_of_everything_that_outlasts_the_patience_ends_the_run(
    connection: HttpClient, clock: Clock, requests_mock: Mocker, fault: dict[str, Any]
) -> None:
    began = clock.now
    contacts = out_of_order(requests_mock, CONTACTS, clock, fault, until=float("inf"))
    out_of_order(requests_mock, USER, clock, fault, until=float("inf"))
    with pytest.raises(
        ServiceUnavailableError, match=r"'patience' allows \(900 s\)\. What was complete is kept"
    ) as over:
        ask(connection)
    assert str(over.value).startswith("'contacts' of Harbour Lights")
    assert PATIENCE <= clock.now - began < PATIENCE + 2 * outages.LONGEST_DELAY
    sent = contacts.call_count
    for path in ("contacts", "trial_balance"):
        with pytest.raises(ServiceUnavailableError) as again:
            ask(connection, path)
        assert again.value is over.value
    assert contacts.call_count == sent


def test_an_address_that_is_blocked_for_an_hour_is_not_hammered(
    connection: HttpClient, clock: Clock, requests_mock: Mocker
) -> None:
    contacts = out_of_order(requests_mock, CONTACTS, clock, {"status_code": 429}, until=clock.now + 3600)
    out_of_order(requests_mock, USER, clock, {"status_code": 429}, until=clock.now + 3600)
    with pytest.raises(ServiceUnavailableError):
        ask(connection)
    assert contacts.call_count < LIMIT_WINDOW + 25


@pytest.mark.parametrize("status", [408, 425, 501])
def test_a_fault_of_one_request_gets_its_attempts(connection: HttpClient, requests_mock: Mocker, status: int) -> None:
    requests_mock.get(USER, json={})
    contacts = requests_mock.get(CONTACTS, [{"status_code": status}] * (MAX_ATTEMPTS - 1) + [{"json": FOUND}])
    assert ask(connection) == FOUND
    assert contacts.call_count == MAX_ATTEMPTS


@pytest.mark.parametrize("patience", [0, 1])
def test_even_without_patience_a_few_attempts_are_made(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, requests_mock: Mocker, patience: int
) -> None:
    connection = connection_at(clock, patience, monkeypatch)
    requests_mock.get(USER, status_code=429)
    contacts = requests_mock.get(CONTACTS, [{"status_code": 429}] * 5 + [{"json": FOUND}])
    assert ask(connection) == FOUND
    contacts = requests_mock.get(CONTACTS, status_code=429)
    with pytest.raises(ServiceUnavailableError):
        ask(connection)
    assert contacts.call_count == outages.FEWEST_ATTEMPTS


# What it is that is out of order


@pytest.mark.parametrize("fault", OUT_OF_ORDER, ids=str)
def test_one_path_that_is_out_of_order_fails_alone_and_is_waited_for_once(
    connection: HttpClient, clock: Clock, requests_mock: Mocker, fault: dict[str, Any]
) -> None:
    contacts = out_of_order(requests_mock, CONTACTS, clock, fault, until=float("inf"))
    requests_mock.get(BALANCE, json={"ledger_accounts": []})
    patient = clock.wait

    def others_are_answered(seconds: float) -> None:
        patient(seconds)
        ask(connection, "trial_balance")

    connection._gate.pause = others_are_answered  # type: ignore[method-assign]
    began = clock.now
    if fault.get("status_code") == 429:
        connection._gate.refused = lambda *_: others_are_answered(1) or 0.0  # type: ignore[method-assign, func-returns-value]
    with pytest.raises(RetriesExhaustedError, match="longer than 'patience' allows"):
        ask(connection)
    assert clock.now - began >= PATIENCE
    sent, ended = contacts.call_count, clock.now
    for business_id in ("b1", "b2"):
        with pytest.raises(RetriesExhaustedError):
            ask(connection, business_id=business_id)
    assert contacts.call_count == sent + 2
    assert clock.now - ended <= 2
    assert ask(connection, "trial_balance") == {"ledger_accounts": []}


def test_a_business_that_is_out_of_order_costs_its_patience_once(clock: Clock) -> None:
    found = Outages(PATIENCE, clock)
    for path in ("contacts", "sales_quotes", "transactions"):
        for _ in range(3):
            found.fail(Scope(path, "b1"))
            found.succeed(Scope(path, "b2"))
            clock.wait(100)
    clock.wait(60)
    for path in ("contacts", "transactions", "journals"):
        found.fail(Scope(path, "b1"))
        exhausted = found.exhausted(Scope(path, "b1"))
        assert exhausted is not None
        assert exhausted[0] == Scope(business_id="b1")
    assert found.exhausted(Scope("contacts", "b2")) is None


def test_faults_of_requests_that_are_under_way_together_put_off_the_next_attempt_once(clock: Clock) -> None:
    found = Outages(PATIENCE, clock)
    scopes = [Scope("contacts", f"b{number}") for number in range(8)]
    for expected in (1, 2, 4, 8):
        for scope in scopes:
            found.fail(scope)
        clock.wait(max(map(found.wait, scopes)))
        assert clock.now == 1000 + sum(each for each in (1, 2, 4, 8) if each <= expected)
    assert found.wait(Scope("user")) == 0
    found.fail(scopes[0])
    assert found.wait(Scope("user")) == 16


def test_the_log_mentions_an_outage_at_its_beginning_and_once_a_minute(clock: Clock) -> None:
    found = Outages(PATIENCE, clock)
    lines = 0
    for second in range(300):
        lines += found.fail(Scope("contacts", f"b{second % 7}"))
        clock.wait(1)
    assert lines == 5
    found.succeed(Scope("contacts", "b1"))
    assert found.wait(Scope("user")) == 0
    assert found.exhausted(EVERYTHING) is None


# Faults of one page, and of everything


@pytest.mark.parametrize("status", [500, 502, 504, 524])
def test_a_page_that_is_too_heavy_is_given_up_when_a_light_request_succeeds(
    connection: HttpClient, requests_mock: Mocker, status: int
) -> None:
    light = requests_mock.get(USER, json={"id": "u1"})
    contacts = requests_mock.get(CONTACTS, status_code=status)
    with pytest.raises(RequestTooLargeError, match="Tried 3 times"):
        ask(connection, max_attempts=2)
    assert (contacts.call_count, light.call_count) == (3, 1)


def test_a_page_is_given_up_without_another_request_when_others_succeed_meanwhile(
    connection: HttpClient, requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    light = requests_mock.get(USER, json={"id": "u1"})
    contacts = requests_mock.get(CONTACTS, status_code=504)
    requests_mock.get(BALANCE, json={"ledger_accounts": []})
    monkeypatch.setattr(connection._gate, "pause", lambda _: ask(connection, "trial_balance"))
    with pytest.raises(RequestTooLargeError, match="Tried 2 times"):
        ask(connection, max_attempts=2)
    assert (contacts.call_count, light.call_count) == (2, 0)


@pytest.mark.parametrize(
    "fault",
    [
        {"status_code": 500},
        {"status_code": 502},
        {"status_code": 504},
        {"exc": requests.ReadTimeout()},
        {"exc": requests.ConnectionError()},
        {"status_code": 200, "text": "<html>We are working on it</html>"},
        {"status_code": 200, "text": '{"$items": [{"id"'},
    ],
    ids=str,
)
def test_no_page_is_blamed_for_what_happens_to_all(
    connection: HttpClient, clock: Clock, requests_mock: Mocker, fault: dict[str, Any]
) -> None:
    requests_mock.get(BALANCE, json={"ledger_accounts": []})
    ask(connection, "trial_balance")
    clock.wait(60)
    until = clock.now + 300
    for url in (CONTACTS, USER):
        out_of_order(requests_mock, url, clock, fault, until=until)
    assert ask(connection, max_attempts=2) == FOUND
    assert clock.now >= until


@pytest.mark.parametrize("fault", [{"status_code": 404, "text": "<html>"}, {"status_code": 302}], ids=str)
def test_an_address_that_never_responded_is_not_waited_for(
    connection: HttpClient, clock: Clock, requests_mock: Mocker, fault: dict[str, Any]
) -> None:
    began = clock.now
    out_of_order(requests_mock, CONTACTS, clock, fault, until=float("inf"))
    with pytest.raises(RetriesExhaustedError, match=f"Tried {MAX_ATTEMPTS} times"):
        ask(connection)
    assert clock.now - began < PATIENCE / 10


def test_a_fault_of_all_that_does_not_pass_ends_the_run(
    connection: HttpClient, clock: Clock, requests_mock: Mocker
) -> None:
    for url in (CONTACTS, USER):
        out_of_order(requests_mock, url, clock, {"status_code": 502}, until=float("inf"))
    with pytest.raises(ServiceUnavailableError, match="Sage answered nothing for"):
        ask(connection, max_attempts=2)


# Long waits by `Retry-After`


@pytest.mark.parametrize("after", ["86400", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_wait_beyond_the_patience_ends_the_run_at_once(
    connection: HttpClient, requests_mock: Mocker, status: int, after: str
) -> None:
    contacts = requests_mock.get(CONTACTS, status_code=status, headers={"Retry-After": after})
    with pytest.raises(RetryAfterTooLongError, match=r"longer than .*'patience'.*run again after 20\d\d-"):
        ask(connection)
    assert contacts.call_count == 1


def test_a_wait_within_the_patience_is_obeyed(connection: HttpClient, clock: Clock, requests_mock: Mocker) -> None:
    began = clock.now
    requests_mock.get(CONTACTS, [{"status_code": 503, "headers": {"Retry-After": "120"}}, {"json": FOUND}])
    assert ask(connection) == FOUND
    assert 120 <= clock.now - began <= 160


# The whole run


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(filled_world(STREAMS, 7, businesses=2)) as running:
        yield running


STREAMS = ("addresses", "bank_accounts", "contacts", "products", "sales_estimates", "sales_quotes", "services")


@pytest.mark.slow
@pytest.mark.parametrize("what", [429, 503, 502, 500, "drop", "cut", "html"])
def test_a_run_survives_an_outage_in_which_every_request_fails(
    server: SandboxServer, run_tap: RunTap, what: int | str
) -> None:
    server.faults.add(Fault("*", what, times=None, skip=2, lasts=1.0))
    run = run_tap(*STREAMS, patience=60)
    assert run.error is None
    assert {name: len(rows) for name, rows in run.records.items()} == dict.fromkeys(STREAMS, 14)
    assert run.tap.report.failed == []


@pytest.mark.slow
@pytest.mark.parametrize("what", [429, 503, 502, "drop"])
def test_an_outage_without_end_ends_the_run_once_with_the_state_kept(
    server: SandboxServer, run_tap: RunTap, what: int | str
) -> None:
    storm = server.faults.add(Fault("*", what, times=None, skip=9))
    run = run_tap(*STREAMS, patience=1, concurrency=1)
    assert isinstance(run.error, ServiceUnavailableError)
    assert run.tap.report.failed == []
    assert sum("longer than the setting 'patience' allows" in line for line in run.log) <= 1
    assert any(line.startswith("The run ended early: ") for line in run.log)
    assert run.messages[-1]["type"] == "STATE"
    server.faults.script.remove(storm)
    warehouse = Warehouse()
    warehouse.load(run.messages)
    again = run_tap(*STREAMS, state=run.state)
    assert again.error is None
    warehouse.load(again.messages)
    assert disagreements(server.world, warehouse, STREAMS) == []


def test_a_path_that_stays_out_of_order_fails_alone(server: SandboxServer, run_tap: RunTap) -> None:
    server.faults.add(Fault("contacts", 503, times=None))
    run = run_tap(*STREAMS, patience=1)
    assert isinstance(run.error, IncompleteRunError)
    assert {outcome.stream for outcome in run.tap.report.failed} == {"contacts"}
    assert {len(run.records[name]) for name in STREAMS if name != "contacts"} == {14}


def test_a_server_that_comes_back_is_found_again(server: SandboxServer, run_tap: RunTap) -> None:
    port = int(server.base_url.rpartition(":")[2])
    before = run_tap(*STREAMS)
    server.stop()
    back = SandboxServer(server.world, port=port)
    back.grants.__dict__.update(server.grants.__dict__)

    class ComeBack(logging.Handler):
        """Lets the server come back when it was missed."""

        @override
        def emit(self, record: logging.LogRecord) -> None:
            if "Connection refused" in record.getMessage():
                back.__enter__()
                logger.removeHandler(self)

    logger = logging.getLogger("tap-sage-accounting.requests")
    logger.addHandler(handler := ComeBack())
    try:
        run = run_tap(*STREAMS, state=before.state, patience=60)
    finally:
        logger.removeHandler(handler)
        back.stop()
    assert run.error is None
    assert len(back.requests.of("contacts")) >= 2


def test_a_long_refusal_by_a_gateway_ends_the_run_with_the_time_to_come_back(
    server: SandboxServer, run_tap: RunTap
) -> None:
    server.faults.add(Fault("sales_quotes", 503, retry_after=7200, times=None))
    run = run_tap(*STREAMS, patience=60)
    assert isinstance(run.error, RunOverError)
    assert "run again after " in str(run.error)
    assert run.tap.report.failed == []
