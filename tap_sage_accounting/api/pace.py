"""Requests at a rate, where a limit frees its places one by one: what was measured, and what is tried beyond it."""

from __future__ import annotations

import math

FIRST_PATIENCE = 100.0
"""Answers after which twice of a rate is tried, before Sage refused that once."""
VOID = 9.0
"""What is tried beyond a rate, in multiples of it, from which on there is no such limit."""
SAMPLE = 25
"""Requests from which on a rate is measured anew."""
STRAYS = 0.04
"""Part of the requests that may be refused by mishap."""
SLIGHT = 0.5
"""Requests tried beyond a rate in all, from which on they may be why Sage refused."""
TRUST = 0.7
"""Part of the way from what passed to what was refused, at which requests go on where a limit refuses at once."""
EARLY = 0.1
"""Part of a rate tried beyond it, below which a refusal shows that it was not at once."""
LONGEST_GAP = 10.0
"""Seconds without an answer that count as answers, where requests are slow; and that end a measurement."""


def patience_of(rate: float) -> float:
    """Return after how many answers twice of a rate (a second) is tried: sooner, if it is below the standard."""
    return 300 * min(1.0, rate) + 30 * rate


class Growth:
    """How much more than is known is tried: next to nothing at first, then faster and faster.

    Others may have used a part of the limit, or an outage looked like one: then there is more, and it is found. Where
    there is not, the first refusals end the trial.

    Args:
        patience: answers after which as much as is known is tried in addition.
        second: seconds that Sage's second has.
    """

    def __init__(self, patience: float, second: float) -> None:
        self._patience = patience
        self._second = second
        self._answers = 0.0
        self._answered_at = math.inf

    @property
    def part(self) -> float:
        """What is tried beyond what is known, as a part of it."""
        return (self._answers / self._patience) ** 4

    def accept(self, now: float) -> None:
        """Count an answer; or the seconds since the last one, if these are more."""
        self._answers += min(max((now - self._answered_at) / self._second, 1.0), LONGEST_GAP)
        self._answered_at = now


class Pace:
    """The times of requests at a rate.

    Args:
        rate: requests a second.
        now: when the limit was last known to be full.
        second: seconds that Sage's second has.
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
        """Return whether so much more was answered that there is no limit of this rate."""
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
        """Count an answer."""
        self._growth.accept(now)

    def refuse(self, sent_at: float, *, is_lone: bool) -> None:
        """Slow down to what passed since the limit was full before, unless the refusal may be a mishap."""
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
