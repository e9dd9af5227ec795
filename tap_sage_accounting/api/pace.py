"""The pace of requests where a limit frees places one by one: the measured rate, and trials beyond it."""

from __future__ import annotations

import math

FIRST_PATIENCE = 100.0
"""Responses until twice the rate is tried, while Sage has not refused a request at that rate."""
VOID = 9.0
"""Multiples of the rate, tried beyond it, from which on no limit of that rate exists."""
SAMPLE = 25
"""Requests before a rate is measured again: fewer measure it too roughly."""
STRAYS = 0.04
"""Part of the requests whose refusals may be accidents, and slow nothing down."""
SLIGHT = 0.5
"""Requests tried beyond the rate, in all, from which on they may have caused a refusal."""
TRUST = 0.7
"""The next rate between the one that passed (0) and the refused one (1), if a limit refuses at once."""
EARLY = 0.1
"""Part of the rate tried beyond it: a refusal at less shows that the limit does not refuse at once."""
LONGEST_GAP = 10.0
"""Most seconds without a response that count as one response each. A longer gap also ends a measurement."""


def patience_of(rate: float) -> float:
    """Return after how many responses twice a rate (requests a second) is tried: fewer below the standard."""
    return 300 * min(1.0, rate) + 30 * rate


class Growth:
    """The part of a known rate that is tried beyond it: it grows slowly at first, then faster and faster.

    Others may have used a part of the limit, or an outage looked like one. Then trials find the rest. Otherwise the
    first refusals end them.

    Args:
        patience: responses after which twice the known rate is tried.
        second: the length of Sage's second, in seconds.
    """

    def __init__(self, patience: float, second: float) -> None:
        self._patience = patience
        self._second = second
        self._answers = 0.0
        self._answered_at = math.inf

    @property
    def part(self) -> float:
        """The part of the known rate that is tried beyond it."""
        return (self._answers / self._patience) ** 4

    def accept(self, now: float) -> None:
        """Count a response; or the seconds since the last one, if these are more."""
        self._answers += min(max((now - self._answered_at) / self._second, 1.0), LONGEST_GAP)
        self._answered_at = now


class Pace:
    """The times of requests at a rate.

    Args:
        rate: requests a second.
        now: when the limit was last known to be full.
        second: the length of Sage's second, in seconds.
        is_confirmed: whether Sage refused requests at a pace before.
    """

    def __init__(self, rate: float, now: float, second: float, *, is_confirmed: bool = False) -> None:
        self.rate = rate
        self.next_at = now + 1 / rate
        self._second = second
        self._is_confirmed = is_confirmed
        self._slowed_at = -math.inf
        self._steady = self._strays = 0
        self._is_sudden = True  # a short window refuses the first request too many, a bucket only when it is empty
        self._measure_from(now)

    def _measure_from(self, now: float) -> None:
        self._full_at: float | None = now
        self._sent = self._refused = 0
        self._surplus = 0.0
        patience = patience_of(self.rate * self._second) if self._is_confirmed else FIRST_PATIENCE
        self._growth = Growth(patience, self._second)

    @property
    def is_void(self) -> bool:
        """Return whether so much more was accepted that no limit of this rate exists."""
        return self._growth.part > VOID

    def send(self, now: float) -> None:
        """Count a request."""
        if now > self.next_at + LONGEST_GAP * self._second:
            self._full_at = None
        self._sent += 1
        self._steady += self._surplus < SLIGHT
        self._surplus += self._growth.part
        self.next_at = max(self.next_at, now - 1 / self.rate) + 1 / (self.rate * (1 + self._growth.part))

    def accept(self, now: float) -> None:
        """Count a response."""
        self._growth.accept(now)

    def refuse(self, sent_at: float, *, is_lone: bool) -> None:
        """Slow down to the rate that passed since the limit was last full, unless the refusal may be an accident."""
        if sent_at <= self._slowed_at:
            return  # under way when another one was refused
        self._refused += 1
        if self._may_be_stray() and is_lone:
            return
        if self._full_at is not None:
            if self._sent < SAMPLE:
                return
            measured = (self._sent - self._refused) / (sent_at - self._full_at)
            tried = self.rate * (1 + self._growth.part)
            self._is_confirmed = self._growth.part < SLIGHT
            self._is_sudden = self._is_sudden and self._growth.part > EARLY
            part = (TRUST if self._is_sudden else 0.0) if self._is_confirmed else 0.5
            self.rate = measured + part * (tried - measured)
        self._slowed_at = sent_at
        self._measure_from(sent_at)

    def _may_be_stray(self) -> bool:
        if self._surplus >= SLIGHT:
            return self._refused <= 1.5 * self._strays / max(self._steady, 1) * self._sent
        if self._refused <= 2 + STRAYS * self._sent:
            self._strays += 1
            return True
        self._strays = self._steady = 0
        return False
