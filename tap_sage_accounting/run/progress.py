"""Progress that a person can follow: a line now and then in the log, a live line on a terminal. Never on stdout."""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from tap_sage_accounting.api.request_gate import RequestGate
    from tap_sage_accounting.run.report import RunReport

BETWEEN_LINES = 10.0
"""Seconds between two lines in the log."""
BETWEEN_REFRESHES = 0.5
"""Seconds between two states of the live line."""
MINUTE = 60


class Progress:
    """Tells how far a run is, from a thread of its own, for as long as the context lasts.

    Args:
        report: what became of the reads so far.
        gate: the requests so far.
        planned: tells how many reads the run consists of.
        logger: where lines go when there is no terminal.
        terminal: the terminal to show a live line on, None for lines in the log.
    """

    def __init__(
        self,
        report: RunReport,
        gate: RequestGate,
        *,
        planned: Callable[[], int],
        logger: logging.Logger,
        terminal: TextIO | None = None,
        between_lines: float = BETWEEN_LINES,
    ) -> None:
        self._report = report
        self._gate = gate
        self._planned = planned
        self._logger = logger
        self._terminal = terminal
        self._between_lines = between_lines
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        if self._terminal is not None:
            self._show(self._terminal)
            return
        while not self._over.wait(self._between_lines):
            self._logger.info("%s", self.line())

    def line(self) -> str:
        """Tell how far the run is, in one line."""
        seconds = time.monotonic() - self._began
        report = self._report
        parts = [
            f"{report.done} of {self._planned()} reads done",
            f"{report.records.total():,} records",
            f"{self._gate.requests} requests, {self._gate.requests_of_last_minute()} in the last minute",
            f"{self._gate.refusals} refused",
        ]
        if report.done:
            left = seconds / report.done * (self._planned() - report.done)
            parts.append(f"about {_duration(left)} left")
        return "; ".join(parts) + "."

    def _show(self, terminal: TextIO) -> None:
        """Keep a live line below the log on a terminal."""
        from rich.console import Console  # noqa: PLC0415 - only terminals need it
        from rich.file_proxy import FileProxy  # noqa: PLC0415
        from rich.status import Status  # noqa: PLC0415

        console = Console(file=terminal)
        proxy = cast("TextIO", FileProxy(console, terminal))
        with _logging_to(terminal, proxy), Status(self.line(), console=console) as status:
            while not self._over.wait(BETWEEN_REFRESHES):
                status.update(self.line())


@contextmanager
def _logging_to(stream: TextIO, other: TextIO) -> Iterator[None]:
    """Let log handlers that write to a stream write to another one."""
    with ExitStack() as stack:
        for handler in _handlers():
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                handler.setStream(other)
                stack.callback(handler.setStream, stream)
        yield


def _handlers() -> list[logging.Handler]:
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    return list({id(handler): handler for logger in loggers for handler in logger.handlers}.values())


def terminal_of(stream: TextIO | None = None) -> TextIO | None:
    """Find the terminal that standard error is, if it is one."""
    stream = stream or sys.stderr
    return stream if stream.isatty() else None


def _duration(seconds: float) -> str:
    minutes = round(seconds / MINUTE)
    return f"{minutes} min" if minutes else f"{round(seconds)} s"
