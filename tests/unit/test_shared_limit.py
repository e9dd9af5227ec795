"""Runs that share the limit of an application divide it: each has its part, and Sage refuses hardly anything."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_workbench.limits import Greedy, Kind, Others, Run, Sage, meet
from tap_sage_accounting.api.rate_limiter import Limiter
from tap_sage_accounting.api.shared_limit import OtherRuns, Usage

RETRY_AFTER = pytest.mark.parametrize("retry_after", [True, False], ids=["retry-after", "no-retry-after"])
NOTHING = Usage(
    beat=1,
    sent=0,
    recent=(0,),
    is_over=False,
    is_waiting=False,
    is_closed=False,
    is_paced=False,
    limit=None,
    length=60.0,
    version=0,
)


@pytest.fixture(autouse=True)
def quick_attempts() -> None:
    """Keep the delays that are tried here."""


def together(sage: Sage, *runs: Run, is_shared: bool = True) -> None:
    meet(replace(sage), *runs, is_shared=is_shared)
    assert all(run.seconds < math.inf for run in runs)


def refused_between(begin: float, end: float, *runs: Run) -> float:
    refused = sum(begin < moment <= end for run in runs for moment in run.refused)
    return refused / (refused + answered_between(begin, end, *runs))


def answered_between(begin: float, end: float, *runs: Run) -> int:
    return sum(begin < moment <= end for run in runs for moment in run.answered)


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "starts_after"), [(2, 0.0), (2, 90.0), (3, 40.0)])
@pytest.mark.parametrize("limit", [60, 100])
@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@RETRY_AFTER
def test_runs_are_refused_hardly_anything_and_lose_no_time(
    runs: int, starts_after: float, limit: int, kind: Kind, *, retry_after: bool
) -> None:
    sage = Sage(limit, kind, retry_after=retry_after)
    greedy = [Run(720, 5, starts_at=starts_after * number, limiter=Greedy(), seed=number) for number in range(runs)]
    together(sage, *greedy, is_shared=False)
    ours = [Run(720, 5, starts_at=starts_after * number, seed=number) for number in range(runs)]
    together(sage, *ours)
    last = max(run.seconds for run in ours)
    assert last < 1.05 * max(run.seconds for run in greedy) + 60
    assert refused_between(last / 3, last, *ours) < (0.03 if retry_after else 0.1)


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@RETRY_AFTER
def test_a_run_that_begins_later_has_half_of_the_limit_within_two_minutes(kind: Kind, *, retry_after: bool) -> None:
    first, second = Run(1500, 5, seed=1), Run(600, 5, starts_at=290.0, seed=2)
    together(Sage(100, kind, retry_after=retry_after), first, second)
    for run in (first, second):
        assert 45 <= answered_between(420, 540, run) / 2 <= 56
    assert len(second.refused) <= 60, "it was refused while another run knew the limit"


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_when_a_run_ends_the_other_one_has_its_places_a_minute_later(kind: Kind) -> None:
    first, second = Run(1500, 5, seed=1), Run(300, 5, seed=2)
    together(Sage(100, kind), first, second)
    after = second.seconds + 90
    assert answered_between(after, after + 120, first) >= 190
    assert refused_between(second.seconds, after + 120, first) < 0.1


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_a_run_that_needs_few_places_leaves_the_rest_to_the_other_one(kind: Kind) -> None:
    busy, slow = Run(1500, 5, seed=1), Run(300, 1, in_flight=1, latency=6.0, seed=2)
    together(Sage(100, kind), busy, slow)
    assert answered_between(300, 600, busy) >= 5 * 78
    assert answered_between(300, 600, slow) >= 5 * 7


@pytest.mark.parametrize("ceiling", [3, 6])
def test_a_run_that_its_user_slows_down_slows_no_other_down(ceiling: int) -> None:
    slow, other = Run(60, 5, limiter=Limiter(ceiling), seed=1), Run(600, 5, seed=2)
    together(Sage(60, "fixed", others=[Others(0, 100, 5.0)]), slow, other)
    assert other.seconds < 850


def test_one_run_tries_whether_there_is_more_and_the_others_need_not() -> None:
    runs = [Run(1200, 5, seed=number) for number in range(2)]
    together(Sage(100), *runs)
    assert [refused_between(300, 1200, run) > 0 for run in runs] == [True, False]


@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
@pytest.mark.parametrize("later", [60, 200])
def test_a_limit_that_changes_while_it_is_shared_is_found(kind: Kind, later: int) -> None:
    runs = [Run(1200, 5, seed=number) for number in range(2)]
    together(Sage(100, kind, changes=[(400.0, later)]), *runs)
    assert max(run.seconds for run in runs) < 1.15 * (400 + (2400 - 667) * 60 / later) + 60


def test_paces_are_not_divided() -> None:
    runs = [Run(720, 5, seed=number) for number in range(2)]
    together(Sage(100, "bucket"), *runs)
    assert max(run.seconds for run in runs) < 1.06 * 1340 / 100 * 60 + 60


def test_a_limit_of_each_business_is_not_divided() -> None:
    runs = [Run(600, 5, seed=number) for number in range(2)]
    for number, run in enumerate(runs):
        run.waiting.extend(f"{run.waiting.popleft()} of {number}" for _ in range(600))
    together(Sage(60, per_business=True), *runs)
    assert all(run.seconds < 150 for run in runs)


def known(limit: float | None = 100, **changes: object) -> Usage:
    return NOTHING._replace(**{"limit": limit, "is_waiting": True, "version": 1, **changes})  # type: ignore[arg-type]


def test_a_run_that_was_killed_leaves_its_places_when_they_come_free() -> None:
    others = OtherRuns(1.0)
    others.see("a", {"b": known(recent=(50,))}, 100.0)
    assert others.places(100, 40.0) == 50
    others.see("a", {}, 110.0)
    assert others.places(100, 50.0) == 50
    assert others.places(100, 102.0) == 100


def closed(limiter: Limiter, now: float, retry_after: float | None = None) -> None:
    """Let three requests be refused, so that the limit counts as full."""
    permits = [limiter.send("b", now) for _ in range(3)]
    for permit in permits:
        limiter.land(permit, now)
        limiter.refuse(permit, now, retry_after)


def test_while_another_run_finds_out_when_a_full_limit_has_places_this_one_waits() -> None:
    first, second = Limiter(), Limiter()
    for limiter in (first, second):
        closed(limiter, 0.0)
    second.share("b", {"a": first.usage(1, 1.0)}, 1.0)
    assert second.wait("b", 5.0) > 30.0
    assert first.wait("b", 5.0) == 0.0


def test_a_run_that_requests_nothing_any_more_keeps_no_other_from_finding_out() -> None:
    first, second = Limiter(), Limiter()
    for limiter in (first, second):
        closed(limiter, 0.0)
    second.share("b", {"a": first.usage(1, 20.0)}, 20.0)
    assert second.wait("b", 20.0) == 0.0
    assert not first.usage(2, 200.0).is_waiting


def test_a_run_that_finds_nothing_out_for_minutes_is_not_waited_for() -> None:
    limiter = Limiter()
    closed(limiter, 0.0)
    for moment in range(1, 120):
        limiter.share("b", {"a": known(beat=moment, is_closed=True, limit=None)}, float(moment))
    assert limiter.wait("b", 120.0) == 0.0


def test_a_run_without_a_place_looks_again_although_nothing_that_it_knows_of_will_change() -> None:
    limiter = Limiter()
    closed(limiter, 0.0)
    limiter.share("b", {"a": known(recent=(100,))}, 1.0)
    limiter.share("b", {}, 2.0)  # the table cannot be read any more
    assert 0.0 < limiter.wait("b", 10.0) <= 1.0
    assert limiter.wait("b", 70.0) == 0.0


def test_a_run_is_given_no_place_before_those_that_have_too_many_give_them_up() -> None:
    others = OtherRuns(1.0)
    others.see("b", {"a": known(recent=(0, *[2] * 50))}, 100.0)
    assert others.places(100, 40.0) == 0
    assert 15 <= others.places(100, 60.0) <= 25
    assert others.places(100, 90.0) == 50


def test_a_place_of_another_run_may_come_free_later_than_it_seems() -> None:
    others = OtherRuns(1.0)
    others.see("b", {"a": known(recent=(100,))}, 100.0)
    assert others.places(100, 100.5) == 0
    assert others.places(100, 102.0) == 50


def test_places_that_cannot_be_divided_go_to_the_first_of_the_runs() -> None:
    others = {name: OtherRuns(1.0) for name in "abc"}
    for name, each in others.items():
        each.see(name, {other: known() for other in others if other != name}, 100.0)
    assert [each.places(100, 40.0) for each in others.values()] == [34, 33, 33]


def test_of_two_findings_the_newer_one_counts_and_of_two_at_once_one() -> None:
    limiters = {name: Limiter() for name in "abc"}
    usages = {}
    for name, limits in {"a": [90], "b": [50, 100], "c": [60, 110]}.items():
        for limit in limits:
            limiters[name].application.limit = limit
            usages[name] = limiters[name].usage(1, 100.0)._replace(is_waiting=True)
    for name, limiter in limiters.items():
        limiter.share(name, {other: usage for other, usage in usages.items() if other != name}, 100.0)
    assert {limiter.application.limit for limiter in limiters.values()} == {100}


def test_what_a_run_publishes_is_read_as_it_was() -> None:
    usage = known(recent=(3, 0, 7))
    assert Usage.read(usage.write()) == usage


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"beat": 1}',
        known(0).write(),
        known(-5).write(),
        known(length=0.0).write(),
        known(length=math.inf).write(),
        known(length=math.nan).write(),
        known(recent=(10**9,)).write(),
        known(recent=(-1,)).write(),
        known(recent=(1,) * 10_000).write(),
        known(recent=7).write(),
        known(recent=(1.5,)).write(),
        known(recent=(9_000,) * 2).write(),
        known(sent=1.5).write(),
        known(limit=60.5).write(),
        known(limit=1).write(),
        known(length=86_400.0).write(),
        "[" * 100_000,
        known(sent="many").write(),
        known().write()[:-1] + ', "more": 1}',
    ],
)
def test_what_is_no_usage_counts_as_none(text: str) -> None:
    assert Usage.read(text) is None


@given(st.integers(1, 1000), st.lists(st.tuples(st.booleans(), st.integers(0, 300)), max_size=6))
def test_all_runs_together_get_no_more_places_than_there_are(limit: int, runs: list[tuple[bool, int]]) -> None:
    usages = {
        f"run {number}": known(limit, recent=(taken,))._replace(is_waiting=is_waiting)
        for number, (is_waiting, taken) in enumerate(runs)
    }
    given_places = 0
    for name, usage in usages.items():
        if usage.is_waiting:
            others = OtherRuns(1.0)
            others.see(name, {other: each for other, each in usages.items() if other != name}, 100.0)
            given_places += others.places(limit, 40.0)
    assert given_places <= limit
