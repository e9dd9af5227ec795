"""How fast requests may be sent: what Sage's refusals teach about its limits.

Sage does not say which limit applies: figures of 60, 100 and 900 requests a minute are in circulation, for an
application or for each business. So nothing is held back until Sage refuses several requests in a row. What was
answered before is the limit then. The time from the oldest of these answers until a request passes again is how long a
place is taken. Where places come free one by one, requests are paced. A lone refusal teaches nothing: only the
request that met it waits.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass

MINUTE = 60.0
DAILY_LIMIT = 1_296_000
"""Requests a day: Sage's published limit for an application."""
MINUTES_OF_A_DAY = 1440
IN_A_ROW = 3
"""Refusals without an answer in between that show a limit."""
MOST_STRAYS = 4
"""Refusals in one window, at a known limit, that may be mishaps."""
CLOSE = 0.95
"""Part of a known limit from which on a refusal is about this limit."""
SHORT = 3.0
"""Seconds: where a place comes free within them, requests are paced."""
FIRST_DELAY = 0.25
"""Seconds before the first attempt at a full limit, where Sage does not say when; later a tenth of the time so far."""
LONGEST_DELAY = 2.0
"""Seconds between two such attempts at most."""
ANSWERED_WITHIN = 10.0
"""Seconds after which another attempt is made, where one is not answered."""
LONE_DELAY = 1.0
"""Seconds for which a request that was refused alone waits, where Sage does not say how long."""
FEW = 8
"""Answers from which on a pace is measured; with fewer it is halved."""
MANY = 30
"""Answers from which on a measured pace is exact, and is measured anew."""
SLIGHTLY = 0.995
"""How far a refusal lowers a pace that was measured exactly: it may be a mishap."""
CREEP, HURRY = 1e-6, 1e-2
"""How much faster than a pace, times the square of the answers since its last refusal: once measured, and before."""


@dataclass(frozen=True, slots=True)
class Permit:
    """A request that was let through: for which business, and when."""

    business_id: str | None
    sent_at: float


class Pace:
    """Requests one by one, where a limit frees its places one by one; a little faster until one is refused.

    Args:
        rate: requests a second, no fewer than there may be.
        now: when the limit was last known to be full.
        pause: seconds without requests after which the measurement begins anew.
    """

    def __init__(self, rate: float, now: float, pause: float) -> None:
        self._pause = pause
        self._since: float | None = now
        self._passed = 0
        self._slowed_at = float("-inf")
        self.restart(rate, now)

    def restart(self, rate: float, now: float) -> None:
        """Begin to measure, from a rate that is an estimate."""
        self.rate, self.next_at = rate, now + 1 / rate
        self._is_measured, self._growth = False, HURRY
        self._since, self._passed, self._in_a_row = now, 0, 0

    def send(self, now: float) -> None:
        """Count a request."""
        if now > self.next_at + self._pause:
            self._since = None
        self.next_at = max(self.next_at, now - 1 / self.rate) + 1 / (self.rate * (1 + self._growth * self._in_a_row**2))

    def accept(self, sent_at: float) -> None:
        """Count an answer."""
        if self._since is not None and sent_at >= self._since:
            self._passed += 1
        self._in_a_row += 1

    def is_known(self, sent_at: float) -> bool:
        """Return whether the request was under way when another one was refused."""
        return sent_at <= self._slowed_at

    def refuse(self, sent_at: float, now: float) -> None:
        """Slow down to what passed since the limit was full before."""
        if self._since is None:
            self._since, self._passed = sent_at, 0
        elif self._passed >= FEW and sent_at > self._since:
            measured = (self._passed + 0.5) / (sent_at - self._since)
            is_exact = self._is_measured and self._passed >= MANY
            self.rate = max(measured, SLIGHTLY * self.rate) if is_exact else measured
            self._is_measured, self._growth = True, CREEP
            if self._passed >= MANY:
                self._since, self._passed = sent_at, 0
        elif not self._is_measured:
            self.restart(self.rate / 2 * (1 + self._growth * self._in_a_row**2), now)
        self._slowed_at, self._in_a_row = now, 0


@dataclass(slots=True)
class Closure:
    """The time for which a limit is full.

    Attributes:
        since: when the refusals showed it.
        refused_at: when the last refused request was sent.
        retry_after: what its `Retry-After` said.
        resume_at: when the next attempt may be made.
        refusals: of how many requests that were sent one after another.
        asked_at: when the attempt under way was sent; minus infinity for none.
    """

    since: float
    refused_at: float
    retry_after: float | None = None
    resume_at: float = 0.0
    refusals: int = 0
    asked_at: float = -math.inf


class RateWindow:
    """The requests that one limit counts: all of the application's, or those of one business.

    Attributes:
        limit: places, each taken from its request until `length` after the answer; None for as many as there are.
        length: seconds.
        pace: the pace of requests, where places come free one by one.
        refused: the requests that were refused since the last answer.
    """

    def __init__(self, minute: float, limit: int | None = None) -> None:
        self.limit = limit
        self.length = minute
        self.pace: Pace | None = None
        self.refused: list[Permit] = []
        self._minute = minute
        self._second = minute / MINUTE
        self._in_flight = 0
        self._answered: deque[float] = deque()
        self._round_trip = 0.0
        self._began: float | None = None
        self._count = 0
        self._closure: Closure | None = None
        self._resume_at = 0.0
        self._strays: deque[float] = deque(maxlen=MOST_STRAYS)

    def recent(self, now: float) -> int:
        """Count the requests of the last minute that were not refused."""
        return self._in_flight + sum(moment > now - self._minute for moment in self._answered)

    def wait(self, now: float) -> float:
        """Return for how many seconds no request may be sent; 0 for none, infinity for until one is answered."""
        pause = max(self._resume_at - now, 0.0)
        if self._closure is not None:
            return max(pause, self._closure.asked_at + ANSWERED_WITHIN * self._second - now)
        if self.pace is not None:
            return max(pause, self.pace.next_at - now)
        if self.limit is None:
            return pause
        free = self.limit - self._in_flight
        if free <= 0:
            return math.inf
        if len(self._answered) < free:
            return pause
        # Sage counts a request when it comes, which is before its answer: half a round trip is certain.
        return max(pause, self._answered[-free] + self.length - self._round_trip / 2 - now)

    def send(self, now: float) -> None:
        """Count a request."""
        self._in_flight += 1
        if self._closure is not None:
            self._closure.asked_at = now
        elif self.pace is not None:
            self.pace.send(now)

    def land(self, permit: Permit, now: float) -> None:
        """Count a request that is no longer in flight, whatever came of it."""
        self._in_flight -= 1
        self._answered.append(now)
        if self._closure is not None and permit.sent_at >= self._closure.asked_at:
            self._closure.asked_at = -math.inf
        oldest = now - 1.1 * max(self.length, self._minute)
        while self._answered[0] <= oldest:
            self._answered.popleft()

    def accept(self, permit: Permit, now: float) -> None:
        """Learn from an answer that was no refusal."""
        closure = self._closure
        self._round_trip = min(self._round_trip or math.inf, now - permit.sent_at)
        if closure is None or permit.sent_at >= closure.since:
            self.refused.clear()
        if closure is not None and permit.sent_at >= max(closure.since, closure.resume_at):
            self._closure = None
            self._reopen(closure, permit.sent_at)
        if self._began is None:
            self._began = permit.sent_at
        self._count += 1
        if self.pace is not None:
            self.pace.accept(permit.sent_at)

    def refuse(self, permit: Permit, now: float, retry_after: float | None) -> bool:
        """Learn from a refusal; return whether what is known of the limit explains it."""
        if self._answered:
            self._answered.pop()  # what Sage refuses it does not count
        if self._closure is not None:
            if permit.sent_at >= self._closure.since:
                self._put_off(self._closure, permit, now, retry_after)
            return True
        if self.pace is not None:
            if self.pace.is_known(permit.sent_at):
                return True
            self.refused.append(permit)
            if len(self.refused) < IN_A_ROW:
                self.pace.refuse(permit.sent_at, now)
            else:
                self.close(now, retry_after)
            return True
        self.refused.append(permit)
        if self.limit is None or sum(each > now - self.length for each in self._answered) < CLOSE * self.limit:
            return False
        self.close(now, retry_after)
        return True

    def close(self, now: float, retry_after: float | None) -> None:
        """Send nothing until a place may be free; then one request, which shows it."""
        self._closure = Closure(now, self.refused[0].sent_at)
        self._put_off(self._closure, self.refused[0], now, retry_after)

    def _put_off(self, closure: Closure, permit: Permit, now: float, retry_after: float | None) -> None:
        closure.refused_at, closure.retry_after = permit.sent_at, retry_after
        closure.refusals += 1
        if retry_after is None:
            delay = max(FIRST_DELAY * self._second, (now - closure.since) / 10)
            retry_after = min(LONGEST_DELAY * self._second, delay)
        closure.resume_at = self._resume_at = now + retry_after

    def _reopen(self, closure: Closure, free_at: float) -> None:
        """Learn from the first request that passed: until when the places were taken."""
        is_short = free_at - closure.since <= SHORT * self._second
        if self.limit is not None and is_short:
            if closure.refusals > 1 and len(self._answered) > self.limit:
                oldest = self._answered[-1 - self.limit]  # the last one is the request that passed
                self.length = max(self.length, free_at - oldest + self._round_trip / 2)
            if not self._is_one_too_many(free_at):
                return
        closed_at = closure.refused_at
        if closure.retry_after is not None:
            closed_at += max(0.0, closure.retry_after - self._second)  # which is rounded to whole seconds
        began = closed_at if self._began is None else self._began
        count, length = self._count_minute(closed_at, free_at)
        if not count:
            count, length = max(1, self._count), self._estimate(closed_at - began, free_at - began)
        if is_short and (self.pace is None or (free_at - closure.refused_at) * self.pace.rate <= FEW):
            rate = count / max(length, self._second / 10) if self.pace is None else self.pace.rate
            self.pace, self.limit = Pace(rate, free_at, SHORT * self._second), None
        else:
            self.pace, self.limit, self.length = None, count, length
        self._began, self._count = None, 0

    def _is_one_too_many(self, now: float) -> bool:
        """Return whether a known limit was met too often in one window for mishaps: its places are overestimated."""
        is_one = len(self._strays) == MOST_STRAYS and now - self._strays[0] <= self.length
        self._strays.append(now)
        return is_one

    def _count_minute(self, closed_at: float, free_at: float) -> tuple[int, float]:
        """Count the answers since the one that was a minute old when a place came free; 0 if there was none."""
        earlier = [moment for moment in self._answered if moment <= free_at]
        oldest = [moment for moment in earlier if closed_at - moment <= self._minute <= free_at - moment + self._second]
        return (sum(moment >= oldest[0] for moment in earlier) if oldest else 0), self._minute

    def _estimate(self, shortest: float, longest: float) -> float:
        """Return the length that a window probably has: a minute, or whole seconds."""
        if shortest <= self._minute <= longest:
            return self._minute
        whole = max(1, math.ceil(shortest / self._second - 1e-6)) * self._second
        return whole if whole <= longest else max(longest, self._second / 100)

    def forget(self) -> None:
        """Take back what was learned from refusals that another limit explains."""
        self.limit = self.pace = self._closure = None
        self._resume_at = 0.0
        self.refused.clear()


class DailyBudget:
    """The requests of a day, counted by minutes."""

    def __init__(self, minute: float) -> None:
        self._minute = minute
        self._counts: deque[list[float]] = deque()
        self._sum = 0

    def wait(self, now: float) -> float:
        """Return for how many seconds no request may be sent; 0 for none."""
        day = MINUTES_OF_A_DAY * self._minute
        while self._counts and self._counts[0][0] <= now - day:
            self._sum -= int(self._counts.popleft()[1])
        return self._counts[0][0] + day - now if self._sum >= DAILY_LIMIT else 0.0

    def send(self, now: float) -> None:
        """Count a request."""
        if not self._counts or now >= self._counts[-1][0] + self._minute:
            self._counts.append([now, 0])
        self._counts[-1][1] += 1
        self._sum += 1


class Limiter:
    """Decides when a request may be sent; pure bookkeeping, without threads or clocks of its own.

    Refusals in a row about one business show a limit of its own. When requests about several businesses are refused,
    and none is answered in between, it is the application's limit.

    Args:
        ceiling: requests of any minute that the user allows; None for no such ceiling.
        minute: seconds that Sage's minute has.
    """

    def __init__(self, ceiling: int | None = None, minute: float = MINUTE) -> None:
        self.application = RateWindow(minute)
        self._ceiling = RateWindow(minute, ceiling)
        self._day = DailyBudget(minute)
        self._lone_delay = LONE_DELAY * minute / MINUTE
        self._businesses: defaultdict[str | None, RateWindow] = defaultdict(lambda: RateWindow(minute))

    def business(self, business_id: str | None) -> RateWindow:
        """Return the window of a business; unlimited until it is refused."""
        return self._businesses[business_id]

    def wait(self, business_id: str | None, now: float) -> float:
        """Return for how many seconds a request about a business must wait; infinity for until one is answered."""
        return max(self.wait_for_all(now), self.business(business_id).wait(now))

    def wait_for_all(self, now: float) -> float:
        """Return for how many seconds a request about any business must wait."""
        return max(self.application.wait(now), self._ceiling.wait(now), self._day.wait(now))

    def send(self, business_id: str | None, now: float) -> Permit:
        """Count a request that is sent now."""
        self._day.send(now)
        for window in (self.application, self._ceiling, self.business(business_id)):
            window.send(now)
        return Permit(business_id, now)

    def land(self, permit: Permit, now: float) -> None:
        """Count a request that is no longer in flight; it was accepted, refused, or failed."""
        for window in (self.application, self._ceiling, self.business(permit.business_id)):
            window.land(permit, now)

    def accept(self, permit: Permit, now: float) -> None:
        """Learn from an answer that was no refusal."""
        self.application.accept(permit, now)
        self.business(permit.business_id).accept(permit, now)

    def refuse(self, permit: Permit, now: float, retry_after: float | None) -> float:
        """Learn from a refusal; return for how many seconds this request alone must wait."""
        own = self.business(permit.business_id)
        is_explained = self.application.refuse(permit, now, retry_after)
        if own.refuse(permit, now, retry_after) or is_explained:
            return 0.0
        refused = {each.business_id for each in self.application.refused}
        is_general = len(refused) > 1 or len(self._businesses.keys() - {None}) <= 1
        if is_general and len(self.application.refused) >= IN_A_ROW:
            for window in self._businesses.values():
                window.forget()
            self.application.close(now, retry_after)
        elif len(own.refused) >= IN_A_ROW:
            own.close(now, retry_after)
        else:
            return self._lone_delay if retry_after is None else retry_after
        return 0.0
