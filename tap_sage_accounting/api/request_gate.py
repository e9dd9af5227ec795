"""The gate that every request passes: how many are in flight, and when the next one may be sent."""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from tap_sage_accounting.api.closure import MINUTE
from tap_sage_accounting.api.rate_limiter import Limiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_sage_accounting.api.permit import Permit


class GateClosedError(RuntimeError):
    """The run is over: no further request may be sent."""


class RequestGate:
    """The one door through which every request of a run goes, whatever stream, business or thread it comes from.

    Args:
        concurrency: requests in flight at most (limits.concurrency).
        per_minute: a ceiling for the requests of any minute; None for none.
        minute: seconds that Sage's minute has.
        clock: seconds, monotonic.

    Attributes:
        requests: how many were sent.
        refusals: how many of them Sage refused for their number.
        seconds_held: for how long a limit held at least one.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        per_minute: int | None = None,
        minute: float = MINUTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._concurrency = concurrency
        self._limiter = Limiter(per_minute, minute)
        self._clock = clock
        self._changed = threading.Condition()
        self._in_flight = 0
        self._held = 0
        self._closed_by: Exception | None = None
        self._held_since = self._free_at = 0.0
        self.requests = 0
        self.refusals = 0
        self.seconds_held = 0.0

    def requests_of_last_minute(self) -> int:
        """Count the requests of the last minute, without those that Sage refused for their number."""
        with self._changed:
            return self._limiter.application.recent(self._clock())

    def seconds_to_wait(self) -> float | None:
        """Return for how long a limit holds requests from now on, infinity for nobody knows; None if it holds none."""
        with self._changed:
            return max(0.0, self._free_at - self._clock()) if self._held else None

    @contextmanager
    def acquire(self, business_id: str | None) -> Iterator[Permit]:
        """Wait for a turn to send one request, and hold a place in flight until it is answered.

        Raises:
            GateClosedError: the run ended while waiting; or the reason for which it did.
        """
        with self._changed:
            while (wait := self._wait(business_id)) != 0:
                with self._holding(wait) if wait is not None else nullcontext():
                    self._changed.wait(None if wait == math.inf else wait)
            permit = self._limiter.send(business_id, self._clock())
            self._in_flight += 1
            self.requests += 1
        try:
            yield permit
        finally:
            with self._changed:
                self._in_flight -= 1
                self._limiter.land(permit, self._clock())
                # The one that waited longest may go; but where a limit throttles some, it may be any of the others.
                if self._held:
                    self._changed.notify_all()
                else:
                    self._changed.notify()

    @contextmanager
    def _holding(self, seconds: float) -> Iterator[None]:
        """Count a request that a limit holds, and the time in which it holds any."""
        if not self._held:
            self._held_since = self._clock()
        self._free_at = self._clock() + seconds
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if not self._held:
                self.seconds_held += self._clock() - self._held_since

    def _wait(self, business_id: str | None) -> float | None:
        """Return the seconds until a turn may come; 0 for now, infinity or None for until something changes."""
        self._check_open()
        if self._in_flight >= self._concurrency:
            return None
        return self._limiter.wait(business_id, self._clock())

    def _check_open(self) -> None:
        if self._closed_by is not None:
            raise self._closed_by

    def is_throttled(self, business_id: str | None) -> bool:
        """Return whether a business must wait for a limit of its own, while others may go on."""
        with self._changed:
            now = self._clock()
            own, all_of_them = self._limiter.business(business_id).wait(now), self._limiter.wait_for_all(now)
        return own > all_of_them

    def refused(self, permit: Permit, retry_after: float | None) -> float:
        """Learn from a 429; return for how many seconds this request alone must wait."""
        with self._changed:
            self.refusals += 1
            delay = self._limiter.refuse(permit, self._clock(), retry_after)
            self._changed.notify_all()
        return delay

    def accepted(self, permit: Permit) -> None:
        """Learn from a response that was no refusal."""
        with self._changed:
            self._limiter.accept(permit, self._clock())
            if self._held:
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Let this thread wait before it tries again; the end of the run ends the wait.

        Raises:
            GateClosedError: the run ended while waiting; or the reason for which it did.
        """
        until = self._clock() + seconds
        with self._changed:
            self._check_open()
            while (left := until - self._clock()) > 0:
                self._changed.wait(left)
                self._check_open()

    def close(self, reason: Exception | None = None) -> None:
        """End the run: let no request in any more; those that wait raise the reason, of which the first one counts."""
        with self._changed:
            self._closed_by = self._closed_by or reason or GateClosedError("The run is over.")
            self._changed.notify_all()
