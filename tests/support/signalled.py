"""Programs that get signals at a moment that a test chooses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
PROGRAMS = Path(sys.executable).parent
Start: TypeAlias = "Callable[..., Process]"
PATIENCE = 120
"""Seconds for what takes a moment on a machine that is not busy."""

CTRL_C_UNDER_MELTANO = pytest.param((INT, TERM), id="ctrl-c-under-meltano")
CLOSED_TERMINAL = pytest.param((HUP, TERM, INT), id="closed-terminal")
two = pytest.mark.parametrize("signals", [CTRL_C_UNDER_MELTANO, CLOSED_TERMINAL])
several = pytest.mark.parametrize(
    "signals",
    [
        CTRL_C_UNDER_MELTANO,
        CLOSED_TERMINAL,
        pytest.param((INT, INT, INT), id="ctrl-c-three-times"),
        pytest.param((HUP,), id="hangup"),
        pytest.param((TERM,) * 20, id="burst"),
    ],
)


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "It did not come to that."
        time.sleep(0.02)


class Process:
    """A program that gets signals.

    Attributes:
        pipe: what it puts out, None where that goes to a file.
    """

    def __init__(self, command: Sequence[str | Path], home: Path, *, piped: bool = False, **environment: str) -> None:
        self._output, self._log = home / "output", home / "log"
        with self._output.open("wb") as output, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if piped else output,
                stderr=log,
                env={**os.environ, "HOME": str(home), **environment},
                cwd=home,
            )
        self.pipe = self._process.stdout

    def type(self, text: str) -> None:
        """Give the program a line of input."""
        assert self._process.stdin
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()

    def send(self, signals: Sequence[int], between: float = 0.1) -> None:
        """Send signals; where the first one decides, it is the one of the lowest number.

        A program that is kept from running gets all of them at once, in the order of their numbers.
        """
        for number in signals:
            self._process.send_signal(number)
            time.sleep(between if len(signals) < 10 else 0.005)

    def is_idle(self) -> bool:
        """Return whether it waits: for a moment it takes no time of a processor."""
        process = psutil.Process(self._process.pid)
        before = process.cpu_times()
        time.sleep(0.2)
        return process.cpu_times() == before

    def is_over(self) -> bool:
        return self._process.poll() is not None

    def code(self) -> int:
        return self._process.wait(PATIENCE)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def output(self) -> bytes:
        return self._output.read_bytes()

    @property
    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def processes_in(directory: Path) -> Iterator[Start]:
    """Start programs, each in a directory of its own, and end those that are left."""
    started: list[Process] = []

    def begin(command: Sequence[str | Path], **options: Any) -> Process:
        home = directory / f"process-{len(started)}"
        home.mkdir()
        started.append(Process(command, home, **options))
        return started[-1]

    try:
        yield begin
    finally:
        for each in started:
            each.end()


def read_until(process: Process, text: bytes) -> bytes:
    """Read what comes in small pieces, up to one that holds a text."""
    assert process.pipe
    output = bytearray()
    while text not in output:
        piece = os.read(process.pipe.fileno(), 512)
        assert piece, process.log
        output += piece
    return bytes(output)


def read_slowly(process: Process, pause: float = 0.01, size: int = 1 << 15) -> bytes:
    assert process.pipe
    output = bytearray()
    while piece := os.read(process.pipe.fileno(), size):
        output += piece
        time.sleep(pause)
    return bytes(output)
