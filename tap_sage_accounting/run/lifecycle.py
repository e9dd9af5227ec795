"""One run: the states that are written while it lasts, and a shutdown that keeps what was reached.

Each override of a final or private member of the SDK names the hook that the SDK lacks.
"""

from __future__ import annotations

import sys
import time
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import Tap
from typing_extensions import override

from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.run.checkpoints import PATIENCE, Checkpoints
from tap_sage_accounting.run.progress import Progress
from tap_sage_accounting.run.report import RunReport
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.run.writer import WholeMessageWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from singer_sdk import Stream

THREADS_PER_REQUEST = 8
"""Threads per request that may be in flight: some wait for a permit, a limit, or a fault's end."""


class RunLifecycle(Tap):
    """A tap whose run always ends in one way: with a state, a report, and every request complete or dropped.

    Attributes:
        between_checkpoints: seconds after which a state is written however little was; 0 writes one at each occasion.
        checkpoints: writes states, and the rows that wait for them.
    """

    message_writer_class = WholeMessageWriter
    between_checkpoints: ClassVar[float] = PATIENCE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.checkpoints = Checkpoints(self.message_writer, self.state, self.between_checkpoints)
        self._state_writer = self.checkpoints  # the SDK takes a writer of messages, and none of states

    # What a run uses

    @cached_property
    def report(self) -> RunReport:
        """The outcome of every read in this run."""
        return RunReport()

    @cached_property
    def gate(self) -> RequestGate:
        """The gate that every request passes."""
        return RequestGate(concurrency=self.config["concurrency"], per_minute=self.config.get("requests_per_minute"))

    @cached_property
    def executor(self) -> ThreadPoolExecutor:
        """The threads that send requests; the gate lets no more through than are allowed."""
        return ThreadPoolExecutor(THREADS_PER_REQUEST * self.config["concurrency"], thread_name_prefix="request")

    @abstractmethod
    def count_planned(self) -> int:
        """Count the reads of the run; 0 before they are known."""

    @abstractmethod
    def wait_for_refresh(self) -> None:
        """Wait until no token request is under way and its tokens are stored."""

    @abstractmethod
    def limit_shared(self) -> AbstractContextManager[None]:
        """Leave other runs of the application their part of its limit, for as long as the block lasts."""

    @abstractmethod
    def request_ahead(self) -> None:
        """Send requests whose responses the run will certainly need."""

    @abstractmethod
    def prepare_run(self) -> None:
        """Find out what there is to read."""

    @abstractmethod
    def track_first_reads(self) -> None:
        """Write what the state must say before the first record."""

    @abstractmethod
    def record_whole_reads(self) -> None:
        """Put into the state what follows from a run that came to its end."""

    @abstractmethod
    def log_end(self, error: BaseException | None) -> None:
        """Write rows about the run itself, which ends now, with an error or without."""

    def report_progress(self) -> None:
        """Report to the platform while a run lasts; called now and then, from a separate thread."""

    @override
    def _setup_signal_handlers(self) -> None:
        """Leave signals to the program; the SDK has no hook that decides who handles them."""

    @override
    def run_discovery(self) -> str:
        catalog = self.catalog_json_text
        WholeMessageWriter().write_line(catalog)
        return catalog

    @override  # type: ignore[misc] # final: the SDK has no hook for the beginning and the end of a run
    def sync_all(self) -> None:
        """Sync all streams, report the outcome of each read, and fail at the end when something is missing.

        Raises:
            IncompleteRunError: data that should have come did not.
        """
        with self._one_run(self.request_ahead):
            self.track_first_reads()
            super().sync_all()
            self.record_whole_reads()

    @override  # type: ignore[misc] # final: the SDK takes its own end of each read for an error
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

    @override  # type: ignore[misc] # final: the SDK leaves the last records in the buffer
    def run_sync_dry_run(self, dry_run_record_limit: int | None = 1, streams: Iterable[Stream] | None = None) -> bool:
        """Sync streams one after the other, also those that are not selected, and fail when something is missing.

        Raises:
            IncompleteRunError: data that should have come did not.
        """
        with self._one_run():
            return super().run_sync_dry_run(dry_run_record_limit, streams)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Send requests without a run; a signal interrupts the block."""
        with stop_signals.orderly(self.wait_for_refresh):
            try:
                with stop_signals.interruptible():
                    yield
            finally:
                self.disconnect()

    @contextmanager
    def _one_run(self, begin: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Do the work of the block; then write the last state, close everything, report, and fail if data is missing.

        A signal interrupts the block, never the end. `begin` is called before it is known what there is to read.
        """
        began = time.monotonic()
        terminal = sys.stderr if sys.stderr.isatty() else None
        progress = Progress(
            report=self.report,
            gate=self.gate,
            planned=self.count_planned,
            logger=self.logger,
            on_line=self.report_progress,
            terminal=terminal,
        )
        with stop_signals.orderly(self.wait_for_refresh, lambda: getattr(self.message_writer, "sent", 0)):
            try:
                with stop_signals.interruptible():
                    begin()
                    self.prepare_run()
                    with progress.shown(), self.limit_shared():
                        yield
            finally:
                try:
                    self._write_last_state(sys.exception())
                finally:
                    is_cut_short = sys.exc_info()[0] is not None or stop_signals.received is not None
                    self.disconnect()
                    self.report.log(
                        self.logger,
                        planned=self.count_planned() if is_cut_short else None,
                        requests=self.gate.requests,
                        refusals=self.gate.refusals,
                        seconds=time.monotonic() - began,
                    )
        self.report.check()

    @override  # type: ignore[misc] # final: the SDK has no hook for rows that must wait
    def write_message(self, message: Any) -> None:
        self.checkpoints.take(message)

    def _write_last_state(self, error: BaseException | None) -> None:
        """End with a state, after the last record, however the run ends: some targets keep none that records follow.

        A run that is stopped has no time for rows that wait for a state.
        """
        if stop_signals.received is not None:
            self.logger.warning("Stopping (%s): what is complete is kept.", stop_signals.received.name)
            rows, reads = self.checkpoints.drop()
            self.report.records -= rows
            self.report.complete -= reads
            self.report.reads = [each for each in self.report.reads if each.stream not in rows]  # were they complete?
        self.checkpoints.deliver()
        self.log_end(error)
        self.checkpoints.end()
        if isinstance(self.message_writer, WholeMessageWriter):
            self.message_writer.flush()

    def disconnect(self) -> None:
        """Drop the requests that wait, and let those under way end, unless a signal came."""
        self.gate.close()
        self.executor.shutdown(wait=False, cancel_futures=True)
        with suppress(SystemExit), stop_signals.interruptible():
            self.executor.shutdown()
