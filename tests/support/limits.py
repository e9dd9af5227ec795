"""Limits as Sage may have them, and clients that meet them, in simulated time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tap_sage_accounting.api.rate_limiter import Limiter, Permit

MINUTE = 60.0
Kind = Literal["sliding", "fixed", "bucket"]
Verdict = tuple[bool, float | None]


@dataclass
class Sage:
    """A server with a limit: in any `length` seconds, in each by itself, or as a bucket that fills within them.

    Attributes:
        limit: requests; None for no limit.
        length: seconds.
        per_business: whether each business has the limit for itself.
        retry_after: whether refusals say when to come back, in whole seconds.
        strays: part of all requests that is refused for no reason.
    """

    limit: int | None
    kind: Kind = "sliding"
    length: float = MINUTE
    per_business: bool = False
    retry_after: bool = True
    strays: float = 0.0
    _passed: dict[str, deque[float]] = field(default_factory=dict)
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random(7))

    def ask(self, business: str, at: float) -> Verdict:
        """Accept or refuse a request that arrives."""
        is_stray = self._chance.random() < self.strays
        if self.limit is None or is_stray:
            return not is_stray, None
        key = business if self.per_business else ""
        wait = self._drain(key, at, self.limit) if self.kind == "bucket" else self._count(key, at, self.limit)
        return wait is None, max(1, math.ceil(wait)) if wait is not None and self.retry_after else None

    def _drain(self, key: str, at: float, limit: int) -> float | None:
        level, since = self._levels.get(key, (float(limit), at))
        level = min(limit, level + (at - since) * limit / self.length)
        is_free = level >= 1
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


@dataclass
class Outcome:
    """The outcome of all requests: when they were answered, and when refused."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """When the last one was answered."""
        return self.answered[-1]

    def refused_since(self, moment: float) -> float:
        """Return the part of the requests after a moment that was refused."""
        refused = sum(each > moment for each in self.refused)
        return refused / (refused + sum(each > moment for each in self.answered))


class Client:
    """Sends a number of requests about businesses in turn, with some in flight, in simulated time."""

    def __init__(
        self, sage: Sage, requests: int, businesses: int = 1, in_flight: int = 8, latency: float = 0.3
    ) -> None:
        self._sage = sage
        self._waiting = deque(f"b{number % businesses}" for number in range(requests))
        self._in_flight = in_flight
        self._latency = latency
        self._chance = random.Random(1)
        self._order = itertools.count()
        self._events: list[tuple[float, int, str, str, float, Verdict]] = []
        self._flying = 0
        self._now = 0.0
        self.outcome = Outcome()

    def _push(self, at: float, kind: str, business: str, sent_at: float = 0.0, verdict: Verdict = (True, None)) -> None:
        heapq.heappush(self._events, (at, next(self._order), kind, business, sent_at, verdict))

    def _send(self, business: str) -> None:
        self._flying += 1
        self._push(self._now + self._latency * self._chance.uniform(0.3, 0.6), "arrival", business, self._now)

    def _step(self) -> tuple[str, str, float, Verdict]:
        self._now, _, kind, business, sent_at, verdict = heapq.heappop(self._events)
        if kind == "arrival":
            back = self._now + self._latency * self._chance.uniform(0.3, 0.6)
            self._push(back, "answer", business, sent_at, self._sage.ask(business, self._now))
        elif kind == "answer":
            self._flying -= 1
            (self.outcome.answered if verdict[0] else self.outcome.refused).append(self._now)
        elif kind == "again":
            self._waiting.appendleft(business)
        return kind, business, sent_at, verdict

    def run_greedily(self) -> Outcome:
        """Repeat each request as soon as its refusal allows; its place in flight waits with it."""
        retrying = 0
        while self._waiting or self._events:
            while self._waiting and self._flying + retrying < self._in_flight:
                self._send(self._waiting.popleft())
            kind, business, _, verdict = self._step()
            if kind == "again":
                retrying -= 1
            if kind == "answer" and not verdict[0]:
                retrying += 1
                self._push(self._now + (1.0 if verdict[1] is None else verdict[1]), "again", business)
        return self.outcome

    def run(self, limiter: Limiter) -> Outcome:
        """Send requests as the limiter lets them through: the first that may go of those that wait."""
        permits: dict[tuple[str, float], list[Permit]] = {}
        while self._waiting or self._events:
            look_at = self._send_allowed(limiter, permits)
            if not self._events or look_at < self._events[0][0]:
                self._now = look_at
                continue
            kind, business, sent_at, (accepted, retry_after) = self._step()
            if kind != "answer":
                continue
            permit = permits[business, sent_at].pop()
            limiter.land(permit, self._now)
            if accepted:
                limiter.accept(permit, self._now)
            elif delay := limiter.refuse(permit, self._now, retry_after):
                self._push(self._now + delay, "again", business)
            else:
                self._waiting.appendleft(business)
        return self.outcome

    def _send_allowed(self, limiter: Limiter, permits: dict[tuple[str, float], list[Permit]]) -> float:
        """Send what may go; return when to look again."""
        soonest = math.inf
        while self._flying < self._in_flight and self._waiting:
            soonest = math.inf
            for business in dict.fromkeys(itertools.islice(self._waiting, 128)):
                wait = limiter.wait(business, self._now)
                if wait == 0:
                    self._waiting.remove(business)
                    permits.setdefault((business, self._now), []).append(limiter.send(business, self._now))
                    self._send(business)
                    break
                soonest = min(soonest, wait)
            else:
                break
        return self._now + max(soonest, 1e-4)
