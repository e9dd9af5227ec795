"""The time for which a limit is full, and what it shows of the limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

MINUTE = 60.0
"""Seconds of a minute. Tests give Sage a shorter one, and all seconds of limits shrink with it."""


@dataclass(slots=True)
class Closure:
    """The time for which a limit is full, from the refusals that showed it.

    Attributes:
        since: when they showed it.
        refused_at: when the last refused request was sent.
        measured_since: from when on attempts that passed are counted.
        passed_before: how many passed between the closure before, not long ago, and this one.
        closed_before: when that one began.
        retry_after: what the last refusal's `Retry-After` said.
        resume_at: when the next attempt may be made.
        rounds: attempts that were refused.
        asked_at: when the last attempt was sent.
        in_flight: attempts under way.
        passed: attempts that passed since the last refused one.
        passed_in_all: attempts that passed.
    """

    since: float
    refused_at: float
    measured_since: float
    passed_before: int = 0
    closed_before: float = -math.inf
    retry_after: float | None = None
    resume_at: float = 0.0
    rounds: int = 0
    asked_at: float = -math.inf
    in_flight: int = 0
    passed: int = 0
    passed_in_all: int = 0

    def measure(
        self, began: float, earlier: list[float], free_at: float, lengths: tuple[float, float]
    ) -> tuple[int, float]:
        """Return how many requests took the places until one came free, and for how long each takes one.

        Args:
            began: when the first request was sent that may have taken one.
            earlier: when all of these were answered.
            free_at: when the first attempt that passed was sent.
            lengths: seconds that a window probably has, the likeliest first; the last ones are a minute.
        """
        closed_at, second = self.refused_at, lengths[-1] / MINUTE
        if self.retry_after is not None:
            closed_at += max(0.0, self.retry_after - second)  # which is rounded to whole seconds
        for length in lengths:
            for moment in earlier:
                if closed_at - moment <= 1.1 * length and length <= free_at - moment + second:
                    return sum(each >= moment for each in earlier), length
        minute = lengths[-1]
        if free_at - began > minute:
            return sum(moment > closed_at - minute for moment in earlier), minute
        return len(earlier), _estimate(closed_at - began, free_at - began, minute)


def _estimate(shortest: float, longest: float, minute: float) -> float:
    """Return the length that a window probably has: a minute, or whole seconds."""
    if shortest <= 1.1 * minute and 0.9 * minute <= longest:
        return minute
    second = minute / MINUTE
    whole = max(1, math.ceil(shortest / second - 1e-6)) * second
    return whole if whole <= longest else max(longest, second / 100)
