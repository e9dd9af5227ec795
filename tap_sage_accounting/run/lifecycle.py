"""One run: the states that are written while it lasts, and a shutdown that keeps what was reached.

What overrides final and private members of the SDK for that stands here: the SDK has no hook for the end of a run, and
its signal handlers end the process in the middle of whatever it does.
"""

from __future__ import annotations

import sys
import time
from abc import abstractmethod
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import Tap
from typing_extensions import override

from tap_sage_accounting.run.checkpoints import PATIENCE, Checkpoints
from tap_sage_accounting.run.progress import Progress, terminal_of
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.run.writer import WholeMessageWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor

    from singer_sdk import Stream

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.api.request_gate import RequestGate
    from tap_sage_accounting.run.report import RunReport


class RunLifecycle(Tap):
    """A tap whose run ends in one way, whatever ends it: with a state, a report, and every request answered or dropped.

    Attributes:
        between_checkpoints: seconds after which a state is written however little was; 0 writes one at each occasion.
        checkpoints: writes states, and the rows that wait for them.
    """

    message_writer_class = WholeMessageWriter
    between_checkpoints: ClassVar[float] = PATIENCE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.checkpoints = Checkpoints(self.message_writer, self.state, self.between_checkpoints)
        self._state_writer = self.checkpoints

    # What a run uses

    @property
    @abstractmethod
    def report(self) -> RunReport:
        """The outcome of every read."""

    @property
    @abstractmethod
    def gate(self) -> RequestGate:
        """The gate that every request passes."""

    @property
    @abstractmethod
    def connection(self) -> HttpClient:
        """The way to Sage."""

    @property
    @abstractmethod
    def executor(self) -> Executor:
        """The threads that send requests."""

    @abstractmethod
    def count_planned(self) -> int:
        """Count the reads of the run; 0 before they are known."""

    @abstractmethod
    def wait_for_refresh(self) -> None:
        """Wait until no token request is under way and its tokens are stored."""

    @abstractmethod
    def prepare_run(self) -> None:
        """Find out what there is to read."""

    @abstractmethod
    def foresee_deletions(self) -> None:
        """Write what must be known before the first record."""

    # The run

    @override
    def _setup_signal_handlers(self) -> None:
        """Leave signals to the program: a tap that is only made, as for its catalog, has nothing to do with them."""

    @override
    def run_discovery(self) -> str:
        catalog = self.catalog_json_text
        WholeMessageWriter().write_line(catalog)
        return catalog

    @override  # type: ignore[misc] # final in the SDK
    def sync_all(self) -> None:
        """Sync all streams, report the outcome of each read, and fail at the end when something is missing.

        Raises:
            IncompleteRunError: data that should have come did not.
        """
        with self._one_run():
            self.foresee_deletions()
            super().sync_all()

    @override  # type: ignore[misc] # final in the SDK, which takes its own end of each read for an error
    def run_connection_test(self) -> bool:
        """Read a first record of every stream of every business, and fail when any of that fails.

        Raises:
            IncompleteRunError: naming the streams that failed.
        """
        with self._one_run():
            for stream in self.streams.values():
                for context in stream.partitions or (None,):
                    next(iter(stream.get_records(context)), None)
        return True

    @override  # type: ignore[misc] # final in the SDK, which leaves the last records in the buffer
    def run_sync_dry_run(self, dry_run_record_limit: int | None = 1, streams: Iterable[Stream] | None = None) -> bool:
        """Sync streams one after the other, also those that are not selected, and fail when something is missing.

        Args:
            dry_run_record_limit: records of each stream after which it ends; None for all.
            streams: which; None for all.

        Raises:
            IncompleteRunError: data that should have come did not.
        """
        with self._one_run():
            return super().run_sync_dry_run(dry_run_record_limit, streams)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Ask Sage something without a run; a signal interrupts the block."""
        with stop_signals.orderly(self.wait_for_refresh):
            try:
                with stop_signals.interruptible():
                    yield
            finally:
                self._disconnect()

    @contextmanager
    def _one_run(self) -> Iterator[None]:
        """Do the work of the block; then write the last state, close everything, report, and fail if data is missing.

        A signal interrupts the block, never the end.
        """
        began = time.monotonic()
        with stop_signals.orderly(self.wait_for_refresh, self._count_sent):
            try:
                with stop_signals.interruptible():
                    self.prepare_run()
                    with self._progress():
                        yield
            finally:
                try:
                    self._write_last_state()
                finally:
                    is_cut_short = sys.exc_info()[0] is not None or stop_signals.received is not None
                    self._disconnect()
                    self._report(began, is_cut_short=is_cut_short)
        self.report.check()

    def checkpoint(self) -> None:
        """Write the state where one is due: all that is complete is worth keeping."""
        self.checkpoints.checkpoint()

    @override  # type: ignore[misc] # final in the SDK, which has no hook for rows that must wait
    def write_message(self, message: Any) -> None:
        self.checkpoints.take(message)

    def _write_last_state(self) -> None:
        """End with a state, after the last record, however the run ends: some targets keep none that records follow.

        A run that is stopped has no time for rows that wait for a state.
        """
        if stop_signals.received is not None:
            self.logger.warning("Stopping (%s): what is complete is kept.", stop_signals.received.name)
            rows, reads = self.checkpoints.drop()
            self.report.records -= rows
            self.report.complete -= reads
        self.checkpoints.end()
        if isinstance(self.message_writer, WholeMessageWriter):
            self.message_writer.flush()

    def _disconnect(self) -> None:
        """Drop the requests that wait, and let those under way end, unless a signal came."""
        self.gate.close()
        self.executor.shutdown(wait=False, cancel_futures=True)
        with suppress(SystemExit), stop_signals.interruptible():
            self.executor.shutdown()
        self.connection.close()

    def _report(self, began: float, *, is_cut_short: bool) -> None:
        self.report.tell(
            self.logger,
            planned=self.count_planned() if is_cut_short else None,
            requests=self.gate.requests,
            refusals=self.gate.refusals,
            seconds=time.monotonic() - began,
        )

    def _count_sent(self) -> int:
        return self.message_writer.sent if isinstance(self.message_writer, WholeMessageWriter) else 0

    def _progress(self) -> Progress:
        planned: Callable[[], int] = self.count_planned
        return Progress(self.report, self.gate, planned=planned, logger=self.logger, terminal=terminal_of())
