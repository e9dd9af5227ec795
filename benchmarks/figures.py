"""What the figures are made of: bounds, rates, medians, sets of records. Nothing here runs anything."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.sage import Request

Figures = dict[str, float]
TOO_MANY_REQUESTS = 429


class _RecordMessage(msgspec.Struct):
    stream: str
    record: msgspec.Raw


def lower_bound(rows: Mapping[str, Mapping[str, int]], streams: Iterable[str], page_size: int) -> int:
    """Count the requests without which the lists of all businesses cannot be read: an empty list takes one, too."""
    wanted = list(streams)
    return sum(max(1, math.ceil(lists.get(name, 0) / page_size)) for lists in rows.values() for name in wanted)


def medians(runs: Sequence[Figures]) -> Figures:
    """Take the median of each figure that all runs have."""
    names = [name for name in runs[0] if all(name in run for run in runs)]
    return {name: statistics.median(run[name] for run in runs) for name in names}


def in_flight(requests: Sequence[Request]) -> int:
    """Return how many requests waited for their answers at one time, at most."""
    steps = sorted([(each.start, 1) for each in requests] + [(each.end, -1) for each in requests])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def reading_seconds(requests: Sequence[Request]) -> float:
    """Return how long the lists took, from the first request for one to the last answer: no start-up, no log-in."""
    lists = [each for each in requests if each.business is not None]
    return max(each.end for each in lists) - min(each.start for each in lists) if lists else 0.0


def settled_share(requests: Sequence[Request], limit: int, minute: float, after: int) -> float | None:
    """Return how much of a limit was used once the client had settled, of the whole minutes `after` the first ones.

    Returns:
        1.0 for all that the limit lets through; None if the run was too short to know.
    """
    if not requests:
        return None
    began = min(each.start for each in requests) + after * minute
    whole = math.floor((max(each.start for each in requests) - began) / minute)
    if whole < 1:
        return None
    passed = sum(began <= each.start < began + whole * minute and each.status != TOO_MANY_REQUESTS for each in requests)
    return passed / (limit * whole)


def refused_share(requests: Sequence[Request], minute: float, after: int = 1) -> float:
    """Return which part of the requests was refused, of those `after` the first minutes."""
    if not requests:
        return 0.0
    began = min(each.start for each in requests) + after * minute
    later = [each for each in requests if each.start >= began]
    return sum(each.status == TOO_MANY_REQUESTS for each in later) / len(later) if later else 0.0


def record_set(lines: Iterable[bytes]) -> Counter[tuple[str, bytes]]:
    """Collect the records of a tap's output, byte for byte (as digests), with how often each came."""
    read = msgspec.json.Decoder(_RecordMessage).decode
    return Counter(
        (message.stream, hashlib.sha256(bytes(message.record)).digest())
        for message in (read(line) for line in lines if line.startswith(b'{"type":"RECORD"'))
    )
