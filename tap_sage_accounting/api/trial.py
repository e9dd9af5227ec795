"""Requests beyond a known limit, which show whether the limit is higher."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tap_sage_accounting.api.permit import Permit

PATIENCE = 200.0
"""Responses at a known limit before one request more is tried: fewer bring more refusals, more find a rise later."""
MOST_PATIENCE = 4 * PATIENCE
"""Most of these responses. They double whenever trials passed although the limit had not changed.

They pass wherever a fixed window begins.
"""
LONGEST_GAP = 10.0
"""Most seconds without a response that count as one response each: slow runs reach a trial, too."""


class Trial:
    """Tries one request more than the limit from time to time, and two more for each that passes.

    Attributes:
        extra: how many more than the limit may be sent.
        permits: those of them that are under way.
    """

    def __init__(self, second: float) -> None:
        self.extra = 0
        self.permits: list[Permit] = []
        self._second = second
        self._patience = PATIENCE
        self._until_due = 0.0
        self._is_new = self._has_succeeded = False
        self._answered_at = 0.0

    @property
    def is_due(self) -> bool:
        """Return whether a request may be tried, as soon as the limit is full."""
        return not self.extra and self._until_due <= 0

    @property
    def has_erred(self) -> bool:
        """Return whether trials passed although the limit is what it was."""
        return self._patience > PATIENCE

    def rest(self, rate: float) -> None:
        """Try nothing for a number of responses, or for fewer where the limit is below the standard.

        Args:
            rate: the limit as a part of the standard.
        """
        self._until_due = self._patience * min(1.0, rate)
        self._is_new = self._has_succeeded = False
        self.extra = 0
        self.permits.clear()

    def begin(self) -> None:
        """Try soon, because the limit was seen only once."""
        self._patience = PATIENCE
        self.rest(0.0)
        self._is_new = True

    def succeed(self) -> None:
        """End a trial that found no limit."""
        self.rest(1.0)
        self._has_succeeded = True

    def confirm(self, rate: float) -> None:
        """Rest, because the limit was seen again; for longer than before if a trial had found none."""
        self._patience = min(2 * self._patience, MOST_PATIENCE) if self._has_succeeded else PATIENCE
        self.rest(rate)

    def wait(self, wait: float, since_sent: float, round_trip: float) -> float:
        """Return for how many seconds nothing may be tried.

        A new limit is tried as soon as it is full. Later trials wait for the middle of the time without a free place.
        They also show whether places are taken for a shorter time. If that is too short to be certain, trials wait.

        Args:
            wait: seconds until a place comes free.
            since_sent: seconds since the last request.
            round_trip: the shortest, in seconds.
        """
        is_certain = since_sent + wait > 2 * round_trip
        if self._until_due <= -PATIENCE or (self._is_new and is_certain):
            return 0.0
        return max((wait - since_sent) / 2, 0.0) if is_certain else wait

    def send(self, permit: Permit) -> None:
        """Count a request beyond the limit."""
        self.permits.append(permit)
        self.extra = max(self.extra, 1)

    def accept(self, permit: Permit, now: float) -> None:
        """Count a response; or the seconds since the last one, if these are more."""
        if permit in self.permits:
            self.permits.remove(permit)
            self.extra += 2
        else:
            self._until_due -= min(max((now - self._answered_at) / self._second, 1.0), LONGEST_GAP)
        self._answered_at = now

    def refuse(self, rate: float) -> None:
        """End a trial: the limit holds. A new limit is tried once more, in the middle of the time without a place."""
        self.rest(0.0 if self._is_new else rate)
