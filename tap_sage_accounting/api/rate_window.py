"""The requests that one limit counts, and what Sage's refusals show of it."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from tap_sage_accounting.api.closure import MINUTE, Closure
from tap_sage_accounting.api.pace import Pace
from tap_sage_accounting.api.shared_limit import UNCERTAIN, OtherRuns, Usage
from tap_sage_accounting.api.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_sage_accounting.api.permit import Permit

STANDARD_LIMIT = 60
"""Requests a minute that every source says are safe: a lower limit is believed when it shows a second time."""
MIN_SAMPLE = 10
"""Minimum responses in a window before a limit is estimated from them."""
IN_A_ROW = 3
"""Refusals without a response in between that show a limit: fewer may be accidents."""
ALIKE = 0.8
"""Ratio of two limits from which on they count as the same."""
CLOSE = 0.95
"""Part of a known limit that must be used before a refusal counts as this limit's."""
MOST_STRAYS = 4
"""Refusals near a known limit, in one minute, that may be accidents."""
SHORT = 3.0
"""Seconds. Where a place comes free within them, requests are paced."""
FIRST_DELAY = 0.25
"""Seconds before the first attempt without a `Retry-After`. Later ones wait a tenth of the time so far."""
LONGEST_DELAY = 2.0
"""Seconds that such an attempt waits at most within a minute. After that, it waits a tenth of the time beyond it."""
LONGEST_SHARED_DELAY = 5.0
"""Seconds that it waits at most while others wait for places, too, and find out when there are some."""
NEED = 10.0
"""Seconds after a wait for a place in which a run needs more of them, in any case."""
MUCH = 0.75
"""Part of its places from which on a run needs more until the window of its last wait has passed."""
ANSWERED_WITHIN = 10.0
"""Seconds after which another attempt is made, although the last one has no response yet."""


class RateWindow:
    """The requests that one limit counts: all of the application's, or those of one business.

    Nothing is held back until Sage refuses. Then the window closes: one request at a time is sent, and more as long as
    they pass. If it took long until one passed, the responses before are the limit. Otherwise requests are paced. From
    time to time, one request more than the limit is tried, and more as long as they pass.

    Attributes:
        limit: places, each taken from its request until `length` after the answer; None where none is known.
        length: seconds.
        pace: the pace of requests, where places come free one by one.
        closure: the time for which the limit is full; None while it is not.
        refused: the requests that were refused since the last answer.
    """

    def __init__(self, minute: float) -> None:
        self.limit: int | None = None
        self.length = minute
        self.pace: Pace | None = None
        self.closure: Closure | None = None
        self.refused: list[Permit] = []
        self._minute = minute
        self._second = minute / MINUTE
        self._in_flight = 0
        self._answered: deque[float] = deque()
        self._round_trip = math.inf
        self._began: float | None = None
        self._seen: tuple[int, float] | None = None
        self._closed_before = self._freed_at = -math.inf
        self._trial = Trial(self._second)
        self._sent_at = 0.0
        self._resume_at = 0.0
        self._strays: deque[float] = deque(maxlen=MOST_STRAYS)
        self._others = OtherRuns(self._second)
        self._sent = 0
        self._waited_until = -math.inf
        self._version = 0
        self._shared_at = -math.inf
        self._published: tuple[int | None, float] = (None, minute)

    def recent(self, now: float) -> int:
        """Count the requests of the last minute that were not refused."""
        return self._taken(now - self._minute)

    def _taken(self, since: float) -> int:
        """Count this run's requests, apart from those that were answered until a moment."""
        return self._in_flight + sum(moment > since for moment in self._answered)

    def _count(self, since: float) -> int:
        """Count requests that were answered after a moment, those of other runs among them."""
        return sum(moment > since for moment in self._all())

    def _all(self) -> Sequence[float]:
        return sorted((*self._answered, *self._others.moments()))

    def _places(self, now: float) -> int:
        """Return how many places of the known limit are this run's."""
        return self._others.places(self.limit or 0, now - self.length)

    def wait(self, now: float) -> float:
        """Return for how many seconds no request may be sent; 0 for none, infinity for until one is answered."""
        closure = self.closure
        if closure is not None:
            pause = max(closure.resume_at - now, 0.0)
            if self._others.are_probing and now < closure.resume_at + self._minute:
                return closure.resume_at + self._minute - now
            is_free = closure.in_flight <= closure.passed
            return pause if is_free else max(pause, closure.asked_at + ANSWERED_WITHIN * self._second - now)
        if self.pace is not None:
            return max(self.pace.next_at - now, 0.0)
        pause = max(self._resume_at - now, 0.0)
        wait = self._wait_for_place(now, self._trial.extra)
        if wait > 0:
            self._waited_until = now if wait == math.inf else now + wait
        if 0 < wait < math.inf and self._trial.is_due:
            wait = min(wait, self._trial.wait(wait, now - self._sent_at, self._round_trip))
        return max(wait, pause)

    def _wait_for_place(self, now: float, extra: int = 0) -> float:
        if self.limit is None:
            return 0.0
        free = self._places(now) + extra - self._in_flight
        if free <= 0:
            return math.inf if self._in_flight else self._second  # until others leave one
        if len(self._answered) < free:
            return 0.0
        # Sage counts a request when it comes, which is before its answer: half a round trip is certain.
        return max(self._answered[-free] + self.length - self._half_round_trip() - now, 0.0)

    def _half_round_trip(self) -> float:
        return 0.0 if self._round_trip == math.inf else self._round_trip / 2

    def send(self, permit: Permit, now: float) -> None:
        """Count a request."""
        if self.closure is not None:
            self.closure.in_flight += 1
            self.closure.asked_at = now
        elif self.pace is not None:
            self.pace.send(now)
        elif self._wait_for_place(now) > 0:
            self._trial.send(permit)
        self._in_flight += 1
        self._sent += 1
        self._sent_at = now

    def land(self, permit: Permit, now: float) -> None:
        """Count a request that is no longer in flight, whatever its outcome."""
        self._in_flight -= 1
        self._answered.append(now)
        if self.closure is not None and permit.sent_at >= self.closure.since:
            self.closure.in_flight -= 1
        oldest = now - 1.1 * max(self.length, self._minute)
        while self._answered[0] <= oldest:
            self._answered.popleft()

    def accept(self, permit: Permit, now: float) -> None:
        """Learn from a response that was no refusal."""
        self._round_trip = min(self._round_trip, now - permit.sent_at)
        closure = self.closure
        if closure is None:
            self.refused.clear()
            self._grow(permit, now)
        elif permit.sent_at >= closure.since:
            self.refused.clear()
            closure.passed += 1
            closure.passed_in_all += 1
            if closure.passed_in_all == 1 and not self._others.are_probing:
                self._learn(closure, permit.sent_at)
            elif closure.passed >= MIN_SAMPLE:
                self.closure = None
        if self._began is None:
            self._began = permit.sent_at

    def _grow(self, permit: Permit, now: float) -> None:
        """Try more as long as Sage accepts it, until no limit is left."""
        if self.pace is not None:
            self.pace.accept(now)
            if self.pace.is_void:
                self.pace = None
        elif self.limit is not None:
            self._trial.accept(permit, now)
            if self._trial.extra > self.limit:
                self.limit = None
                self._trial.succeed()

    def _rate(self) -> float:
        """Return the limit as a part of the standard."""
        return math.inf if self.limit is None else self.limit * self._minute / (self.length * STANDARD_LIMIT)

    def refuse(self, permit: Permit, now: float, retry_after: float | None) -> bool:
        """Learn from a refusal; return whether the window makes the request wait."""
        if self._answered:
            self._answered.pop()  # what Sage refuses it does not count
        self._sent -= 1
        closure = self.closure
        if closure is not None:
            if permit.sent_at >= closure.since:
                self._put_off(closure, permit, now, retry_after)
                self._measure_pace(closure, permit.sent_at)
            return True
        self.refused.append(permit)
        if self.pace is not None:
            self.pace.refuse(permit.sent_at, is_lone=len(self.refused) == 1)
            if len(self.refused) >= IN_A_ROW:
                self.close(permit, now, retry_after)
            return self.closure is not None
        if self.limit is None:
            return False
        count, places = self._taken(now - self.length), self._places(now)
        is_trial = permit in self._trial.permits
        if not is_trial and count < places:
            if count < CLOSE * places or len(self.refused) == 1:
                return False
            self.close(permit, now, retry_after)
            return True
        if is_trial and not self._others.are_waiting:
            since = permit.sent_at - self.length + 2 * self._half_round_trip()
            self.limit += max(0, self._taken(since) - len(self._trial.permits) - places)
        self._resume_at = now + (retry_after or 0.0)
        self._trial.refuse(self._rate())
        return True

    def close(self, permit: Permit, now: float, retry_after: float | None) -> None:
        """Send nothing until a place may be free; then one request, and more as long as they pass."""
        since = self.refused[0].sent_at if self.refused else permit.sent_at
        self.closure = Closure(now, permit.sent_at, since)
        if self.limit is None and now - self._closed_before < self._minute:
            self.closure.passed_before = self._count(self._closed_before)
            self.closure.closed_before = self._closed_before
        self._closed_before = since
        self._put_off(self.closure, permit, now, retry_after)

    def _put_off(self, closure: Closure, permit: Permit, now: float, retry_after: float | None) -> None:
        closure.refused_at, closure.retry_after = permit.sent_at, retry_after
        closure.passed = 0
        closure.rounds += 1
        if retry_after is None:
            delay = max(FIRST_DELAY * self._second, (now - closure.since) / 10)
            most = LONGEST_SHARED_DELAY if self._others.are_waiting else LONGEST_DELAY
            longest = max(most * self._second, (now - closure.since - self._minute) / 10)
            retry_after = min(longest, delay)
        closure.resume_at = self._waited_until = now + retry_after

    def _measure_pace(self, closure: Closure, full_at: float) -> None:
        """Pace requests, as soon as enough attempts passed between two refused ones."""
        if full_at - closure.measured_since > self._minute:
            closure.passed_in_all, closure.measured_since = min(closure.passed_in_all, 1), full_at
        elif closure.passed_in_all >= MIN_SAMPLE:
            self._set_pace(closure.passed_in_all, closure.measured_since, full_at)

    def _set_pace(self, count: int, since: float, until: float) -> None:
        rate = count / max(until - since, self._second / 100)
        self.pace = Pace(rate, until, self._second, is_confirmed=self.pace is not None)
        self.limit = self.closure = None

    def _learn(self, closure: Closure, free_at: float) -> None:
        """Learn from the first attempt that passed, which shows until when the places were taken."""
        freed_before, self._freed_at = self._freed_at, free_at
        is_short = free_at - closure.since <= SHORT * self._second
        if is_short or self._may_be_shared(free_at):
            if self.limit is not None:
                self._correct(closure, free_at, self.limit)
            elif self._seen is not None and self._trial.has_erred and self._is_twice(closure, *self._seen):
                (self.limit, self.length), self.closure = self._seen, None
                self._trial.confirm(self._rate())
            elif closure.passed_before >= MIN_SAMPLE:
                self._set_pace(closure.passed_before, closure.closed_before, closure.measured_since)
            return
        began = closure.since if self._began is None else self._began
        earlier = [moment for moment in self._all() if began <= moment <= free_at]
        anew = [moment for moment in earlier if moment >= freed_before]
        if closure.passed_before and MIN_SAMPLE <= ALIKE * (len(earlier) - len(anew)) <= len(anew):
            began, earlier = freed_before, anew  # a fixed window ended meanwhile
        count, length = closure.measure(began, earlier, free_at, (self.length, self._minute))
        known, self._seen = (self._seen if self.limit is None else (self.limit, self.length)), (count, length)
        is_known = known is not None and ALIKE * count * known[1] < length * known[0] < count * known[1] / ALIKE
        self.pace = self.limit = None
        if count < MIN_SAMPLE or not (is_known or count >= STANDARD_LIMIT * length / self._minute):
            return
        self.limit, self.length, self.closure = count, length, None
        if is_known:
            self._trial.confirm(self._rate())
        else:
            self._trial.begin()

    def _may_be_shared(self, free_at: float) -> bool:
        """Return whether a known limit that was full for long may be so because others took their places too early."""
        if self.limit is None or not self._others.are_waiting:
            return False
        was_long_ago, self._shared_at = free_at - self._shared_at > 2 * self._minute, free_at
        return was_long_ago

    def _is_twice(self, closure: Closure, limit: int, length: float) -> bool:
        """Return whether no more passed than two fixed windows of a limit let through, at the end of one of them."""
        return limit >= MIN_SAMPLE and self._count(closure.refused_at - length) * ALIKE <= 2 * limit

    def _correct(self, closure: Closure, free_at: float, limit: int) -> None:
        """Correct a known limit that was full for a moment: places are taken for longer, or there are fewer."""
        self.closure = None
        is_one_too_many = len(self._strays) == MOST_STRAYS and free_at - self._strays[0] <= self._minute
        self._strays.append(free_at)
        if not is_one_too_many and closure.rounds == 1:
            return
        # The last one that was answered is the request that passed.
        answered = self._all()
        oldest = answered[-1 - limit] if len(answered) > limit else math.inf
        if self.length < min(closure.refused_at - oldest, self._minute):
            self._strays.clear()
            error = UNCERTAIN * self._second if self._others.are_waiting else self._half_round_trip()
            self.length = min(free_at - oldest + error, self._minute)
        elif is_one_too_many or not self._others.are_waiting:
            self._strays.clear()
            since = closure.refused_at - self.length
            count = sum(since < moment <= closure.refused_at + self._round_trip for moment in answered)
            self.limit = max(MIN_SAMPLE, min(limit, count))
            self._trial.rest(self._rate())

    @property
    def is_shared(self) -> bool:
        """Return whether other runs wait for places of the limit, too."""
        return self._others.are_waiting

    def usage(self, beat: int, now: float) -> Usage:
        """Return what other runs must know of this one, which publishes for the `beat`th time."""
        ages = [int((now - moment) / self._second) for moment in self._answered if moment > now - self.length]
        recent = [ages.count(age) for age in range(max(ages, default=0) + 1)]
        recent[0] += self._in_flight
        closure = self.closure
        # A closed window in which nothing is requested finds nothing out.
        is_closed = (
            closure is not None and now < max(closure.resume_at, closure.asked_at) + ANSWERED_WITHIN * self._second
        )
        needs_places = now < self._waited_until + min(NEED * self._second, self.length)
        if self.limit is not None and self._taken(now - self.length) >= MUCH * self._places(now):
            needs_places = now < self._waited_until + self.length
        if self.limit is not None and (self.limit, self.length) != self._published:
            self._version += 1
            self._published = self.limit, self.length
        return Usage(
            beat=beat,
            sent=self._sent,
            recent=tuple(recent),
            is_over=False,
            is_waiting=is_closed or needs_places,
            is_closed=is_closed,
            is_paced=self.pace is not None,
            limit=self.limit,
            length=self.length,
            version=self._version,
        )

    def share(self, name: str, published: Mapping[str, Usage], now: float) -> None:
        """Leave other runs their part of the limit.

        Args:
            name: of this run.
            published: what the others published, by their names.
            now: when that was read.
        """
        were_probing = self._others.are_probing
        self._others.see(name, published, now)
        self._others.forget(now - 1.1 * max(self.length, self._minute))
        found = self._others.finding(self._version) if self.pace is None else None
        if found and self.limit is None:
            self.closure = None
        elif self.closure is not None and were_probing and not self._others.are_probing:
            self.closure = None if self._others.are_waiting else Closure(now, now, now)
        if found:
            self.limit, self.length, self._version = found.limit, found.length, found.version
            self._published = self.limit, self.length
        if self._others.are_trying:
            self._trial.rest(self._rate())

    def adopt(self, other: RateWindow) -> None:
        """Take over what another window learned, which forgets it."""
        self.limit, self.length, self.pace, self.closure = other.limit, other.length, other.pace, other.closure
        self._seen, self._began, self._trial = other._seen, other._began, other._trial
        other._trial = Trial(self._second)
        other.forget()

    def forget(self) -> None:
        """Take back what was learned from refusals that another limit explains."""
        self.limit = self.pace = self.closure = self._seen = None
        self._closed_before, self._resume_at = -math.inf, 0.0
        self._trial.rest(self._rate())
        self.refused.clear()
