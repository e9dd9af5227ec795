"""A limit that several runs of an application share: what each uses, and how many places are whose.

Refusals alone do not show runs their shares: each keeps finding its limit full, and is refused for it. So runs with
one token store publish what they send. Those that wait for places divide equally what the others leave.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SLACK = 1.05
"""How far beyond its share a run may seem to be: what is known of it may be two seconds old."""
SILENCE = 10.0
"""Seconds after which a run that published nothing counts as gone."""


class Usage(NamedTuple):
    """What one run published last.

    Attributes:
        beat: how many times it published.
        sent: requests that were not refused, since the run began.
        recent: those of them that take a place of the limit now.
        is_waiting: whether requests waited for places not long ago.
        limit: places of the application's limit; None where the run knows of none.
        length: seconds for which a request takes a place.
        rate: requests a second, where places come free one by one; None where that is not known.
        is_closed: whether the limit is full, so that the run tries one request at a time.
    """

    beat: int
    sent: int
    recent: tuple[int, ...]
    is_waiting: bool
    limit: int | None
    length: float
    rate: float | None
    is_closed: bool
    version: int

    @property
    def knows_limit(self) -> bool:
        """Return whether the run knows how much the application may send."""
        return self.limit is not None or self.rate is not None


@dataclass
class OtherRun:
    """Another run, as seen from this one.

    Attributes:
        usage: what it published last.
        seen_at: when that was seen first.
        moments: about when its requests were sent.
    """

    usage: Usage
    seen_at: float
    moments: deque[float] = field(default_factory=deque)

    @property
    def is_waiting(self) -> bool:
        return self.usage.is_waiting

    def taken(self, since: float) -> int:
        return sum(moment > since for moment in self.moments)


@dataclass
class OtherRuns:
    """The other runs of the application."""

    alive: dict[str, OtherRun] = field(default_factory=dict)
    gone: list[OtherRun] = field(default_factory=list)

    def see(self, published: Mapping[str, Usage], now: float) -> None:
        """Take in what others published."""
        for name, usage in published.items():
            run = self.alive.get(name)
            if run is None:
                run = self.alive[name] = OtherRun(usage, now)
                for age, count in reversed(list(enumerate(usage.recent))):
                    spread(run.moments, count, now - (age + 1), now - age)
            elif usage.beat != run.usage.beat:
                spread(run.moments, usage.sent - run.usage.sent, run.seen_at, now)
                run.usage, run.seen_at = usage, now
        for name, run in list(self.alive.items()):
            if name not in published or now - run.seen_at > SILENCE:
                self.gone.append(self.alive.pop(name))

    def forget(self, until: float) -> None:
        for run in [*self.alive.values(), *self.gone]:
            while run.moments and run.moments[0] <= until:
                run.moments.popleft()
        self.gone = [run for run in self.gone if run.moments]

    def moments(self) -> Iterator[float]:
        for run in [*self.alive.values(), *self.gone]:
            yield from run.moments

    def taken_by_idle(self, since: float) -> int:
        return sum(run.taken(since) for run in self.gone) + sum(
            run.taken(since) for run in self.alive.values() if not run.is_waiting)

    def waiting(self) -> dict[str, OtherRun]:
        return {name: run for name, run in self.alive.items() if run.is_waiting}

    def leader(self, name: str, own_knows: bool) -> Usage | None:
        """Return what the run published that tries whether there is more; None where this run is the one."""
        leaders = [(not run.usage.knows_limit, key) for key, run in self.waiting().items() if run.usage.knows_limit or run.usage.is_closed]
        best = min([*leaders, (not own_knows, name)])
        return None if best[1] == name else self.alive[best[1]].usage

    def newest(self, version: int) -> Usage | None:
        found = [run.usage for run in self.alive.values() if run.usage.knows_limit and run.usage.version > version]
        return max(found, key=lambda usage: usage.version, default=None)

    def places(self, name: str, limit: int, since: float) -> int:
        """Return how many of a limit's places are this run's now."""
        if not self.alive and not self.gone:
            return limit
        free = limit - self.taken_by_idle(since)
        waiting = self.waiting()
        whole, rest = divmod(max(free, 0), len(waiting) + 1)
        rank = sorted([*waiting, name]).index(name)
        for run in waiting.values():
            taken = run.taken(since)
            free -= taken if taken > whole * SLACK + 1 else whole
        return max(0, min(whole + (rank < rest), free))

    def part(self, name: str, rate: float, now: float) -> float:
        """Return the part of a rate that is this run's."""
        ten = [run for run in self.alive.values() if not run.is_waiting]
        idle = sum(run.taken(now - 10) for run in ten) / 10
        return max(1 - idle / rate, 0.05) / (len(self.waiting()) + 1)


def spread(moments: deque[float], count: int, since: float, until: float) -> None:
    """Add a number of requests, evenly over a time."""
    if count < 0:
        for _ in range(min(-count, len(moments))):
            moments.pop()
    moments.extend(since + (until - since) * (number + 0.5) / count for number in range(count))
