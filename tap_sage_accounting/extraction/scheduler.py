"""Reads that are started before their turn: while one is processed, the responses of the next ones are on their way.

Records leave read by read, in the order of the run. While a limit of its own throttles a business, the others of the
stream go on, page by page.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tap_sage_accounting.extraction.prefetch import PageBudget, PagesAhead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context

    from tap_sage_accounting.records.row_decoder import Item

    Batches = Iterator[Iterable[Item]]
    Key = tuple[str, str | None]

READS_PER_REQUEST = 4
"""Reads started before their turn, for each request that may be in flight, once the size of pages is known."""
PAGES_PER_REQUEST = 2
"""Pages of one list requested ahead of their use, for each request that may be in flight: one may be late."""
CHECK_INTERVAL = 0.2
"""Seconds to wait for a response before looking whether another business can go on meanwhile."""


@dataclass(frozen=True, slots=True)
class StartedRead:
    """A read whose first requests are on their way.

    Attributes:
        batches: yields its records, in batches, and raises what goes wrong.
        awaited: returns the response that the next batch waits for, None where it waits for none that was requested.
    """

    batches: Batches
    awaited: Callable[[], Future[Any] | None]

    @property
    def is_ready(self) -> bool:
        """Whether the next batch need not be waited for."""
        response = self.awaited()
        return response is None or response.done()


class ReadableStream(Protocol):
    """A stream whose reads can be started."""

    @property
    def name(self) -> str:
        """Its name."""

    def start(self, context: Context | None) -> StartedRead:
        """Send the first requests of the read of one business."""


class ReadScheduler:
    """Starts reads in the order of the run, a bounded number ahead of the one that is worked on.

    Attributes:
        planned: how many reads the run consists of.
        budget: the memory for pages ahead of their use.

    Args:
        reads: streams and businesses, in the order in which they will be read.
        concurrency: requests that may be in flight.
        is_throttled: returns whether a limit of its own throttles a business.
    """

    def __init__(
        self,
        reads: Iterable[tuple[ReadableStream, Context | None]],
        concurrency: int,
        is_throttled: Callable[[str | None], bool],
    ) -> None:
        self._to_come = deque(reads)
        self.planned = len(self._to_come)
        self.budget = PageBudget()
        self._concurrency = concurrency
        self._is_throttled = is_throttled
        self._started: dict[Key, StartedRead] = {}
        self._begun: set[Key] = set()
        self._finished: set[Key] = set()

    def pages_ahead(self, business_id: str | None) -> PagesAhead:
        """Return how many pages of a list may be requested ahead of their use: few while others need the threads."""
        if self._is_throttled(business_id):
            return PagesAhead(1, 1)
        return PagesAhead(max(1, self._concurrency // max(1, len(self._begun))), PAGES_PER_REQUEST * self._concurrency)

    def records(self, stream: ReadableStream, context: Context | None) -> Batches:
        """Yield what a read brings, and what others of its stream bring while it is throttled; end when it ends."""
        own = _key(stream, context)
        if own not in self._finished:
            self._start(own, stream, context)
        while own not in self._finished:
            key = self._choose(own)
            self._begun.add(key)
            batch = next(self._started[key].batches, None)
            if batch is None:
                self._finish(key)
            else:
                self.budget.serve()
                yield batch

    def _start(self, key: Key, stream: ReadableStream, context: Context | None) -> None:
        if key not in self._started:
            self._to_come = deque(coming for coming in self._to_come if _key(*coming) != key)
            self._started[key] = stream.start(context)
        self._start_ahead()

    def _start_ahead(self) -> None:
        self.budget.serve()
        per_request = READS_PER_REQUEST if self.budget.first_page else min(READS_PER_REQUEST, 1)
        while self._to_come and len(self._started) <= per_request * self._concurrency and self.budget.has_room:
            stream, context = self._to_come.popleft()
            self._started[_key(stream, context)] = stream.start(context)

    def _finish(self, key: Key) -> None:
        del self._started[key]
        self._begun.discard(key)
        self._finished.add(key)
        self._start_ahead()

    def _choose(self, own: Key) -> Key:
        """Wait for a read that can go on: this one, or another of its stream while a limit throttles this one."""
        read = self._started[own]
        while not read.is_ready:
            waiting = {own: read}
            if self._is_throttled(own[1]):
                waiting |= {key: other for key, other in self._started.items() if key[0] == own[0]}
                if ready := next((key for key, other in waiting.items() if other.is_ready), None):
                    return ready
            responses = [response for each in waiting.values() if (response := each.awaited()) is not None]
            wait(responses, CHECK_INTERVAL, FIRST_COMPLETED)
        return own


def _key(stream: ReadableStream, context: Context | None) -> Key:
    return stream.name, context["business_id"] if context else None
