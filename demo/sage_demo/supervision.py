"""Leaving nothing behind: every process that the demonstration starts ends with it, however it ends.

Processes carry a mark in their environment, and so do their children. The clean-up looks for the mark. So it also finds
a process that was started a moment ago, or by a child. Normally the owner cleans up. When the owner was killed, a
watchdog does. It holds the reading end of a pipe that only the owner can write to.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

MARK = "SAGE_DEMO_RUN"
"""Environment variable by which the processes of a run are known."""
_DISMISSED = b"done"
_GRACE_SECONDS = 3.0
_DATABASE_GRACE_SECONDS = 60.0
_PARENT_POLL_SECONDS = 0.1


class Interrupted(BaseException):
    """The run was stopped: by Ctrl-C, a signal, or the end of the process that had started it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


def marked_processes(mark: str) -> list[psutil.Process]:
    """Find the live processes that carry the mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_processes(mark: str) -> None:
    """End all marked processes: the pipeline first, then the database, in its own way."""
    while pipeline := [process for process in marked_processes(mark) if not _is_postgres(process)]:
        _end(pipeline, (signal.SIGTERM, signal.SIGKILL), _GRACE_SECONDS)
    postmasters = [process for process in marked_processes(mark) if not _is_postgres(process.parent())]
    _end(postmasters, (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL), _DATABASE_GRACE_SECONDS)


def _is_postgres(process: psutil.Process | None) -> bool:
    with contextlib.suppress(psutil.Error):
        return process is not None and process.name() == "postgres"
    return False


def _end(processes: list[psutil.Process], requests: tuple[signal.Signals, ...], grace: float) -> None:
    for request in requests:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(request)
        _, processes = psutil.wait_procs(processes, timeout=grace)


@contextlib.contextmanager
def supervised(scratch: Path, *, follow_parent: bool, ignore_interrupt: bool = False) -> Iterator[dict[str, str]]:
    """Run a block whose processes all end with it.

    Args:
        scratch: A directory to remove at the end.
        follow_parent: Stop when the process that started this one ends.
        ignore_interrupt: Leave Ctrl-C to a program in the foreground.

    Yields:
        The environment, mark included, that processes of the block must be given.

    Raises:
        Interrupted: A signal stopped the run.
    """
    mark = secrets.token_hex(16)
    watchdog = _start_watchdog(mark, scratch)
    previous = _catch_signals(ignore_interrupt=ignore_interrupt)
    over = threading.Event()
    if follow_parent:
        threading.Thread(target=_follow, args=(os.getppid(), over), daemon=True).start()
    try:
        yield {**os.environ, MARK: mark}
    finally:
        over.set()
        for number in previous:
            signal.signal(number, signal.SIG_IGN)
        end_processes(mark)
        shutil.rmtree(scratch, ignore_errors=True)
        watchdog.communicate(_DISMISSED)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _start_watchdog(mark: str, scratch: Path) -> subprocess.Popen[bytes]:
    # A session of its own: what ends the owner's terminal or process group must not end the watchdog. No output of
    # ours: who reads ours would wait for the watchdog's end as well.
    return subprocess.Popen(  # noqa: S603 - this interpreter and our own module
        [sys.executable, "-m", __name__, mark, str(scratch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _catch_signals(*, ignore_interrupt: bool) -> dict[signal.Signals, signal.Handlers | int | None]:
    def leave(_number: int, _frame: FrameType | None) -> None:
        """Do nothing; unlike SIG_IGN, this is not handed on to programs that are started."""

    def stop(number: int, _frame: FrameType | None) -> None:
        # One is enough; another must not cut short the tidying up.
        for each in previous:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    previous: dict[signal.Signals, signal.Handlers | int | None] = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        ignored = ignore_interrupt and number == signal.SIGINT
        previous[number] = signal.signal(number, leave if ignored else stop)  # type: ignore[assignment]
    return previous


def _follow(parent: int, over: threading.Event) -> None:
    while not over.wait(_PARENT_POLL_SECONDS):
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            return


def watch(mark: str, scratch: Path) -> None:
    """Wait for the owner's end; tidy up unless it said that it had done so itself."""
    if sys.stdin.buffer.read() != _DISMISSED:
        end_processes(mark)
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    watch(sys.argv[1], Path(sys.argv[2]))
