"""How fast we may ask: requests in flight, requests a minute, and what Sage's refusals teach.

Sage does not say which limit applies (limits.minute), (limits.scope), (limits.window), nor does any header
(limits.headers): figures of 60, 100 and 900 requests a minute are in circulation, for an
application or for each business. So the limit is found: requests of the last minute are counted, and the count at which
Sage refuses is the limit. Counting, not pacing, is what Sage does too: it lets bursts through, and wastes nothing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from functools import partial

MINUTE = 60.0
STANDARD_LIMIT = 60
"""Requests a minute that every source says are safe: where we start."""
HIGHEST_LIMIT = 900
"""Requests a minute: Sage's published 1,296,000 a day and application, spread evenly."""
PAUSES = 12
"""Attempts a minute after refusals that do not say when to come back."""
CLEARLY_BELOW = 0.8
"""A count that is no more than this part of one that was fine cannot be what Sage refused."""
MARGIN = 0.99
"""How close to a known limit we stay."""
SAFE_MINUTE = 1.02
"""The minute over which we count, in Sage's minutes: no two clocks agree, and answers take their time."""
MIN_SAMPLE = 10
"""Minimum responses in the last minute before a 429 is used to estimate a limit, or businesses are compared."""
PROBE_AFTER = 3
"""Minutes at a known limit after which a little more is tried."""


class RateWindow:
    """The requests of the last minute that one limit counts: all of the application's, or those of one business.

    Attributes:
        limit: how many may be sent in any minute, as far as is known.
        proven: the highest count that Sage was seen to answer.
    """

    def __init__(self, limit: float, ceiling: float, minute: float) -> None:
        self.limit = min(limit, ceiling)
        self.proven = 0
        self._ceiling = ceiling
        self._minute = minute
        self._found: float | None = None
        self._found_at = 0.0
        self._refused_at: float | None = None
        self._paused_until = 0.0
        self._sent: deque[float] = deque()
        self._answered: deque[float] = deque()

    def answered(self, now: float) -> int:
        """Count the requests of the last minute that were answered."""
        return _recent(self._answered, now - self._minute)

    def wait(self, now: float) -> float:
        """Return for how many seconds no request may be sent; 0 for none."""
        pause = max(self._paused_until - now, 0.0)
        count = _recent(self._sent, now - self._minute * SAFE_MINUTE)
        if count < self.limit - 1 or count == 0:
            return pause
        allowed = max(1, int(self.limit))
        return pause if count < allowed else max(pause, self._sent[count - allowed] + self._minute * SAFE_MINUTE - now)

    def send(self, now: float) -> None:
        """Count a request."""
        self._sent.append(now)

    def sent(self, now: float) -> int:
        """Count the requests of the last minute; those of a little longer are kept."""
        return sum(moment > now - self._minute for moment in self._sent)

    def accept(self, sent_at: float, now: float) -> None:
        """Learn from an answer: the limit is no lower than this, and grows until one was found."""
        self._answered.append(sent_at)
        self.proven = max(self.proven, self.answered(now))
        if self._found is None:
            self.limit += 1
        elif self.limit < self._found * MARGIN:
            self.limit = min(self.limit + 1, self._found * MARGIN)
        elif now - self._found_at > PROBE_AFTER * self._minute:
            self._found, self._found_at = self._found + max(1.0, self._found / 100), now
        self.limit = min(self.limit, self._ceiling)

    def refuse(self, now: float, retry_after: float | None) -> None:
        """Learn from a refusal: what was answered in the last minute is the limit.

        A refusal out of the blue halves what may be sent, to be safe; one near the known limit only corrects it. A
        limit below the standard is believed when it shows a second time: others may share it, or it was a mishap. A
        refusal after next to nothing is about what others asked, and teaches no more than to wait.
        """
        if self.answered(now) < MIN_SAMPLE:
            self.pause(now, retry_after)
            return
        count = float(self.answered(now))
        self.limit = count * MARGIN if self.is_near_limit(now) else count / 2
        seen_before = self._refused_at is not None and count > CLEARLY_BELOW * self._refused_at
        self._found = count if count >= STANDARD_LIMIT or seen_before else None
        self._found_at, self._refused_at = now, count
        self.pause(now, retry_after)

    def is_near_limit(self, now: float) -> bool:
        """Return whether a limit was found before, and whether the last minute came near it."""
        return self._found is not None and self.answered(now) > CLEARLY_BELOW * self._found

    def is_known_at(self, count: int) -> bool:
        """Return whether a refusal about this limit came at about this count before."""
        return (
            self._refused_at is not None and CLEARLY_BELOW * self._refused_at < count < self._refused_at / CLEARLY_BELOW
        )

    def uncount(self) -> None:
        """Take back the last request: what Sage refuses it does not count."""
        if self._sent:
            self._sent.pop()

    def pause(self, now: float, retry_after: float | None) -> None:
        """Send nothing for as long as Sage asks; where it does not say, for the time in which one place comes free."""
        wait = self._minute / max(PAUSES, min(self.limit, STANDARD_LIMIT)) if retry_after is None else retry_after
        self._paused_until = max(self._paused_until, now + wait)

    def forget(self) -> None:
        """Take back what was learned from a refusal that another limit explains."""
        self.limit, self._found, self._refused_at, self._paused_until = self._ceiling, None, None, 0.0


def _recent(moments: deque[float], since: float) -> int:
    while moments and moments[0] <= since:
        moments.popleft()
    return len(moments)


@dataclass(frozen=True, slots=True)
class Permit:
    """A request that was let through: for which business, and when."""

    business_id: str | None
    sent_at: float


class Limiter:
    """Decides when a request may be sent; pure bookkeeping, without threads or clocks of its own.

    A refusal is first held against the business it was about. When others are refused as well, or when that business
    had sent clearly less than another did without harm, it is the application's limit; when the application as a whole
    had sent clearly less than it did without harm, it is the business's own.
    """

    def __init__(self, ceiling: float, minute: float = MINUTE) -> None:
        self.application = RateWindow(STANDARD_LIMIT, ceiling, minute)
        unlimited = partial(RateWindow, float("inf"), float("inf"), minute)
        self._businesses: defaultdict[str | None, RateWindow] = defaultdict(unlimited)
        self._learned_at = float("-inf")
        self._suspect: Permit | None = None

    def business(self, business_id: str | None) -> RateWindow:
        """Return the window of a business; unlimited until it is refused."""
        return self._businesses[business_id]

    def wait(self, business_id: str | None, now: float) -> float:
        """Return for how many seconds a request about a business must wait; 0 for not at all."""
        return max(self.application.wait(now), self.business(business_id).wait(now))

    def send(self, business_id: str | None, now: float) -> Permit:
        """Count a request that is sent now."""
        self.application.send(now)
        self.business(business_id).send(now)
        return Permit(business_id, now)

    def accept(self, permit: Permit, now: float) -> None:
        """Learn from an answer that was no refusal."""
        self.application.accept(permit.sent_at, now)
        self.business(permit.business_id).accept(permit.sent_at, now)
        suspect = self._suspect
        if suspect and suspect.business_id != permit.business_id and permit.sent_at > suspect.sent_at:
            # Another business gets its answers meanwhile: the limit is that business's own.
            self.business(suspect.business_id).refuse(now, 0.0)
            self._suspect = None

    def refuse(self, permit: Permit, now: float, retry_after: float | None) -> None:
        """Learn from a refusal, once for all requests that were under way together."""
        own = self.business(permit.business_id)
        for window in (own, self.application):
            window.uncount()
        if permit.sent_at <= self._learned_at:
            own.pause(now, retry_after)
        elif self._is_applications(permit, now):
            for window in self._businesses.values():
                window.forget()
            self.application.refuse(now, retry_after)
            self._suspect, self._learned_at = None, now
        elif self._is_own(permit, now):
            own.refuse(now, retry_after)
            self._suspect, self._learned_at = None, now
        else:
            own.pause(now, retry_after)
            self._suspect = permit

    def _is_own(self, permit: Permit, now: float) -> bool:
        """Return whether a refusal is certainly, or for a second time probably, about the business's own limit."""
        if (
            self._is_like_others(permit, now)
            or self.application.answered(now) <= CLEARLY_BELOW * self.application.proven
        ):
            return True
        return self._suspect is not None and self._suspect.business_id == permit.business_id

    def _is_like_others(self, permit: Permit, now: float) -> bool:
        """Return whether a business was refused at the count at which one was refused for a limit of its own.

        Businesses that are asked side by side come to their limits side by side, and nobody is answered in between.
        """
        count = self.business(permit.business_id).answered(now)
        if count < MIN_SAMPLE or count > CLEARLY_BELOW * self.application.answered(now):
            return False
        return any(window.is_known_at(count) for window in self._businesses.values())

    def _is_applications(self, permit: Permit, now: float) -> bool:
        """Return whether a refusal is about the limit of the application."""
        if self._is_like_others(permit, now):
            return False
        if len(self._businesses.keys() - {None}) <= 1 or self.application.is_near_limit(now):
            return True
        if self.application.answered(now) <= CLEARLY_BELOW * self.application.proven:
            return False
        if self._suspect is not None and self._suspect.business_id != permit.business_id:
            return True
        most = max(window.proven for window in self._businesses.values())
        return most >= MIN_SAMPLE and self.business(permit.business_id).answered(now) <= CLEARLY_BELOW * most
