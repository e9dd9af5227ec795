"""Requests go out as fast as Sage allows, whatever its limit is, and politely."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import pytest

from tap_sage_accounting.api.rate_limiter import Limiter, Permit
from tap_sage_accounting.api.request_gate import GateClosedError, RequestGate

MINUTE = 60.0
LATENCY = 0.3
Verdict = tuple[bool, float | None]


@pytest.fixture(autouse=True)
def no_limit() -> None:
    """Keep the limit that is tried here."""


@dataclass
class Sage:
    """The limit of a server, as it may be: a sliding or a fixed minute, for all or for each business."""

    limit: int
    per_business: bool = False
    window: Literal["sliding", "fixed"] = "sliding"
    tells_when: bool = True
    passed: dict[str, deque[float]] = field(default_factory=dict)

    def ask(self, business: str, at: float) -> Verdict:
        passed = self.passed.setdefault(business if self.per_business else "", deque())
        start = at - MINUTE if self.window == "sliding" else at - at % MINUTE
        while passed and passed[0] <= start:
            passed.popleft()
        if len(passed) < self.limit:
            passed.append(at)
            return True, None
        free_at = passed[0] + MINUTE if self.window == "sliding" else start + MINUTE
        return False, max(1, math.ceil(free_at - at)) if self.tells_when else None


@dataclass
class Outcome:
    minutes: int
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    @property
    def a_minute(self) -> float:
        """Answers a minute, once settled: from the third minute on."""
        return sum(moment > 2 * MINUTE for moment in self.answered) / (self.minutes - 2)

    @property
    def refusals(self) -> float:
        """Part of the requests after the first minute that was refused."""
        late = sum(moment > MINUTE for moment in self.refused)
        return late / (late + sum(moment > MINUTE for moment in self.answered))


def run(sage: Sage, *, minutes: int, businesses: int = 1, in_flight: int = 8, ahead: int = 32) -> Outcome:
    """Send requests about businesses in turn, in simulated time, as the limiter lets them through."""
    limiter = Limiter(900)
    waiting = deque(f"b{number % businesses}" for number in range(1800 * minutes))
    under_way: list[tuple[float, int, Permit, Verdict]] = []
    outcome = Outcome(minutes)
    now, order = 0.0, itertools.count()
    while now < minutes * MINUTE:
        waits = [limiter.wait(business, now) for business in itertools.islice(waiting, ahead)]
        if waits and len(under_way) < in_flight and min(waits) == 0:
            business = waiting[waits.index(0)]
            del waiting[waits.index(0)]
            ticket = limiter.send(business, now)
            heapq.heappush(under_way, (now + LATENCY, next(order), ticket, sage.ask(business, now + LATENCY / 2)))
            continue
        moments = [under_way[0][0]] if under_way else []
        if waits and len(under_way) < in_flight:
            moments.append(now + max(min(waits), 1e-6))
        now = min(moments)
        while under_way and under_way[0][0] <= now:
            _, _, ticket, (accepted, retry_after) = heapq.heappop(under_way)
            if accepted:
                limiter.accept(ticket, now)
                outcome.answered.append(now)
            else:
                limiter.refuse(ticket, now, retry_after)
                outcome.refused.append(now)
                waiting.appendleft(str(ticket.business_id))
    return outcome


@pytest.mark.parametrize("limit", [60, 100, 900])
@pytest.mark.parametrize("window", ["sliding", "fixed"])
@pytest.mark.parametrize("tells_when", [True, False], ids=["retry-after", "no-retry-after"])
@pytest.mark.parametrize("businesses", [1, 20])
def test_it_settles_at_the_limit_of_the_application(
    limit: int, window: Literal["sliding", "fixed"], *, tells_when: bool, businesses: int
) -> None:
    sage = Sage(limit, window=window, tells_when=tells_when)
    outcome = run(sage, minutes=17 if limit < 900 else 6, businesses=businesses)
    assert outcome.a_minute > 0.9 * limit
    assert outcome.refusals < 0.03


def test_the_list_of_businesses_does_not_make_a_lone_business_look_like_many() -> None:
    limiter = Limiter(900)
    limiter.accept(limiter.send(None, 0.0), 0.3)
    tickets = [limiter.send("b", 0.3) for _ in range(40)]
    for ticket in tickets[:30]:
        limiter.accept(ticket, 0.6)
    limiter.refuse(tickets[30], 0.6, None)
    assert limiter.application.limit == 15.5


def test_a_business_that_is_refused_twice_in_a_row_is_asked_less() -> None:
    limiter = Limiter(900)
    limiter.accept(limiter.send("a", 0.0), 0.3)
    for moment in (1.0, 3.0):
        for ticket in [limiter.send("b", moment) for _ in range(6)]:
            limiter.accept(ticket, moment + 0.3)
        limiter.refuse(limiter.send("b", moment + 0.4), moment + 0.7, None)
    limiter.refuse(limiter.send("b", 4.0), 4.3, None)
    assert limiter.business("b").limit <= 6


def test_businesses_that_come_to_their_limits_side_by_side_do_not_slow_the_application() -> None:
    limiter = Limiter(900)

    def use_up(business: str, at: float) -> Permit:
        for ticket in [limiter.send(business, at) for _ in range(40)]:
            limiter.accept(ticket, at + 0.3)
        return limiter.send(business, at + 0.4)

    limiter.accept(limiter.send("e", 0.0), 0.1)
    limiter.refuse(use_up("a", 0.0), 0.7, 59.0)
    refused = [use_up(business, 1.0) for business in "bcd"]
    for number, ticket in enumerate(refused):
        limiter.refuse(ticket, 1.7 + number / 10, 58.0)
    assert limiter.wait("e", 2.0) == 0
    assert all(limiter.wait(business, 2.0) > 50 for business in "abcd")


def test_refusals_before_anything_was_answered_cost_no_more_than_their_wait() -> None:
    limiter = Limiter(900)
    for moment in (0.0, 1.5):
        limiter.refuse(limiter.send(None, moment), moment + 0.3, 1.0)
    for number in range(30):
        assert limiter.wait("b", 2.8 + number / 100) == 0
        limiter.accept(limiter.send("b", 2.8 + number / 100), 3.0 + number / 100)


@pytest.mark.parametrize("tells_when", [True, False], ids=["retry-after", "no-retry-after"])
def test_a_limit_of_each_business_lets_many_businesses_go_many_times_as_fast(*, tells_when: bool) -> None:
    one = run(Sage(20, per_business=True, tells_when=tells_when), minutes=10)
    many = run(Sage(20, per_business=True, tells_when=tells_when), minutes=10, businesses=20, in_flight=32, ahead=128)
    assert many.a_minute > 15 * one.a_minute


def test_nothing_slows_requests_until_sage_refuses_but_the_published_limit() -> None:
    limiter = Limiter(900)
    for _ in range(900):
        assert limiter.wait("b", 0.0) == 0
        limiter.accept(limiter.send("b", 0.0), 0.0)
    assert limiter.wait("b", 0.0) == pytest.approx(60, rel=0.03)


def test_before_the_first_answers_no_more_than_the_standard_limit_goes_out() -> None:
    limiter = Limiter(900)
    for _ in range(60):
        limiter.send("b", 0.0)
    assert limiter.wait("b", 0.0) == pytest.approx(60, rel=0.03)


def test_the_users_ceiling_holds_for_any_minute() -> None:
    limiter = Limiter(5)
    for second in range(5):
        limiter.accept(limiter.send("b", float(second)), float(second))
    assert limiter.wait("b", 5.0) == pytest.approx(55, rel=0.03)
    assert limiter.wait("b", 62.0) == 0


def test_a_lone_mishap_is_forgotten_within_two_minutes() -> None:
    limiter = Limiter(900)
    limiter.refuse(limiter.send("b", 0.0), 0.3, None)
    now, answered = 0.3, 0
    while now < 120:
        now += max(limiter.wait("b", now), 0.1)
        limiter.accept(limiter.send("b", now), now + 0.05)
        answered += 1
    assert answered > 60


def test_retry_after_is_obeyed() -> None:
    limiter = Limiter(900)
    limiter.refuse(limiter.send("b", 0.0), 1.0, 90.0)
    assert limiter.wait("b", 1.0) == pytest.approx(90)


def test_the_first_refusal_halves_what_may_be_sent() -> None:
    limiter = Limiter(900)
    tickets = [limiter.send("b", 0.0) for _ in range(41)]
    for ticket in tickets[:-1]:
        limiter.accept(ticket, 0.5)
    limiter.refuse(tickets[-1], 0.5, 1.0)
    assert limiter.application.limit == 20


def test_refusals_of_requests_under_way_together_count_once() -> None:
    limiter = Limiter(900)
    tickets = [limiter.send("b", 0.0) for _ in range(48)]
    for ticket in tickets[:40]:
        limiter.accept(ticket, 0.5)
    for ticket in tickets[40:]:
        limiter.refuse(ticket, 0.5, 1.0)
    assert limiter.application.limit >= 20


def test_a_business_at_its_own_limit_does_not_hold_up_the_others() -> None:
    limiter = Limiter(900)
    refused = limiter.send("a", 0.0)
    limiter.accept(limiter.send("b", 0.1), 0.4)
    limiter.refuse(refused, 0.5, 30.0)
    assert limiter.wait("a", 0.5) == pytest.approx(30)
    assert limiter.wait("b", 0.5) == 0
    limiter.accept(limiter.send("b", 0.6), 0.9)
    assert limiter.wait("b", 1.0) == 0


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
