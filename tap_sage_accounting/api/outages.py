"""How long Sage has been failing: one outage is one outage, however many requests meet it.

An outage is counted in seconds. It is of everything, of a business, of a path, or of a path of a business. Each begins
with a fault that is the service's (429, 503, no connection) and ends with the first response.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_DELAY = 1.0
"""Seconds before the second attempt; doubled for each further one."""
LONGEST_DELAY = 60.0
FEWEST_ATTEMPTS = 6
"""Attempts in an outage, however short the patience."""
LIMIT_WINDOW = 60.0
"""Seconds in which a refusal (429) may be the limit of a minute, for which the limiter waits."""
WELL_FOR = 10.0
"""First delays, for which a response to any request shows that Sage is well."""
BETWEEN_LINES = 60.0
"""Seconds between two lines in the log about the same outage."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an outage concerns; None for all.

    Attributes:
        path: the list or object.
        business_id: the business.
    """

    path: str | None = None
    business_id: str | None = None


EVERYTHING = Scope()


@dataclass(slots=True)
class Outage:
    """Faults without a successful response in between.

    Attributes:
        since: when the first one came.
        faults: how many came.
        rounds: how often an attempt was put off.
        resume_at: when the next attempt may be made.
        logged_at: when the log mentioned it.
    """

    since: float
    faults: int = 0
    rounds: int = 0
    resume_at: float = 0.0
    logged_at: float = float("-inf")

    def put_off(self, now: float, asked_to_wait: float) -> None:
        """Put the next attempt off; faults of requests that were under way together count once."""
        if now >= self.resume_at:
            self.resume_at = now + min(LONGEST_DELAY, FIRST_DELAY * 2**self.rounds)
            self.rounds += 1
        self.resume_at = max(self.resume_at, now + asked_to_wait)


class Outages:
    """Keeps the outages of a run; safe to use from any thread.

    Attributes:
        answered_at: when the last successful response came.

    Args:
        patience: seconds that an outage may last.
        clock: seconds, monotonic.
    """

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._outages: dict[Scope, Outage] = {}
        self.answered_at = float("-inf")

    @property
    def had_response(self) -> bool:
        """Whether any response ever came: otherwise the address or a firewall may be wrong."""
        return self.answered_at > float("-inf")

    def is_well(self) -> bool:
        """Return whether a response came a moment ago."""
        return self._clock() - self.answered_at < WELL_FOR * FIRST_DELAY

    def fail(self, scope: Scope, asked_to_wait: float | None = None, *, is_refusal: bool = False) -> bool:
        """Count a fault of the service's.

        Args:
            scope: the path and the business of the request.
            asked_to_wait: seconds, None where Sage does not say.
            is_refusal: a 429, for which the limiter waits as long as it may be a minute's limit.

        Returns:
            Whether it is time for a line in the log.
        """
        with self._lock:
            now = self._clock()
            for each in _around(scope):
                outage = self._outages.setdefault(each, Outage(now))
                outage.faults += 1
                if not is_refusal or now - outage.since >= LIMIT_WINDOW:
                    outage.put_off(now, asked_to_wait or 0.0)
            mentioned = (self._outages[scope], self._outages[EVERYTHING])
            if any(now - outage.logged_at < BETWEEN_LINES for outage in mentioned):
                return False
            for outage in mentioned:
                outage.logged_at = now
            return True

    def succeed(self, scope: Scope) -> None:
        """Record a successful response, which ends the outages that it is about."""
        self.answered_at = self._clock()
        if self._outages:
            with self._lock:
                for each in _around(scope):
                    self._outages.pop(each, None)

    def wait(self, scope: Scope) -> float:
        """Return for how many seconds a request is put off; 0 for not at all.

        An outage of everything puts off all requests from its second attempt on: its first fault may be one path's. A
        path that was waited for in vain puts off none: each further request has one attempt.
        """
        if not self._outages:
            return 0.0
        with self._lock:
            now = self._clock()
            own, all_of_it = self._outages.get(scope), self._outages.get(EVERYTHING)
            resume_at = own.resume_at if own and now - own.since < self._patience else 0.0
            if all_of_it and all_of_it.rounds > 1:
                resume_at = max(resume_at, all_of_it.resume_at)
            return max(0.0, resume_at - now)

    def exhausted(self, scope: Scope) -> tuple[Scope, float] | None:
        """Return the widest outage around a scope that outlasts the patience, and its seconds; None for none."""
        with self._lock:
            now = self._clock()
            for each in _around(scope):
                outage = self._outages.get(each)
                if outage and outage.faults >= FEWEST_ATTEMPTS and now - outage.since >= self._patience:
                    return each, now - outage.since
        return None


def _around(scope: Scope) -> tuple[Scope, ...]:
    """List the scopes that a request belongs to, the widest first."""
    return tuple(dict.fromkeys((EVERYTHING, Scope(business_id=scope.business_id), Scope(scope.path), scope)))
