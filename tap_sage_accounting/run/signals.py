"""Turn every request to stop, however many signals it takes, into one orderly stop.

Ctrl-C under `meltano run` sends SIGINT from the terminal and SIGTERM from Meltano. People press it twice. A closed
terminal sends SIGHUP. The first signal counts; all others change nothing.

This module is light: its handlers stand before anything else is imported.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from types import FrameType

LONGEST_STOP = 120.0
"""Seconds for a stop, since the signal or the last read of the output: longer than a token request takes."""
BETWEEN_LOOKS = 0.5
"""Seconds between two looks whether a stop goes on."""
SIGNALS = frozenset(
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # Windows has no SIGHUP, all others have no SIGBREAK
    if (number := getattr(signal, name, None)) is not None
)


class Mode(IntEnum):
    """What a signal does at this moment."""

    IMMEDIATELY = 0
    """It ends the process: nothing is at stake."""
    DEFERRED = 1
    """It is remembered."""
    INTERRUPT = 2
    """It raises `SystemExit` in the main thread."""


class StopSignals:
    """The signals by which this process is stopped.

    Attributes:
        received: the first signal; None while there is none.
        mode: what a signal does now. Only the main thread changes it.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.mode = Mode.IMMEDIATELY
        self._is_installed = False
        self._exit: Callable[[int], NoReturn] = exit_with_its_number
        self._settle: Callable[[], object] = _nothing
        self._sent: Callable[[], object] = _nothing
        self._wakeup: socket.socket | None = None

    def install(self, exit_by: Callable[[int], NoReturn] | None = None) -> None:
        """Catch the signals from now on; SIGHUP stays ignored under `nohup`.

        Args:
            exit_by: ends the process after a signal; None exits with 128 and the signal's number, as shells do.
        """
        self._exit = exit_by or exit_with_its_number
        self._is_installed = True
        for number in SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        # No logging here: the main thread may be in the middle of a write to the log.
        if self.received is None:
            self.received = signal.Signals(number)
            self.act()

    def act(self) -> None:
        """Do what the mode says, if a signal was received. For the main thread.

        Raises:
            SystemExit: the mode is `INTERRUPT`.
        """
        if self.received is None or self.mode is Mode.DEFERRED:
            return
        if self.mode is Mode.IMMEDIATELY:
            self._exit(self.received)
        raise SystemExit(128 + self.received)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let a signal wait until the end of the block. For the main thread."""
        before, self.mode = self.mode, Mode.DEFERRED
        try:
            yield
        finally:
            self.mode = before
        self.act()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal end the block by `SystemExit`. For the main thread, within `orderly`."""
        before, self.mode = self.mode, Mode.INTERRUPT
        try:
            self.act()
            yield
        finally:
            self.mode = before

    @contextmanager
    def orderly(
        self, wait_for_refresh: Callable[[], object] | None = None, sent: Callable[[], object] | None = None
    ) -> Iterator[None]:
        """Do what must come to an orderly end; after a signal, the process ends with the outermost such block.

        A signal waits, except in blocks of `interruptible`. A stop that does not come to its end, as nobody reads the
        output, ends by force after `LONGEST_STOP`.

        Args:
            wait_for_refresh: waits until no token request is under way and its tokens are stored.
            sent: counts what was read of the output; a stop may last as long as that grows.
        """
        before = self.mode, self._settle, self._sent
        self.mode, self._settle, self._sent = Mode.DEFERRED, wait_for_refresh or _nothing, sent or _nothing
        if self._is_installed and self._wakeup is None:
            self._watch()
        try:
            yield
        finally:
            if self.received is not None:
                self._settle()
                if before[0] is not Mode.DEFERRED:
                    import logging  # noqa: PLC0415 - see the top of this module

                    logging.shutdown()
                    self._exit(self.received)
            self.mode, self._settle, self._sent = before

    # The end of a stop that does not come to its end

    def _watch(self) -> None:
        """Let a thread hear of signals too: the main thread may be stuck where it does not."""
        import socket  # noqa: PLC0415 - see the top of this module
        import threading  # noqa: PLC0415

        heard, self._wakeup = socket.socketpair()  # Windows takes no pipe
        self._wakeup.settimeout(0)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._end_by_force, args=(heard,), name="stop", daemon=True).start()
        if self.received is not None:
            self._wakeup.send(bytes([self.received]))

    def _end_by_force(self, heard: socket.socket) -> None:
        """Wait for a signal; end the process when its stop takes too long."""
        import threading  # noqa: PLC0415 - see the top of this module
        import time  # noqa: PLC0415

        while not (numbers := SIGNALS.intersection(heard.recv(1))):
            pass
        [number] = numbers
        settling = threading.Thread(target=self._settle, name="settle", daemon=True)
        settling.start()
        sent, until = self._sent(), time.monotonic() + LONGEST_STOP
        while time.monotonic() < until:
            time.sleep(BETWEEN_LOOKS)
            if self.received is None and hasattr(signal, "pthread_kill"):
                # The system may have handed the signal to another thread, which interrupts no call of the main one.
                signal.pthread_kill(threading.main_thread().ident or 0, number)
            before, sent = sent, self._sent()
            if sent != before:
                until = time.monotonic() + LONGEST_STOP
        settling.join(LONGEST_STOP)
        os._exit(128 + number)


def exit_with_its_number(number: int) -> NoReturn:
    """End the process with 128 and the signal's number, as shells say it; threads are not waited for."""
    os._exit(128 + number)


def die_of_it(number: int) -> NoReturn:
    """End the process by the signal itself, as if it had not been caught. For the main thread."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container does not end by its own signal


def _nothing() -> None:
    """Stand in where there is nothing to wait for."""


stop_signals = StopSignals()
"""The one catcher of signals in this process."""
