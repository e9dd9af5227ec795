"""Limits as Sage may have them, others that share them, and runs that meet them, in simulated time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from typing_extensions import override

from tap_sage_accounting.api.rate_limiter import Limiter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_sage_accounting.api.permit import Permit
    from tap_sage_accounting.api.shared_limit import Usage

MINUTE = 60.0
"""Seconds."""
SHORTEST = 0.02
"""Seconds that a request takes on its way at least."""
AHEAD = 128
"""Requests that wait for their turn."""
EXCHANGED_EVERY = 1.0
"""Seconds after which runs that share a limit see what the others sent."""
SILENCE = 10.0
"""Seconds after which a run that published nothing counts as ended."""
GREEDY_DELAY = 1.0
"""Seconds after which a client without a limiter tries again, where Sage does not say when."""
Kind = Literal["sliding", "fixed", "bucket"]
Span = tuple[float, float]


class Verdict(NamedTuple):
    """The outcome of a request, and how long to wait, if a refusal says so."""

    is_accepted: bool
    retry_after: float | None = None


class Others(NamedTuple):
    """Others that share the limit: from when until when, and how many requests a second they send."""

    since: float
    until: float
    rate: float


@dataclass
class Sage:
    """A server with a limit: in any `length` seconds, in fixed windows of them, or of a bucket.

    Attributes:
        limit: requests; None for no limit.
        length: seconds.
        per_business: whether each business has the limit for itself.
        retry_after: whether refusals say when to come back, in whole seconds; or the seconds that each refusal names.
        strays: part of all requests that is refused for no reason.
        outages: when everything is refused.
        changes: moments from which on another limit holds.
        others: others that share the limit.
    """

    limit: int | None
    kind: Kind = "sliding"
    length: float = MINUTE
    per_business: bool = False
    retry_after: bool | float = True
    strays: float = 0.0
    outages: Sequence[Span] = ()
    changes: Sequence[tuple[float, int | None]] = ()
    others: Sequence[Others] = ()
    _passed: dict[str, deque[float]] = field(default_factory=dict, init=False)
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict, init=False)
    _chance: random.Random = field(default_factory=lambda: random.Random(7), init=False)
    _next: list[tuple[float, Others]] | None = field(default=None, init=False)

    def get(self, business: str, at: float) -> Verdict:
        """Accept or refuse a request that arrives."""
        self._let_others_in(at)
        ends = [until for since, until in self.outages if since <= at < until]
        if ends:
            return Verdict(is_accepted=False, retry_after=self._write(max(ends) - at))
        if self._chance.random() < self.strays:
            return Verdict(is_accepted=False)
        wait = self._take_place(business, at)
        return Verdict(wait is None, None if wait is None else self._write(wait))

    def _write(self, wait: float) -> float | None:
        if isinstance(self.retry_after, bool):
            return max(1, math.ceil(wait)) if self.retry_after else None
        return self.retry_after

    def _let_others_in(self, at: float) -> None:
        if self._next is None:
            self._next = [(each.since, each) for each in self.others]
        while self._next and self._next[0][0] <= at:
            moment, each = heapq.heappop(self._next)
            if moment < each.until:
                self._take_place("others", moment)
                heapq.heappush(self._next, (moment + self._chance.expovariate(each.rate), each))

    def _take_place(self, business: str, at: float) -> float | None:
        """Return for how many seconds there is no place; None, and take it, where there is one."""
        limit = self.limit
        for since, changed in self.changes:
            limit = changed if at >= since else limit
        if limit is None:
            return None
        key = business if self.per_business else ""
        return self._drain(key, at, limit) if self.kind == "bucket" else self._count(key, at, limit)

    def _drain(self, key: str, at: float, limit: int) -> float | None:
        level, since = self._levels.get(key, (float(limit), at))
        level = min(limit, level + (at - since) * limit / self.length)
        is_free = level >= 1 - 1e-9
        self._levels[key] = (level - is_free, at)
        return None if is_free else (1 - level) * self.length / limit

    def _count(self, key: str, at: float, limit: int) -> float | None:
        passed = self._passed.setdefault(key, deque())
        is_sliding = self.kind == "sliding"
        start = at - self.length if is_sliding else at - (at - 0.4 * self.length) % self.length
        while passed and passed[0] <= start:
            passed.popleft()
        if len(passed) < limit:
            passed.append(at)
            return None
        return (passed[0] if is_sliding else start) + self.length - at


class Greedy(Limiter):
    """Holds nothing back, and repeats each request as soon as its refusal allows."""

    @override
    def wait(self, business_id: str | None, now: float) -> float:
        return 0.0

    @override
    def refuse(self, permit: Permit, now: float, retry_after: float | None) -> float:
        return GREEDY_DELAY if retry_after is None else retry_after


class Run:
    """Sends a number of requests about businesses in turn, with some in flight.

    Attributes:
        answered: when requests were served.
        refused: when they were refused.
    """

    def __init__(
        self,
        requests: int,
        businesses: int = 1,
        in_flight: int = 8,
        latency: float = 0.3,
        *,
        limiter: Limiter | None = None,
        starts_at: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.limiter = limiter or Limiter()
        self.starts_at = starts_at
        self.waiting = deque(f"b{number % businesses}" for number in range(requests))
        self.answered: list[float] = []
        self.refused: list[float] = []
        self._requests = requests
        self._in_flight = in_flight
        self._latency = latency
        self._chance = random.Random(seed)
        self._busy = 0
        self._beat = 0
        self.look_at = starts_at

    @property
    def seconds(self) -> float:
        """When the last request was served; infinity if the run did not end."""
        return self.answered[-1] if len(self.answered) == self._requests else math.inf

    def refused_since(self, moment: float) -> float:
        """Return the part of the requests after a moment that was refused; 0 if there were none."""
        refused = sum(each > moment for each in self.refused)
        return refused / max(1, refused + sum(each > moment for each in self.answered))

    def way(self) -> float:
        """Return the seconds that a request or its response takes."""
        return max(SHORTEST, self._latency * self._chance.uniform(0.3, 0.6))

    def exchange(self, name: str, published: dict[str, tuple[float, Usage]], now: float) -> float:
        """Publish what was sent, and learn what others published; return after how many seconds to do so again."""
        is_over = self.seconds < math.inf
        if self.refused:
            self._beat += 1
            published[name] = now, self.limiter.usage(self._beat, now)._replace(is_over=is_over)
            others = {each: usage for each, (at, usage) in published.items() if each != name and at > now - SILENCE}
            self.limiter.share(name, others, now)
        return 0.0 if is_over else EXCHANGED_EVERY * self._chance.uniform(0.9, 1.2)

    def send(self, now: float) -> Permit | None:
        """Send the first request that may be sent; otherwise, set when to look again."""
        if self._busy >= self._in_flight or not self.waiting:
            return None
        soonest = math.inf
        for business in dict.fromkeys(itertools.islice(self.waiting, AHEAD)):
            wait = self.limiter.wait(business, now)
            if wait == 0:
                self.waiting.remove(business)
                self._busy += 1
                return self.limiter.send(business, now)
            soonest = min(soonest, wait)
        self.look_at = now + max(soonest, 1e-4)
        return None

    def end(self, permit: Permit, verdict: Verdict, now: float) -> float:
        """Process a response; return for how many seconds the request waits by itself, 0 for not at all."""
        self.limiter.land(permit, now)
        if verdict.is_accepted:
            self.limiter.accept(permit, now)
            self.answered.append(now)
        else:
            self.refused.append(now)
            if delay := self.limiter.refuse(permit, now, verdict.retry_after):
                self._busy -= not isinstance(self.limiter, Greedy)
                return delay
            self.waiting.appendleft(str(permit.business_id))
        self._busy -= 1
        return 0.0

    def repeat(self, permit: Permit) -> None:
        """Let a request wait for its turn again."""
        self._busy -= isinstance(self.limiter, Greedy)
        self.waiting.appendleft(str(permit.business_id))


Event = tuple[float, int, str, Run, "Permit | None", Verdict]
NOTHING = Verdict(is_accepted=True)


class Simulation:
    """Runs that send their requests to a server.

    Args:
        sage: the server.
        runs: what is sent.
        asleep: from when, and for how many seconds, the machine of the runs sleeps.
        is_shared: whether the runs know of one another.
    """

    def __init__(
        self, sage: Sage, runs: Sequence[Run], asleep: Sequence[Span] = (), *, is_shared: bool = False
    ) -> None:
        self._sage = sage
        self._is_shared = is_shared
        self._published: dict[str, tuple[float, Usage]] = {}
        self._runs = runs
        self._asleep = asleep
        self._events: list[Event] = []
        self._order = itertools.count()

    def _push(self, at: float, kind: str, run: Run, permit: Permit | None = None, verdict: Verdict = NOTHING) -> None:
        at = at if kind == "arrival" else self._awake_at(at)
        heapq.heappush(self._events, (at, next(self._order), kind, run, permit, verdict))

    def _awake_at(self, at: float) -> float:
        return max([at, *(since + length for since, length in self._asleep if since <= at < since + length)])

    def _look(self, run: Run, now: float) -> None:
        run.look_at = math.inf
        while permit := run.send(now):
            self._push(now + run.way(), "arrival", run, permit)
        if run.look_at < math.inf:
            run.look_at = self._awake_at(run.look_at)
            self._push(run.look_at, "look", run)

    def go(self, horizon: float = 50_000.0) -> None:
        """Simulate until all are served, or until the horizon."""
        for run in self._runs:
            self._push(run.starts_at, "exchange" if self._is_shared else "look", run)
        while self._events and self._events[0][0] < horizon:
            now, _, kind, run, permit, verdict = heapq.heappop(self._events)
            if kind == "look" and run.look_at != now:
                continue  # something else happened since
            if permit is not None and kind == "arrival":
                self._push(now + run.way(), "answer", run, permit, self._sage.get(str(permit.business_id), now))
                continue
            if kind == "exchange" and (pause := run.exchange(f"run {self._runs.index(run)}", self._published, now)):
                self._push(now + pause, "exchange", run)
            if permit is not None and kind == "answer" and (delay := run.end(permit, verdict, now)):
                self._push(now + delay, "repeat", run, permit)
            elif permit is not None and kind == "repeat":
                run.repeat(permit)
            self._look(run, now)


def meet(sage: Sage, *runs: Run, asleep: Sequence[Span] = (), is_shared: bool = False) -> None:
    """Let runs send their requests to a server, until all are served."""
    Simulation(sage, runs, asleep, is_shared=is_shared).go()
