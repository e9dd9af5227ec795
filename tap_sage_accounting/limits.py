"""How fast we may ask: requests in flight, requests a minute, and what Sage's refusals teach."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MINUTE = 60.0
HIGHEST_RATE = 900.0
"""Requests a minute: Sage's published 1,296,000 a day and application, spread evenly."""
LOWEST_RATE = 6.0


class GateClosedError(RuntimeError):
    """The run is over: no further request may be sent."""


class RequestGate:
    """The one door through which every request of a run goes, whatever stream, business or thread it comes from.

    Nothing is refused at first, so nothing but the ceiling slows the requests. A refusal (429) halves the rate that was
    just too fast; from then on the rate grows by a tenth for every minute without another refusal.

    Args:
        concurrency: requests in flight at most.
        per_minute: a ceiling for the requests of any 60 seconds; None for Sage's published limit.
        clock: seconds, monotonic.
    """

    def __init__(
        self, *, concurrency: int, per_minute: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._concurrency = concurrency
        self._ceiling = min(float(per_minute or HIGHEST_RATE), HIGHEST_RATE)
        self._clock = clock
        self._changed = threading.Condition()
        self._in_flight = 0
        self._sent: deque[float] = deque()
        self._rate: float | None = None
        self._next_turn = clock()
        self._closed = False
        self.requests = 0
        self.refusals = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn to send one request, and hold a place in flight until it is answered.

        Raises:
            GateClosedError: the run ended while waiting.
        """
        with self._changed:
            while (wait := self._wait()) != 0:
                self._changed.wait(wait)
            now = self._clock()
            self._sent.append(now)
            if self._rate is not None:
                self._next_turn = max(self._next_turn, now) + MINUTE / self._rate
            self._in_flight += 1
            self.requests += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _wait(self) -> float | None:
        """Seconds until a turn may come; 0 for now, None for as long as it takes until something changes."""
        if self._closed:
            raise GateClosedError("The run is over.")
        if self._in_flight >= self._concurrency:
            return None
        now = self._clock()
        while self._sent and self._sent[0] <= now - MINUTE:
            self._sent.popleft()
        full = self._sent[0] + MINUTE - now if len(self._sent) >= self._ceiling else 0.0
        return max(full, self._next_turn - now, 0.0)

    def refused(self, retry_after: float | None) -> None:
        """Learn from a 429: slow down to half of what was too much, and pause as long as Sage asks."""
        with self._changed:
            now = self._clock()
            self.refusals += 1
            if now >= self._next_turn or self._rate is None:
                lately = self._rate or float(len(self._sent))
                self._rate = max(LOWEST_RATE, min(self._ceiling, lately) / 2)
            pause = retry_after if retry_after is not None else MINUTE / self._rate
            self._next_turn = max(self._next_turn, now + pause)
            self._changed.notify_all()

    def accepted(self) -> None:
        """Note an answer that was no refusal: the rate may grow, by a tenth for every minute's worth of them."""
        with self._changed:
            if self._rate is not None:
                self._rate = min(self._ceiling, self._rate + 0.1)

    def pause(self, seconds: float) -> None:
        """Let this thread wait before it tries again; the end of the run ends the wait.

        Raises:
            GateClosedError: the run ended while waiting.
        """
        until = self._clock() + seconds
        with self._changed:
            while not self._closed and (left := until - self._clock()) > 0:
                self._changed.wait(left)
            if self._closed:
                raise GateClosedError("The run is over.")

    def close(self) -> None:
        """End the run: wake everybody who waits, let nobody in any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
