"""Requests beyond a limit, which show whether there is more of it than is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tap_sage_accounting.api.permit import Permit

PATIENCE = 200.0
"""Answers at a known limit after which a request more is tried."""
LONGEST_GAP = 10.0
"""Seconds without an answer that count as answers, where requests are slow."""


class Trial:
    """A request more than the limit now and then, and two more for each that passes.

    Attributes:
        extra: how many more than the limit may be sent.
        permits: those of them that are under way.
    """

    def __init__(self, second: float) -> None:
        self.extra = 0
        self.permits: list[Permit] = []
        self._second = second
        self._until_due = 0.0
        self._is_new = False
        self._answered_at = 0.0

    @property
    def is_due(self) -> bool:
        """Return whether a request may be tried, as soon as the limit is full."""
        return not self.extra and self._until_due <= 0

    def rest(self, rate: float) -> None:
        """Try nothing for some answers; for fewer, if the limit is below the standard, of which it is the part."""
        self._until_due = PATIENCE * min(1.0, rate)
        self._is_new = False
        self.extra = 0
        self.permits.clear()

    def begin(self) -> None:
        """Try soon: the limit was seen a single time."""
        self.rest(0.0)
        self._is_new = True

    def wait(self, wait: float, since_sent: float, round_trip: float) -> float:
        """Return for how many seconds nothing may be tried.

        A limit that is new is tried as soon as it is full. Later, the middle of the time without a place shows also
        whether places are taken for shorter. Where that time is too short to be certain of it, there is no hurry.

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
        """Count an answer; or the seconds since the last one, if these are more."""
        if permit in self.permits:
            self.permits.remove(permit)
            self.extra += 2
        else:
            self._until_due -= min(max((now - self._answered_at) / self._second, 1.0), LONGEST_GAP)
        self._answered_at = now

    def refuse(self, rate: float) -> None:
        """End a trial: the limit holds. A new one is tried once more, in another way."""
        self.rest(0.0 if self._is_new else rate)
