"""Requests go out as fast as Sage allows, whatever its limit is, and politely."""

from __future__ import annotations

import math
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_workbench.limits import Greedy, Kind, Others, Run, Sage, meet
from tap_sage_accounting.api import rate_limiter
from tap_sage_accounting.api.rate_limiter import Limiter
from tap_sage_accounting.api.request_gate import GateClosedError, RequestGate

if TYPE_CHECKING:
    from tap_sage_accounting.api.permit import Permit

IN_FLIGHT = [8, 32]
KINDS: list[Kind] = ["sliding", "fixed", "bucket"]
RETRY_AFTER = pytest.mark.parametrize("retry_after", [True, False], ids=["retry-after", "no-retry-after"])


@pytest.fixture(autouse=True)
def quick_attempts() -> None:
    """Keep the delays that are tried here."""


def ran(sage: Sage, *numbers: Any, greedily: bool = False) -> Run:
    """Return a run that ended; a server is met by one run only."""
    run = Run(*numbers, limiter=Greedy() if greedily else None)
    meet(replace(sage), run)
    assert run.seconds < math.inf
    return run


@pytest.mark.parametrize("in_flight", IN_FLIGHT)
@pytest.mark.parametrize("businesses", [1, 20])
def test_without_a_limit_nothing_waits(in_flight: int, businesses: int) -> None:
    assert ran(Sage(None), 2000, businesses, in_flight).seconds < 1.05 * 2000 / in_flight * 0.3


@pytest.mark.slow
@pytest.mark.parametrize("in_flight", IN_FLIGHT)
@pytest.mark.parametrize("businesses", [1, 20])
def test_refusals_at_random_slow_nobody_but_the_requests_that_meet_them(in_flight: int, businesses: int) -> None:
    run = ran(Sage(None, strays=0.02), 10_000, businesses, in_flight)
    assert len(run.refused) > 150
    assert run.seconds < 1.1 * 10_000 / in_flight * 0.3 + 2


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "length", "requests"), [(60, 6.0, 1500), (10, 1.0, 1500), (100, 60.0, 1000)])
@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_refusals_at_random_teach_no_lower_limit(
    limit: int, length: float, requests: int, kind: Kind, *, retry_after: bool
) -> None:
    run = ran(Sage(limit, kind, length, strays=0.02, retry_after=retry_after), requests, 5)
    assert run.seconds < 1.7 * requests * length / limit


LIMITS = [(60, 60.0, 300), (100, 60.0, 500), (900, 60.0, 2400), (60, 6.0, 1500), (10, 1.0, 1500)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "length", "requests"), LIMITS, ids=["60", "100", "900", "60 in 6 s", "10 in a second"]
)
@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_the_limiter_is_as_fast_as_a_client_that_is_refused_all_the_time(
    limit: int, length: float, requests: int, kind: Kind, *, retry_after: bool
) -> None:
    sage = Sage(limit, kind, length, retry_after=retry_after)
    for businesses, in_flight in ((1, 8), (20, 32)):
        greedy = ran(sage, requests, businesses, in_flight, greedily=True)
        assert ran(sage, requests, businesses, in_flight).seconds < (1.05 if length == 60 else 1.2) * greedy.seconds


@pytest.mark.slow
@pytest.mark.parametrize("limit", [5, 10, 20])
@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@RETRY_AFTER
def test_little_of_the_limit_of_a_second_stays_unused(limit: int, kind: Kind, *, retry_after: bool) -> None:
    run = ran(Sage(limit, kind, 1.0, retry_after=retry_after), 2500, 5, 8, 0.27)
    assert run.seconds < 1.15 * 2500 / limit
    assert run.refused_since(run.seconds / 2) < 0.015


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "length", "requests"), [(60, 60.0, 900), (100, 60.0, 1500), (60, 6.0, 5000)])
@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_once_a_limit_is_known_hardly_anything_is_refused(
    limit: int, length: float, requests: int, kind: Kind, *, retry_after: bool
) -> None:
    run = ran(Sage(limit, kind, length, retry_after=retry_after), requests)
    assert run.refused_since(run.seconds / 3) <= 0.025


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 70, 10))
@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_a_window_of_a_few_seconds_is_found_whatever_the_first_refusals_show(
    seed: int, kind: Kind, *, retry_after: bool
) -> None:
    run = Run(4000, 5, seed=seed)
    meet(Sage(60, kind, 6.0, retry_after=retry_after), run)
    assert run.seconds < 1.15 * 4000 / 60 * 6
    assert run.refused_since(run.seconds / 2) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("businesses", "in_flight"), [(20, 8), (60, 32), (300, 8), (300, 32)])
@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@RETRY_AFTER
def test_a_limit_of_the_application_is_found_however_many_businesses_there_are(
    businesses: int, in_flight: int, kind: Kind, *, retry_after: bool
) -> None:
    run = ran(Sage(100, kind, retry_after=retry_after), 1500, businesses, in_flight)
    assert run.refused_since(run.seconds / 3) <= 0.025


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@pytest.mark.parametrize("businesses", [5, 20])
@RETRY_AFTER
def test_a_limit_of_each_business_is_used_for_each(kind: Kind, businesses: int, *, retry_after: bool) -> None:
    sage = Sage(60, kind, per_business=True, retry_after=retry_after)
    assert ran(sage, 1500, businesses).seconds < 1.1 * ran(sage, 1500, businesses, greedily=True).seconds


@RETRY_AFTER
def test_a_limit_of_each_business_lets_many_businesses_go_many_times_as_fast(*, retry_after: bool) -> None:
    sage = Sage(20, per_business=True, retry_after=retry_after)
    one, many = ran(sage, 200), ran(sage, 4000, 20, 32)
    assert many.seconds < 1.1 * one.seconds


def test_a_business_that_was_alone_at_first_keeps_its_limit_for_itself() -> None:
    run = Run(900, 10)
    run.waiting = type(run.waiting)(sorted(run.waiting))
    meet(Sage(60, per_business=True), run)
    assert run.seconds < 200


@pytest.mark.parametrize("outage", [(0.0, 30.0), (0.9, 30.0), (5.0, 65.0), (20.0, 50.0)], ids=str)
@pytest.mark.parametrize("businesses", [1, 20])
@RETRY_AFTER
def test_an_outage_is_waited_for_and_no_limit(
    outage: tuple[float, float], businesses: int, *, retry_after: bool
) -> None:
    for in_flight in IN_FLIGHT:
        run = ran(Sage(None, retry_after=retry_after, outages=[outage]), 1500, businesses, in_flight)
        assert run.seconds < outage[1] - outage[0] + 1.25 * 1500 / in_flight * 0.3 + 5


@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_a_window_that_an_outage_made_look_longer_is_found_out(kind: Kind, *, retry_after: bool) -> None:
    sage = Sage(30, kind, 2.0, retry_after=retry_after, outages=[(1.0, 16.0)])
    assert ran(sage, 3000, 1, 8, 0.05).seconds < 2 * (16 + 3000 / 15)


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [1, 5])
@pytest.mark.parametrize("limit", [60, 100, 900])
@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_what_others_use_up_at_first_is_no_limit_of_the_run(
    minutes: int, limit: int, kind: Kind, *, retry_after: bool
) -> None:
    """A run that begins while others use a limit up is at full speed soon after they are done."""
    sage = Sage(limit, kind, retry_after=retry_after, others=[Others(0, minutes * 60, limit / 6)])
    assert ran(sage, 5 * limit, 5).seconds < minutes * 60 + 5 * 60 + 150


@pytest.mark.parametrize("limit", [60, 100])
@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_others_that_take_half_leave_the_other_half(limit: int, kind: Kind, *, retry_after: bool) -> None:
    sage = Sage(limit, kind, retry_after=retry_after, others=[Others(0, 1e9, limit / 120)])
    assert ran(sage, 5 * limit, 5).seconds < 2 * 5 * 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_a_limit_that_is_raised_is_found(kind: Kind, *, retry_after: bool) -> None:
    sage = Sage(60, kind, retry_after=retry_after, changes=[(300, 900)])
    assert ran(sage, 9000, 5).seconds < 300 + 10 * 60 + 300


@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_a_limit_that_is_lowered_is_found(kind: Kind, *, retry_after: bool) -> None:
    run = ran(Sage(900, kind, retry_after=retry_after, changes=[(150, 60)]), 4200, 5)
    assert run.refused_since(600) <= 0.03


@pytest.mark.parametrize("always", [1.0, 30.0, 60.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_retry_after_that_is_always_the_same_does_no_harm(always: float, kind: Kind) -> None:
    assert ran(Sage(100, kind, retry_after=always), 500, 5).seconds < 300 + always


@pytest.mark.slow
@pytest.mark.parametrize("runs", [2, 3])
@pytest.mark.parametrize("starts_after", [0, 90])
@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_runs_that_share_an_application_come_to_terms(
    runs: int, starts_after: int, kind: Kind, *, retry_after: bool
) -> None:
    shared = [Run(240, 5, starts_at=starts_after * number) for number in range(runs)]
    meet(Sage(60, kind, retry_after=retry_after), *shared)
    assert all(run.seconds < 60 * (4 * runs + 3) + starts_after for run in shared)


def test_a_limit_of_a_day_is_tried_less_and_less_often() -> None:
    run = Run(2600, 5)
    meet(Sage(2500, length=86_400.0, retry_after=False), run)
    assert len(run.answered) == 2500
    assert len(run.refused) < 150


@pytest.mark.parametrize("at", [10.0, 70.2, 200.0])
@pytest.mark.parametrize("kind", KINDS)
@RETRY_AFTER
def test_a_machine_that_slept_goes_on_as_before(at: float, kind: Kind, *, retry_after: bool) -> None:
    run = Run(300, 5)
    meet(Sage(60, kind, retry_after=retry_after), run, asleep=[(at, 3600.0)])
    assert run.seconds < 3600 + 330


SERVERS = st.builds(
    Sage,
    limit=st.sampled_from([12, 30, 60, 100, 300, 900, None]),
    kind=st.sampled_from(KINDS),
    length=st.sampled_from([2.0, 6.0, 10.0, 60.0]),
    per_business=st.booleans(),
    retry_after=st.sampled_from([True, False]),
    strays=st.sampled_from([0.0, 0.0, 0.01]),
    outages=st.lists(st.tuples(st.floats(0, 90), st.floats(0, 30)).map(lambda span: (span[0], sum(span))), max_size=2),
    others=st.lists(st.builds(Others, st.floats(0, 120), st.floats(60, 300), st.floats(0.1, 3.0)), max_size=2),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SERVERS, st.sampled_from([1, 3, 20]), st.sampled_from([1, 8, 32]), st.sampled_from([0.05, 0.3, 1.0]))
def test_every_run_ends_about_as_soon_as_a_greedy_one(
    sage: Sage, businesses: int, in_flight: int, latency: float
) -> None:
    requests = 400
    fair = requests / (sage.limit / sage.length) if sage.limit and not sage.per_business else 0.0
    greedy = ran(sage, requests, businesses, in_flight, latency, greedily=True)
    # A pace that others and an outage taught together takes minutes to be forgotten.
    assert ran(sage, requests, businesses, in_flight, latency).seconds < 2 * max(greedy.seconds, fair) + 180


def answered(limiter: Limiter, business: str | None, sent_at: float, now: float) -> None:
    permit = limiter.send(business, sent_at)
    limiter.land(permit, now)
    limiter.accept(permit, now)


def refused(limiter: Limiter, permit: Permit, now: float, retry_after: float | None) -> float:
    limiter.land(permit, now)
    return limiter.refuse(permit, now, retry_after)


def test_a_business_at_its_own_limit_does_not_hold_up_the_others() -> None:
    limiter = Limiter()
    permits = [limiter.send("a", 0.0) for _ in range(3)]
    for number, permit in enumerate(permits):
        answered(limiter, "b", 0.1, 0.4)
        assert refused(limiter, permit, 0.5, 30.0) == (30.0 if number < 2 else 0.0)
    assert limiter.wait("a", 0.5) == pytest.approx(30)
    assert limiter.wait("b", 0.5) == 0


def test_businesses_that_come_to_their_limits_side_by_side_hold_up_nobody_for_long() -> None:
    limiter = Limiter()
    answered(limiter, "e", 0.0, 0.3)
    for permit in [limiter.send(business, 0.5) for business in "abcd"]:
        refused(limiter, permit, 0.8, 58.0)
    assert limiter.wait("e", 1.0) > 0
    assert limiter.wait("e", 4.0) == 0
    answered(limiter, "e", 4.0, 4.3)
    assert limiter.wait("e", 4.3) == 0
    assert all(limiter.wait(business, 4.3) > 50 for business in "abcd")


def test_the_list_of_businesses_does_not_make_a_lone_business_look_like_many() -> None:
    limiter = Limiter()
    answered(limiter, None, 0.0, 0.3)
    for permit in [limiter.send("b", 0.3) for _ in range(3)]:
        refused(limiter, permit, 0.6, 20.0)
    assert limiter.wait(None, 0.6) == pytest.approx(20)


def test_refusals_before_the_first_success_cost_no_more_than_their_wait() -> None:
    limiter = Limiter()
    for moment in (0.0, 1.5, 3.0):
        refused(limiter, limiter.send(None, moment), moment + 0.3, 1.0)
    for number in range(30):
        sent_at = 4.4 + number / 2
        assert limiter.wait("b", sent_at) == 0
        answered(limiter, "b", sent_at, sent_at + 0.2)


def test_refusals_of_requests_under_way_together_count_once() -> None:
    run = ran(Sage(100), 150, 5, 32)
    assert 3 <= len(run.refused) <= 40


def test_while_a_limit_is_full_one_request_at_a_time_is_sent() -> None:
    limiter = Limiter()
    for permit in [limiter.send("a", 0.0) for _ in range(8)]:
        refused(limiter, permit, 0.5, None)
    now = 0.5 + limiter.wait("a", 0.5)
    assert now > 0.5
    limiter.send("a", now)
    assert limiter.wait("a", now) == pytest.approx(10)


def test_a_request_that_hangs_does_not_keep_a_full_limit_closed() -> None:
    limiter = Limiter()
    limiter.send("a", 0.0)
    for permit in [limiter.send("a", 0.0) for _ in range(7)]:
        refused(limiter, permit, 0.5, 20.0)
    assert limiter.wait("a", 21.0) == 0


def test_the_retry_after_of_a_lone_refusal_is_obeyed_by_its_request() -> None:
    limiter = Limiter()
    assert refused(limiter, limiter.send("b", 0.0), 1.0, 90.0) == 90.0
    assert limiter.wait("b", 1.0) == 0


def test_the_retry_after_of_refusals_in_a_row_is_obeyed_by_all() -> None:
    limiter = Limiter()
    for permit in [limiter.send("b", 0.0) for _ in range(3)]:
        refused(limiter, permit, 1.0, 90.0)
    assert limiter.wait("b", 1.0) == pytest.approx(90)


def test_the_users_ceiling_holds_for_any_minute() -> None:
    limiter = Limiter(5)
    for second in range(5):
        answered(limiter, "b", float(second), second + 0.5)
    assert limiter.wait("b", 5.0) == pytest.approx(56.2)
    assert limiter.wait("b", 61.3) == 0


def test_the_users_ceiling_is_never_tried() -> None:
    limiter, now = Limiter(30), 0.0
    sent: list[float] = []
    while len(sent) < 1000:
        now += limiter.wait("b", now) + 0.01
        answered(limiter, "b", now, now)
        sent.append(now)
    assert all(later - earlier > 60 for earlier, later in zip(sent, sent[30:], strict=False))


def test_nothing_slows_requests_but_the_published_limit_of_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiter, "DAILY_LIMIT", 1000)
    limiter = Limiter()
    for _ in range(1000):
        assert limiter.wait("b", 0.0) == 0
        answered(limiter, "b", 0.0, 0.0)
    assert limiter.wait("b", 10.0) == pytest.approx(86_390)
    assert limiter.wait("b", 86_400.0) == 0


def test_requests_that_fail_hold_no_place_for_good() -> None:
    limiter = Limiter(2)
    for _ in range(2):
        limiter.land(limiter.send("b", 0.0), 1.0)
    assert limiter.wait("b", 2.0) == pytest.approx(59.2)
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


def wait_until_asleep(*threads: threading.Thread) -> None:
    """Wait until threads run no Python of their own any more: they wait for something."""
    frames: list[Any] = []
    while frames != (frames := [sys._current_frames().get(thread.ident or 0) for thread in threads]):
        time.sleep(0.1)


def test_a_place_that_comes_free_is_not_lost_to_a_request_that_waits_for_its_next_attempt() -> None:
    gate = RequestGate(concurrency=1)
    with gate.acquire("b"):
        pausing = [threading.Thread(target=pytest.raises, args=(GateClosedError, gate.pause, 60)) for _ in range(3)]
        for thread in pausing:
            thread.start()
        wait_until_asleep(*pausing)
        waiting = threading.Thread(target=send, args=(gate,))
        waiting.start()
        wait_until_asleep(waiting)
    waiting.join(5)
    assert not waiting.is_alive()
    gate.close()
    for thread in pausing:
        thread.join()


def test_requests_leave_in_the_order_in_which_they_came() -> None:
    gate = RequestGate(concurrency=1)
    left: list[int] = []

    def request(number: int) -> None:
        with gate.acquire("b"):
            left.append(number)

    with gate.acquire("b"):
        threads = [threading.Thread(target=request, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
            wait_until_asleep(thread)
    request(5)
    for thread in threads:
        thread.join()
    assert left == [0, 1, 2, 3, 4, 5]


def test_the_end_of_the_run_wakes_all_that_wait() -> None:
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
