"""Requests go out as fast as Sage allows, whatever its limit is, and politely."""

from __future__ import annotations

import threading

import pytest

from support.limits import Client, Kind, Outcome, Sage
from tap_sage_accounting.api import rate_limiter
from tap_sage_accounting.api.rate_limiter import Limiter
from tap_sage_accounting.api.request_gate import GateClosedError, RequestGate

IN_FLIGHT = [8, 32]


@pytest.fixture(autouse=True)
def quick_attempts() -> None:
    """Keep the delays that are tried here."""


def meet(sage: Sage, requests: int, businesses: int = 1, in_flight: int = 8, latency: float = 0.3) -> Outcome:
    return Client(sage, requests, businesses, in_flight, latency).run(Limiter())


def meet_greedily(sage: Sage, requests: int, businesses: int = 1, in_flight: int = 8, latency: float = 0.3) -> Outcome:
    return Client(sage, requests, businesses, in_flight, latency).run_greedily()


@pytest.mark.parametrize("in_flight", IN_FLIGHT)
@pytest.mark.parametrize("businesses", [1, 20])
def test_without_a_limit_nothing_waits(in_flight: int, businesses: int) -> None:
    outcome = meet(Sage(None), 2000, businesses, in_flight)
    assert outcome.seconds < 1.05 * 2000 / in_flight * 0.3


@pytest.mark.parametrize("in_flight", IN_FLIGHT)
@pytest.mark.parametrize("businesses", [1, 20])
def test_refusals_at_random_slow_nobody_but_the_requests_that_meet_them(in_flight: int, businesses: int) -> None:
    sage = Sage(None, strays=0.02)
    outcome = meet(sage, 1500, businesses, in_flight)
    assert len(outcome.refused) > 15
    assert outcome.seconds < 1.1 * 1500 / in_flight * 0.3 + 2


LIMITS = [
    (60, 60.0, 300),
    (100, 60.0, 500),
    (900, 60.0, 2400),
    (60, 6.0, 800),
]


@pytest.mark.parametrize(("limit", "length", "requests"), LIMITS, ids=["60", "100", "900", "60 in 6 s"])
@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
@pytest.mark.parametrize("retry_after", [True, False], ids=["retry-after", "no-retry-after"])
def test_it_is_as_fast_as_a_client_that_is_refused_all_the_time(
    limit: int, length: float, requests: int, kind: Kind, *, retry_after: bool
) -> None:
    for businesses, in_flight in ((1, 8), (20, 32)):
        sage, again = (Sage(limit, kind, length, retry_after=retry_after) for _ in range(2))
        outcome = meet(sage, requests, businesses, in_flight)
        assert outcome.seconds < 1.1 * meet_greedily(again, requests, businesses, in_flight).seconds


@pytest.mark.parametrize(
    ("limit", "kind"), [(60, "sliding"), (60, "fixed"), (100, "sliding"), (100, "fixed"), (60, "bucket")]
)
@pytest.mark.parametrize("retry_after", [True, False], ids=["retry-after", "no-retry-after"])
def test_once_a_limit_is_known_hardly_anything_is_refused(limit: int, kind: Kind, *, retry_after: bool) -> None:
    outcome = meet(Sage(limit, kind, retry_after=retry_after), 12 * limit)
    assert outcome.refused_since(4 * 60.0) <= 0.015


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@pytest.mark.parametrize("retry_after", [True, False], ids=["retry-after", "no-retry-after"])
@pytest.mark.parametrize("businesses", [5, 20])
def test_a_limit_of_each_business_is_used_for_each(kind: Kind, businesses: int, *, retry_after: bool) -> None:
    sage, again = (Sage(60, kind, per_business=True, retry_after=retry_after) for _ in range(2))
    outcome = meet(sage, 1500, businesses, 8)
    assert outcome.seconds < 1.1 * meet_greedily(again, 1500, businesses, 8).seconds


def test_a_business_at_its_own_limit_does_not_hold_up_the_others() -> None:
    limiter = Limiter()
    refused = [limiter.send("a", 0.0) for _ in range(3)]
    for number, permit in enumerate(refused):
        other = limiter.send("b", 0.1)
        limiter.land(other, 0.4)
        limiter.accept(other, 0.4)
        limiter.land(permit, 0.5)
        assert limiter.refuse(permit, 0.5, 30.0) == (30.0 if number < 2 else 0.0)
    assert limiter.wait("a", 0.5) == pytest.approx(30)
    assert limiter.wait("b", 0.5) == 0


def test_refusals_of_requests_under_way_together_count_once() -> None:
    outcome = meet(Sage(100), 150, 5, in_flight=32)
    assert 3 <= len(outcome.refused) <= 33


def test_while_a_limit_is_full_one_request_at_a_time_asks_for_a_place() -> None:
    limiter = Limiter()
    for permit in [limiter.send("a", 0.0) for _ in range(8)]:
        limiter.land(permit, 0.5)
        limiter.refuse(permit, 0.5, None)
    now = 0.5 + limiter.wait("a", 0.5)
    assert now > 0.5
    limiter.send("a", now)
    assert limiter.wait("a", now) == pytest.approx(10)


def test_a_request_that_hangs_does_not_keep_a_full_limit_closed() -> None:
    limiter = Limiter()
    limiter.send("a", 0.0)
    for permit in [limiter.send("a", 0.0) for _ in range(7)]:
        limiter.land(permit, 0.5)
        limiter.refuse(permit, 0.5, 20.0)
    assert limiter.wait("a", 21.0) == 0


def test_the_retry_after_of_a_lone_refusal_is_obeyed_by_its_request() -> None:
    limiter = Limiter()
    permit = limiter.send("b", 0.0)
    limiter.land(permit, 1.0)
    assert limiter.refuse(permit, 1.0, 90.0) == 90.0
    assert limiter.wait("b", 1.0) == 0


def test_the_users_ceiling_holds_for_any_minute() -> None:
    limiter = Limiter(5)
    for second in range(5):
        permit = limiter.send("b", float(second))
        limiter.land(permit, second + 0.5)
        limiter.accept(permit, second + 0.5)
    assert limiter.wait("b", 5.0) == pytest.approx(55.5)
    assert limiter.wait("b", 60.6) == 0


def test_the_published_limit_of_a_day_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiter, "DAILY_LIMIT", 1000)
    limiter = Limiter()
    for _ in range(1000):
        assert limiter.wait("b", 0.0) == 0
        permit = limiter.send("b", 0.0)
        limiter.land(permit, 0.0)
        limiter.accept(permit, 0.0)
    assert limiter.wait("b", 10.0) == pytest.approx(86_390)
    assert limiter.wait("b", 86_400.0) == 0


def test_requests_that_fail_hold_no_place_for_good() -> None:
    limiter = Limiter(2)
    for _ in range(2):
        limiter.land(limiter.send("b", 0.0), 1.0)
    assert limiter.wait("b", 2.0) == pytest.approx(59)
    assert limiter.wait("b", 61.5) == 0


def send(gate: RequestGate) -> None:
    with gate.acquire("b"):
        pass


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    gate = RequestGate(concurrency=2)
    lock = threading.Lock()
    together = threading.Barrier(2)
    running = highest = 0

    def request() -> None:
        nonlocal running, highest
        with gate.acquire("b"):
            with lock:
                running += 1
                highest = max(highest, running)
            together.wait(60)
            with lock:
                running -= 1

    threads = [threading.Thread(target=request) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert highest == 2
    assert gate.requests == 10


def test_the_end_of_the_run_wakes_whoever_waits() -> None:
    gate = RequestGate(concurrency=1)
    ended = []

    def wait_for_turn() -> None:
        with pytest.raises(GateClosedError):
            send(gate)
        ended.append("turn")

    def wait_between_attempts() -> None:
        with pytest.raises(GateClosedError):
            gate.pause(60)
        ended.append("pause")

    with gate.acquire("b"):
        threads = [threading.Thread(target=wait_for_turn), threading.Thread(target=wait_between_attempts)]
        for thread in threads:
            thread.start()
        gate.close()
        for thread in threads:
            thread.join(5)
    assert sorted(ended) == ["pause", "turn"]
