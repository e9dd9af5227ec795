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


def waiting_bound(requests: int, in_flight: int, latency: float) -> float:
    """Return the seconds that waiting takes at least, with a token, the businesses and a first page before all else."""
    return (math.ceil(requests / in_flight) + 3) * latency


def refused_share(requests: Sequence[Request], minute: float, after: float = 1) -> float:
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
