"""Reads that are started before their turn: while one is worked on, the answers of the next ones are on their way."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from singer_sdk.helpers.types import Context, Record

    from tap_sage_accounting.client import SageStream

    StartedRead = Callable[[], Iterator[Record]]


class Lookahead:
    """Starts reads in the order of the run, a bounded number ahead of the one that is worked on.

    Attributes:
        planned: how many reads the run consists of.

    Args:
        reads: streams and businesses, in the order in which they will be read.
        width: reads started ahead at most; the answers of so many first requests are held in memory.
    """

    def __init__(self, reads: Iterable[tuple[SageStream, Context | None]], width: int) -> None:
        self._to_come = deque(reads)
        self.planned = len(self._to_come)
        self._width = width
        self._started: dict[tuple[str, str | None], StartedRead] = {}

    def begin(self, stream: SageStream, context: Context | None) -> StartedRead:
        """Give the read whose turn has come, and start some that come after it."""
        key = _key(stream, context)
        started = self._started.pop(key, None)
        if started is None:
            self._to_come = deque(coming for coming in self._to_come if _key(*coming) != key)
            started = stream.start(context)
        while self._to_come and len(self._started) < self._width:
            coming = self._to_come.popleft()
            self._started[_key(*coming)] = coming[0].start(coming[1])
        return started


def _key(stream: SageStream, context: Context | None) -> tuple[str, str | None]:
    return stream.name, context["business_id"] if context else None
