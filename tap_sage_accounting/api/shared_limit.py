"""The application's limit when several runs use it at once: what the others use, and how many places this run has.

Refusals alone do not show a run its share: all of them keep finding the limit full. So runs publish what they send.
Those that wait for places divide equally what the others leave, and none tries for more than that. Where places come
free one by one, there are none to divide: each run finds its pace by itself.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SLACK = 1.05
"""How far beyond its share a run may seem to be: what is known of it is up to two seconds old."""
MOST = 10_000_000
"""The largest number in what a run publishes; larger ones, and negative ones, are nonsense."""
LONGEST = 60.0
"""Seconds of the longest window that a run finds."""
MIN_LIMIT = 10
"""The lowest limit that a run finds."""
MOST_AGES = 100
"""The most ages of requests: seconds of a minute, and some more."""
MOST_AT_ONCE = 10_000
"""The most requests that are taken for sent in one period, of which few are longer than a second, or in a minute."""
SPARE = 2
"""Places that a run which waits for none has beyond those that it uses, so that it need not wait."""
GROWTH = 1.25
"""The part of its requests for which it has places: it may need some more soon."""
UNCERTAIN = 1.5
"""Seconds by which another run's request may have been sent later than it seems."""


class Usage(NamedTuple):
    """What a run publishes of its requests.

    Attributes:
        beat: how often it published.
        sent: requests that were not refused, since the run began.
        recent: those that take a place now, by age: the first number counts those of the last second.
        is_over: whether the run ended, so that this is the last.
        is_waiting: whether requests waited for places not long ago.
        is_closed: whether the limit was found full, and it is not known until when.
        is_paced: whether places come free one by one.
        limit: places of the application's limit; None where the run knows none.
        length: seconds for which a request takes a place.
        version: which of several findings about the limit is the newest.
    """

    beat: int
    sent: int
    recent: tuple[int, ...]
    is_over: bool
    is_waiting: bool
    is_closed: bool
    is_paced: bool
    limit: int | None
    length: float
    version: int

    def write(self) -> str:
        """Return this as JSON."""
        return json.dumps(self._asdict())

    @classmethod
    def read(cls, text: str) -> Usage | None:
        """Return what a run published; None where another version of the tap did, which says other things."""
        try:
            usage = cls(**json.loads(text))
            counts = usage.beat, usage.sent, usage.version, *usage.recent, usage.limit or MIN_LIMIT
            is_valid = all(isinstance(count, int) and 0 <= count <= MOST for count in counts)
            is_valid = is_valid and len(usage.recent) <= MOST_AGES and sum(usage.recent) <= MOST_AT_ONCE
            is_valid = is_valid and 0 < usage.length <= LONGEST and (usage.limit is None or usage.limit >= MIN_LIMIT)
        except (TypeError, ValueError, RecursionError):
            return None
        return usage._replace(recent=tuple(usage.recent)) if is_valid else None


@dataclass
class OtherRun:
    """Another run, as seen from this one.

    Attributes:
        usage: what it published last.
        seen_at: when that was first seen.
        moments: when its requests were sent, approximately.
    """

    usage: Usage
    seen_at: float
    moments: deque[float] = field(default_factory=deque)

    def add(self, count: int, since: float, until: float) -> None:
        """Add requests that were sent in some period; a negative number was counted and then refused."""
        for _ in range(min(-count, len(self.moments))):
            self.moments.pop()
        count = min(count, MOST_AT_ONCE)
        self.moments.extend(since + (until - since) * (number + 0.5) / count for number in range(count))

    def taken(self, since: float) -> int:
        """Count the requests after a moment."""
        return sum(moment > since for moment in self.moments)


class OtherRuns:
    """The runs beside this one.

    Args:
        second: the length of Sage's second, in seconds.
    """

    def __init__(self, second: float) -> None:
        self._second = second
        self._name = ""
        self._alive: dict[str, OtherRun] = {}
        self._ended: dict[str, OtherRun] = {}

    def see(self, name: str, published: Mapping[str, Usage], now: float) -> None:
        """Learn what others published.

        Args:
            name: of this run.
            published: the newest of each other run, by its name.
            now: when it was read.
        """
        self._name = name
        for other, usage in published.items():
            if other in self._ended:
                continue
            if (run := self._alive.get(other)) is None:
                self._alive[other] = self._meet(usage, now)
            elif usage.beat != run.usage.beat:
                run.add(usage.sent - run.usage.sent, run.seen_at, now)
                run.usage, run.seen_at = usage, now
        for other, run in [*self._alive.items()]:
            if other not in published or run.usage.is_over:
                self._ended[other] = self._alive.pop(other)

    def _meet(self, usage: Usage, now: float) -> OtherRun:
        run = OtherRun(usage, now)
        for age in reversed(range(len(usage.recent))):
            run.add(usage.recent[age], now - (age + 1) * self._second, now - age * self._second)
        return run

    def forget(self, until: float) -> None:
        """Forget requests until a moment."""
        for run in (*self._alive.values(), *self._ended.values()):
            while run.moments and run.moments[0] <= until:
                run.moments.popleft()
        self._ended = {name: run for name, run in self._ended.items() if run.moments}

    def moments(self) -> Iterator[float]:
        """Yield when others sent requests, approximately."""
        for run in (*self._alive.values(), *self._ended.values()):
            yield from run.moments

    def _waiting(self) -> dict[str, OtherRun]:
        if any(run.usage.is_paced for run in self._alive.values()):
            return {}
        return {name: run for name, run in self._alive.items() if run.usage.is_waiting}

    @property
    def are_waiting(self) -> bool:
        """Return whether the limit is divided."""
        return bool(self._waiting())

    @property
    def are_trying(self) -> bool:
        """Return whether another run tries from time to time whether the limit is higher, so that this one need not."""
        return any(name < self._name for name in self._waiting())

    @property
    def are_probing(self) -> bool:
        """Return whether another run finds out when a full limit has places again, so that this one need not."""
        return any(run.usage.is_closed and name < self._name for name, run in self._waiting().items())

    def finding(self, version: int) -> Usage | None:
        """Return the usage with a newer limit than this run's; of two that were found at once, one run's counts."""
        found = {(-run.usage.version, name): run.usage for name, run in self._waiting().items() if run.usage.limit}
        newest = min(found, default=(-version, self._name))
        return found[newest] if newest < (-version, self._name) else None

    def places(self, limit: int, since: float) -> int:
        """Return how many places of a limit are this run's; a request takes one if it was sent after a moment.

        Those that others have beyond their share are nobody's until they come free.
        """
        waiting, since = self._waiting(), since - UNCERTAIN * self._second
        idle = [run.taken(since) for name, run in self._alive.items() if name not in waiting]
        ended = sum(run.taken(since) for run in self._ended.values())
        left = max(limit - ended - sum(SPARE + int(GROWTH * each) for each in idle), 0)
        share, rest = divmod(left, len(waiting) + 1)
        taken = [run.taken(since) for run in waiting.values()]
        left -= sum(each if each > share * SLACK + 1 else share for each in taken)
        is_among_first = sum(name < self._name for name in waiting) < rest
        return max(0, min(share + is_among_first, left))
