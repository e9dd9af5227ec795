"""The gate that every request passes: how many are in flight, and when the next one may be sent."""

from __future__ import annotations

import bisect
import itertools
import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tap_sage_accounting.api.closure import MINUTE
from tap_sage_accounting.api.rate_limiter import Limiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tap_sage_accounting.api.permit import Permit
    from tap_sage_accounting.api.shared_limit import Usage


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
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._arrivals = itertools.count()
        self._queue: list[tuple[int, threading.Condition]] = []
        self._in_flight = 0
        self._held = 0
        self._closed_by: Exception | None = None
        self._held_since = self._free_at = 0.0
        self.requests = 0
        self.refusals = 0
        self.seconds_held = 0.0

    def requests_of_last_minute(self) -> int:
        """Count the requests of the last minute, without those that Sage refused for their number."""
        with self._lock:
            return self._limiter.application.recent(self._clock())

    def seconds_to_wait(self) -> float | None:
        """Return for how long a limit holds requests from now on, infinity for nobody knows; None if it holds none."""
        with self._lock:
            return max(0.0, self._free_at - self._clock()) if self._held else None

    @contextmanager
    def acquire(self, business_id: str | None) -> Iterator[Permit]:
        """Wait for a turn to send one request, and hold a place in flight until it is answered.

        Requests leave in the order in which they came, except for those that a limit holds.

        Raises:
            GateClosedError: the run ended while waiting; or the reason for which it did.
        """
        with self._lock:
            self._await_turn(business_id)
            permit = self._limiter.send(business_id, self._clock())
            self._in_flight += 1
            self.requests += 1
        try:
            yield permit
        finally:
            with self._lock:
                self._in_flight -= 1
                self._limiter.land(permit, self._clock())
                self._call_next()
                if self._held:
                    self._changed.notify_all()

    def _await_turn(self, business_id: str | None) -> None:
        """Wait for a place in flight, and until limits let a request go."""
        arrival = next(self._arrivals)
        self._check_open()
        while True:
            self._await_place(arrival)
            if (wait := self._limiter.wait(business_id, self._clock())) == 0:
                return
            with self._holding(wait):
                self._call_next()  # others may take the place meanwhile
                self._changed.wait(None if wait == math.inf else wait)
            self._check_open()

    def _await_place(self, arrival: int) -> None:
        """Wait until a place in flight is left by all that came before and wait for one, too."""
        turn = arrival, threading.Condition(self._lock)
        bisect.insort(self._queue, turn)
        try:
            while self._queue.index(turn) >= self._concurrency - self._in_flight:
                turn[1].wait()
                self._check_open()
        finally:
            self._queue.remove(turn)

    def _call_next(self) -> None:
        """Wake the requests for which there is a place in flight."""
        for _, called in self._queue[: max(0, self._concurrency - self._in_flight)]:
            called.notify()

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

    def _check_open(self) -> None:
        if self._closed_by is not None:
            raise self._closed_by

    def is_throttled(self, business_id: str | None) -> bool:
        """Return whether a business must wait for a limit of its own, while others may go on."""
        with self._lock:
            now = self._clock()
            own, all_of_them = self._limiter.business(business_id).wait(now), self._limiter.wait_for_all(now)
        return own > all_of_them

    def refused(self, permit: Permit, retry_after: float | None) -> float:
        """Learn from a 429; return for how many seconds this request alone must wait."""
        with self._lock:
            self.refusals += 1
            delay = self._limiter.refuse(permit, self._clock(), retry_after)
            self._changed.notify_all()
        return delay

    def accepted(self, permit: Permit) -> None:
        """Learn from a response that was no refusal."""
        with self._lock:
            self._limiter.accept(permit, self._clock())
            if self._held:
                self._changed.notify_all()

    def usage(self, beat: int) -> Usage:
        """Return what other runs of the application must know of this one, which publishes for the `beat`th time."""
        with self._lock:
            return self._limiter.usage(beat, self._clock())

    def share(self, run: str, published: Mapping[str, Usage]) -> None:
        """Leave other runs of the application their part of its limit.

        Args:
            run: the name of this run.
            published: what the others published last, by their names.
        """
        with self._lock:
            self._limiter.share(run, published, self._clock())
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Let this thread wait before it tries again; the end of the run ends the wait.

        Raises:
            GateClosedError: the run ended while waiting; or the reason for which it did.
        """
        until = self._clock() + seconds
        with self._lock:
            self._check_open()
            while (left := until - self._clock()) > 0:
                self._changed.wait(left)
                self._check_open()

    def close(self, reason: Exception | None = None) -> None:
        """End the run: let no request in any more; those that wait raise the reason, of which the first one counts."""
        with self._lock:
            self._closed_by = self._closed_by or reason or GateClosedError("The run is over.")
            self._changed.notify_all()
            for _, waiting in self._queue:
                waiting.notify()
