"""When states are written: little is read again after a kill, and states stay a small part of the output.

A state grows with streams and businesses, and most with the ids of lists whose deletions Sage does not report. So one
is written when many times its size was written since the last one.

A row of such a list must not be delivered before a state that holds its id. A run that is killed in between would have
delivered a row that the next run does not know. Such rows are held until a state is due, and leave right after it. Only
then does the state take over the result of their read.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from singer_sdk.contrib.msgspec import encoder
from singer_sdk.helpers._state import StateWriter
from singer_sdk.singerlib import RecordMessage, StateMessage
from typing_extensions import override

from tap_sage_accounting.exceptions import NoRoomError
from tap_sage_accounting.run.held_rows import HeldRows
from tap_sage_accounting.run.writer import WholeMessageWriter

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from singer_sdk.helpers.types import TapState
    from singer_sdk.singerlib.encoding.base import GenericSingerWriter

    from tap_sage_accounting.records.row_decoder import Item

PACE = 20
"""Bytes of records that are written for each byte of a state, while a run lasts."""
PATIENCE = 900.0
"""Seconds after which a state is written however little was: a slow run would lose too much by a kill."""
ROW = 200
"""Bytes that a record is taken for, where the writer does not count them."""
NEXT_LOOK = 1.25
"""By how much more must be written before the state is measured again: that takes time, too."""


class Tracker:
    """Knows which rows of a list were delivered; this one need not know, as no state has to name them."""

    def track_before_delivery(self, items: Sequence[Item]) -> bool:  # noqa: ARG002
        """Track rows before they are delivered; return whether a state must name them first."""
        return False

    def write_to_state(self) -> None:
        """Name the rows in the state that were delivered, or are about to be."""

    def snapshot(self) -> str | None:
        """Return what the state names now."""
        return None

    def restore(self, snapshot: str | None) -> None:
        """Let the state name no more than it did: rows since then are not delivered."""


class Checkpoints(StateWriter):
    """Writes the states of a run, and the rows that wait for them.

    Attributes:
        patience: seconds after which a state is written however little was; 0 writes one at each occasion.
    """

    def __init__(self, writer: GenericSingerWriter[Any, Any], state: TapState, patience: float) -> None:
        super().__init__(writer)
        self.patience = patience
        self._writer = writer
        self._state = state
        self._held = HeldRows()
        self._is_holding = False
        self._to_name: set[Tracker] = set()
        self._named_before: dict[Tracker, str | None] = {}
        self._unfinished: list[Callable[[], None]] = []
        self._records = 0
        self._written = 0
        self._look_after = 0.0
        self._due_at = time.monotonic() + patience
        self._last: int | None = None

    # States

    @override
    def write_state(self, state: TapState) -> None:
        """Write the state where one is due; the SDK calls this when it sees fit."""
        self.checkpoint()

    def checkpoint(self) -> None:
        """Write the state where one is due; never an empty one, which would erase an older one."""
        if self._state and (time.monotonic() >= self._due_at or self._is_worth_it()):
            self.write()

    def _is_worth_it(self) -> bool:
        since = self._total() - self._written
        if since < self._look_after:
            return False
        size = len(self._encoded())
        self._look_after = max(PACE * size, NEXT_LOOK * since)
        return since >= PACE * size

    def write(self) -> None:
        """Write the state, unless that was done and nothing came since; then the rows that wait for it."""
        encoded = self._encoded()
        if hash(encoded) != self._last or self._total() != self._written:
            self._writer.write_message(StateMessage(value=self._state))
            self._last = hash(encoded)
        self._named_before.clear()
        self._release()
        self._written = self._total()
        self._look_after = PACE * len(encoded)
        self._due_at = time.monotonic() + self.patience

    def deliver(self) -> None:
        """Deliver the rows that wait for a state, if there are any."""
        if self._held.size:
            self.write()

    def end(self) -> None:
        """End with a state, after the last record: some targets keep none that records follow."""
        self.deliver()
        if self._state:
            self.write()

    def drop(self) -> tuple[Counter[str], int]:
        """Give the rows up that wait for a state: the next run reads them again.

        Returns:
            How many they are, by stream, and how many reads are not complete without them.
        """
        rows, reads = self._held.counts, len(self._unfinished)
        self._held.close()
        self._held = HeldRows()
        self._unfinished.clear()
        self._to_name.clear()
        for tracker, named in self._named_before.items():
            tracker.restore(named)
        self._named_before.clear()
        return rows, reads

    def _encoded(self) -> bytes:
        for tracker in self._to_name:
            tracker.write_to_state()
        self._to_name.clear()
        return encoder.encode(self._state)

    def _total(self) -> int:
        """Count the bytes of all that was written and of all that waits."""
        own = self._writer.written if isinstance(self._writer, WholeMessageWriter) else self._records * ROW
        return own + self._held.size

    # Rows

    def take(self, message: Any) -> None:
        """Write a message, or hold it back where it is a row that has to wait."""
        if self._is_holding and isinstance(message, RecordMessage):
            try:
                has_room = self._held.add(message)
            except NoRoomError:
                self.drop()
                raise
            if not has_room:
                self.write()
            return
        self._records += 1
        self._writer.write_message(message)

    @property
    def holds_rows(self) -> bool:
        """Whether rows wait."""
        return self._held.size > 0

    def hold(self, rows: Iterable[Item], tracker: Tracker) -> Iterator[Item]:
        """Pass on rows whose messages have to wait for a state that names them; packing their ids takes time."""
        self._is_holding = True
        self._to_name.add(tracker)
        self._named_before.setdefault(tracker, tracker.snapshot())
        try:
            yield from rows
        finally:
            self._is_holding = False

    def when_delivered(self, finish: Callable[[], None]) -> None:
        """Do something when no row waits any more."""
        if self.holds_rows:
            self._unfinished.append(finish)
        else:
            finish()

    def _release(self) -> None:
        if not self._held.size:
            return
        self._last = None  # rows follow it
        held, self._held = self._held, HeldRows()
        unfinished, self._unfinished = self._unfinished, []
        with closing(held):
            for message in held.messages(as_sent=isinstance(self._writer, WholeMessageWriter)):
                self._records += 1
                self._writer.write_message(message)
        for finish in unfinished:
            finish()


class Delivery:
    """The rows of one read on their way, in their order: what follows a row that waits, waits too."""

    def __init__(self, checkpoints: Checkpoints, tracker: Tracker) -> None:
        self._checkpoints = checkpoints
        self._tracker = tracker
        self._has_waited = False

    def of(self, items: Sequence[Item], rows: Iterable[Item]) -> Iterable[Item]:
        """Pass on the rows that items become."""
        waits = self._tracker.track_before_delivery(items)
        if not waits and not (self._has_waited and self._checkpoints.holds_rows):
            return rows
        self._has_waited = True
        return self._checkpoints.hold(rows, self._tracker)

    def finish(self, finish: Callable[[], None]) -> None:
        """Put what the read found out into the state when all of its rows were delivered."""
        if self._has_waited:
            self._checkpoints.when_delivered(finish)
        else:
            finish()
