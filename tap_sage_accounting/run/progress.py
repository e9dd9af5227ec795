"""Progress that a person can follow: a line now and then in the log, a live line on a terminal. Never on stdout."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO, cast

from tap_sage_accounting.redaction import all_handlers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_sage_accounting.api.request_gate import RequestGate
    from tap_sage_accounting.run.report import RunReport

BETWEEN_LINES = 10.0
"""Seconds between two lines in the log."""
BETWEEN_REFRESHES = 0.5
"""Seconds between two states of the live line."""
MINUTE = 60


@dataclass(kw_only=True)
class Progress:
    """Shows how far a run is: a live line on a terminal, else a log line now and then.

    Attributes:
        on_line: called after each line in the log, in the thread that writes it.
    """

    report: RunReport
    gate: RequestGate
    planned: Callable[[], int]
    logger: logging.Logger
    on_line: Callable[[], None] = lambda: None
    terminal: TextIO | None = None
    between_lines: float = BETWEEN_LINES
    _began: float = field(default_factory=time.monotonic)
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the progress from a thread of its own, for as long as the block lasts."""
        thread = threading.Thread(target=self._run, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _run(self) -> None:
        if self.terminal is not None:
            self._show(self.terminal)
            return
        while not self._is_over.wait(self.between_lines):
            self.logger.info("%s", self.line())
            self.on_line()

    def line(self) -> str:
        """Say how far the run is, in one line."""
        seconds = time.monotonic() - self._began
        report = self.report
        parts = [
            f"{report.done} of {self.planned()} reads done",
            f"{report.records.total():,} records",
            f"{self.gate.requests} requests, {self.gate.requests_of_last_minute()} in the last minute",
            f"{self.gate.refusals} refused",
        ]
        if report.done:
            left = seconds / report.done * (self.planned() - report.done)
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
            while not self._is_over.wait(BETWEEN_REFRESHES):
                status.update(self.line())


@contextmanager
def _logging_to(stream: TextIO, other: TextIO) -> Iterator[None]:
    """Let log handlers that write to a stream write to another one."""
    with ExitStack() as stack:
        for handler in all_handlers():
            if (
                isinstance(handler, logging.StreamHandler)
                and handler is not logging.lastResort
                and handler.stream is stream
            ):
                handler.setStream(other)
                stack.callback(handler.setStream, stream)
        yield


def _duration(seconds: float) -> str:
    minutes = round(seconds / MINUTE)
    return f"{minutes} min" if minutes else f"{round(seconds)} s"
