"""Token stores that fail between two steps of a run: for `kill_runs.py`."""

from __future__ import annotations

import contextlib
import resource
from functools import partial
from typing import TYPE_CHECKING, Protocol, Self

import psycopg

from sage_workbench.failing_stores import DarkProxy, RestartablePostgres

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROOM = 16_384
"""Bytes that a process may still write of any file: the rescue file's reserved room, less than SQLite's log."""


class Store(Protocol):
    """Where the tokens of one lane are."""

    url: str

    def fail(self, pid: int, chance: random.Random) -> Callable[[], object]:
        """Take the store away from a run; return what gives it back."""


class SqliteFile:
    """A file on a disk that is full now and then, with or without reserved space."""

    def __init__(self, directory: Path, number: int) -> None:
        self.url = f"sqlite:///{directory / f'tokens-{number}.sqlite'}"

    def fail(self, pid: int, chance: random.Random) -> Callable[[], object]:
        """Let the process write to no file beyond its room."""
        _limit(pid, chance.choice([ROOM, 0]))
        return partial(_limit, pid, resource.RLIM_INFINITY)


def _limit(pid: int, size: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class PostgresServer:
    """A server that restarts, cuts all connections and takes no new ones, or answers nothing any more."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._server = self._stack.enter_context(RestartablePostgres())
        self._proxy = self._stack.enter_context(DarkProxy(self._server.socket))
        self.url = f"{self._proxy.url}?connect_timeout=2"
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def fail(self, pid: int, chance: random.Random) -> Callable[[], object]:  # noqa: ARG002 - as for files
        """Begin one of the three."""
        return chance.choice([self._stop, self._refuse, self._go_dark])()

    def _stop(self) -> Callable[[], object]:
        self._server.stop()
        return self._server.start

    def _refuse(self) -> Callable[[], object]:
        """Do as in a failover."""
        self._administer(
            "ALTER DATABASE {0} ALLOW_CONNECTIONS false",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{0}'",
        )
        return partial(self._administer, "ALTER DATABASE {0} ALLOW_CONNECTIONS true")

    def _go_dark(self) -> Callable[[], object]:
        self._proxy.go_dark()
        return self._proxy.lighten

    def _administer(self, *statements: str) -> None:
        with psycopg.connect(self._server.url, dbname="template1", autocommit=True) as connection:
            name = psycopg.conninfo.conninfo_to_dict(self._server.url)["dbname"]
            for statement in statements:
                connection.execute(statement.format(name).encode())


@contextlib.contextmanager
def stores(kind: str, directory: Path, count: int) -> Iterator[list[Store]]:
    """Make stores for a while."""
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            yield [SqliteFile(directory, number) for number in range(count)]
        else:
            yield [stack.enter_context(PostgresServer()) for _ in range(count)]
