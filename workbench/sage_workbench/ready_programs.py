"""The programs of this package, started from a process that has loaded all that they load.

To load it takes most of the time of a short run. Each program is still a separate process, with the input, output,
directory and variables that it is given. Only what depends on how Python itself starts needs a new interpreter.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

import tap_sage_accounting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENTRIES = {
    "tap-sage-accounting": "main",
    "tap-sage-accounting-login": "login",
    "tap-sage-accounting-status": "status",
    "tap-sage-accounting-doctor": "doctor",
    "tap-sage-accounting-state": "state",
    "tap-sage-accounting-logout": "logout",
    "source-sage-accounting": "source",
}
_LENGTH = 8
_FORKS = hasattr(os, "fork") and hasattr(socket, "send_fds")


class Program(subprocess.Popen[bytes]):
    """A process that runs a program of this package; any other command is started as ever."""

    _is_ready = False

    @override
    def _execute_child(self, args: Any, *options: Any) -> None:  # type: ignore[misc] # no public hook
        env = os.environ if options[5] is None else options[5]
        if not _can_be_ready(args, env):
            super()._execute_child(args, *options)  # type: ignore[misc]
            return
        pipes = options[9:15]
        standard = [pipe if pipe != -1 else own for own, pipe in enumerate((pipes[0], pipes[3], pipes[5]))]
        self._is_ready = True
        self.pid, self._outcome = _starter().start(
            [*map(os.fspath, args)], os.fspath(options[4] or Path.cwd()), env, standard
        )
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    @override
    def _internal_poll(self, **options: Any) -> int | None:  # type: ignore[misc]
        if not self._is_ready:
            return super()._internal_poll(**options)  # type: ignore[misc,no-any-return]
        if self.returncode is None and select.select([self._outcome], [], [], 0)[0]:
            self._end()
        return self.returncode

    @override
    def _try_wait(self, wait_flags: int) -> tuple[int, int]:  # type: ignore[misc]
        if not self._is_ready:
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        if wait_flags and not select.select([self._outcome], [], [], 0)[0]:
            return 0, 0
        return self.pid, _status(self._outcome)

    def _end(self) -> None:
        self._handle_exitstatus(_status(self._outcome))  # type: ignore[attr-defined]


def run(command: Sequence[str | Path], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and keep what it puts out."""
    with Program(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        try:
            output, log = program.communicate(timeout=timeout)
        finally:
            program.kill()
    return subprocess.CompletedProcess(command, program.returncode, output.decode(), log.decode())


def _status(outcome: socket.socket) -> int:
    with outcome:
        return int(outcome.recv(_LENGTH))


def _can_be_ready(args: Any, env: Mapping[str, str]) -> bool:
    if not _FORKS or isinstance(args, (str, bytes)):
        return False
    program = Path(os.fspath(args[0]))
    return program.parent == Path(sys.executable).parent and program.name in ENTRIES and not _for_python(env)


def _for_python(env: Mapping[str, str]) -> set[tuple[str, str]]:
    """The variables that Python reads as it begins, and that are others than here."""
    return {(n, value) for n, value in env.items() if n.startswith(("PYTHON", "LANG", "LC_"))} - {*os.environ.items()}


class _Starter:
    """The process from which programs are started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={"PATH": os.defpath})
        atexit.register(self._end)

    def _end(self) -> None:
        self._control.close()
        self._process.wait()

    def start(
        self, args: Sequence[str], cwd: str, env: Mapping[str, str], standard: Sequence[int]
    ) -> tuple[int, socket.socket]:
        """Start a program; return its process id, and what its exit status will come from."""
        outcome, theirs = socket.socketpair()
        request = json.dumps({"args": args, "cwd": cwd, "env": dict(env)}).encode()
        with theirs, self._lock:
            head = str(len(request)).rjust(_LENGTH).encode()
            socket.send_fds(self._control, [head], [*standard, theirs.fileno()])
            self._control.sendall(request)
            return int(self._control.recv(_LENGTH)), outcome


@cache
def _starter() -> _Starter:
    return _Starter()


class _ProgramBegins(Exception):  # noqa: N818 - it ends the loop in the new process, and nothing is wrong
    def __init__(self, args: list[str], environment: dict[str, str], standard: list[int]) -> None:
        super().__init__(args)
        self.arguments, self.environment, self.standard = args, environment, standard


def _serve(control: socket.socket) -> None:
    """Start the requested programs, and report how each ended, until the input ends.

    Raises:
        _ProgramBegins: in each new process.
    """
    running: dict[int, socket.socket] = {}
    woken, wake = socket.socketpair()
    wake.setblocking(False)  # noqa: FBT003
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready = select.select([control, woken], [], [])[0]
        if woken in ready:
            woken.recv(4096)
            for pid in [*running]:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with running.pop(pid) as outcome:
                        outcome.send(str(status).rjust(_LENGTH).encode())
        if control in ready:
            head, numbers, *_ = socket.recv_fds(control, _LENGTH, 4)
            if not head:
                return
            request = json.loads(_received(control, int(head)))
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (control, woken, wake, *running.values()):
                    each.close()
                os.close(numbers[3])
                os.chdir(request["cwd"])
                raise _ProgramBegins(request["args"], request["env"], list(numbers[:3]))
            running[pid] = socket.socket(fileno=numbers[3])
            for number in numbers[:3]:
                os.close(number)
            control.sendall(str(pid).rjust(_LENGTH).encode())


def _received(control: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        received += control.recv(length - len(received))
    return received


def _begin(program: _ProgramBegins) -> Any:
    """Let this process be the program."""
    for own, number in enumerate(program.standard):
        os.dup2(number, own)
        os.close(number)
    sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False), "utf-8")  # noqa: SIM115 - open as long as it runs
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = io.TextIOWrapper(open(number, "wb", closefd=False), "utf-8", line_buffering=name == "stderr")  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.environ.clear()
    os.environ.update(program.environment)
    sys.argv = program.arguments
    from tap_sage_accounting import cli  # noqa: PLC0415

    return getattr(cli, ENTRIES[Path(sys.argv[0]).name])()


def _load() -> None:
    """Load every module of the tap: programs load most of them only when they need them."""
    for found in pkgutil.walk_packages(tap_sage_accounting.__path__, f"{tap_sage_accounting.__name__}."):
        if not found.name.endswith("__main__"):
            import_module(found.name)


if __name__ == "__main__":
    _load()
    try:
        with socket.socket(fileno=int(sys.argv[1])) as connection:
            _serve(connection)
    except _ProgramBegins as begins:
        beginning = begins
    else:
        sys.exit()
    sys.exit(_begin(beginning))
