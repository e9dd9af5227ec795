"""Requests go out as fast as is polite, and no faster."""

from __future__ import annotations

import threading
import time

import pytest

from tap_sage_accounting.limits import GateClosedError, RequestGate


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def wait_of(gate: RequestGate) -> float | None:
    return gate._wait()


def send(gate: RequestGate) -> None:
    with gate.turn():
        pass


def test_nothing_slows_requests_until_sage_refuses() -> None:
    gate = RequestGate(concurrency=1, clock=Time())
    for _ in range(200):
        assert wait_of(gate) == 0
        send(gate)


def test_the_users_ceiling_holds_for_any_minute() -> None:
    clock = Time()
    gate = RequestGate(concurrency=8, per_minute=5, clock=clock)
    for _ in range(5):
        send(gate)
        clock.now += 1
    assert wait_of(gate) == pytest.approx(55)
    clock.now += 55
    assert wait_of(gate) == 0


def test_the_published_ceiling_holds_without_a_setting() -> None:
    gate = RequestGate(concurrency=8, clock=Time())
    for _ in range(900):
        send(gate)
    assert wait_of(gate) == pytest.approx(60)


def test_a_refusal_halves_the_rate_and_obeys_retry_after() -> None:
    clock = Time()
    gate = RequestGate(concurrency=8, clock=clock)
    for _ in range(100):
        send(gate)
    gate.refused(7)
    assert wait_of(gate) == pytest.approx(7)
    clock.now += 7
    send(gate)
    assert wait_of(gate) == pytest.approx(60 / 50)


def test_refusals_of_one_burst_count_once() -> None:
    clock = Time()
    gate = RequestGate(concurrency=8, clock=clock)
    for _ in range(100):
        send(gate)
    for _ in range(8):
        gate.refused(None)
    clock.now += 60
    send(gate)
    assert wait_of(gate) == pytest.approx(60 / 50)


def test_the_rate_recovers_while_nothing_is_refused() -> None:
    clock = Time()
    gate = RequestGate(concurrency=8, clock=clock)
    for _ in range(20):
        send(gate)
    gate.refused(0)
    for _ in range(100):
        clock.now += 60
        send(gate)
        gate.accepted()
    assert wait_of(gate) == pytest.approx(60 / 20, rel=0.01)


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    gate = RequestGate(concurrency=2)
    lock = threading.Lock()
    running = highest = 0

    def request() -> None:
        nonlocal running, highest
        with gate.turn():
            with lock:
                running += 1
                highest = max(highest, running)
            time.sleep(0.005)
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

    with gate.turn():
        threads = [threading.Thread(target=wait_for_turn), threading.Thread(target=wait_between_attempts)]
        for thread in threads:
            thread.start()
        gate.close()
        for thread in threads:
            thread.join(5)
    assert sorted(ended) == ["pause", "turn"]
