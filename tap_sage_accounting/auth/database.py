"""The database behind the token store: its one table, its connections and their errors."""

from __future__ import annotations

import sqlite3
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from tap_sage_accounting.auth.files import prepare_database
from tap_sage_accounting.printable import printable
from tap_sage_accounting.timestamps import in_utc, parse_moment
from tap_sage_accounting.transport.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from tap_sage_accounting.auth.address import StoreAddress

LOST_HOLDER = timedelta(seconds=120)
"""When PostgreSQL ends the transaction of a holder whose machine is gone; longer than any token request takes."""
CALL_LIMIT = timedelta(seconds=20)
"""How long a call to PostgreSQL may take, apart from waiting for another holder."""
LIBPQ_DEFAULTS = {
    "connect_timeout": "10",
    # A peer that is gone is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
TABLE = "tap_sage_accounting_tokens"
_COLUMNS = """
client_id VARCHAR NOT NULL, lineage VARCHAR NOT NULL, source VARCHAR NOT NULL, seeds TEXT NOT NULL,
refresh_token TEXT NOT NULL, refresh_fingerprint VARCHAR NOT NULL, access_token TEXT, issued_at {moment},
lifetime_seconds FLOAT, refresh_lifetime_seconds FLOAT, scope VARCHAR, requested_by_id VARCHAR,
created_at {moment} NOT NULL, refused_at {moment}, answer_lost_at {moment}, PRIMARY KEY (client_id, lineage)
"""
_POSTGRES_LOCK_NOT_AVAILABLE = "55P03"

Row = dict[str, Any]
"""A row of the table by its columns' names; those that end in `_at` are moments in UTC."""


class DatabaseError(Exception):
    """The first line of a driver's message; the next ones may contain values, which are tokens.

    Attributes:
        lock_timeout: whether another holder kept the lock for too long.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(printable(str(error).strip().split("\n", 1)[0].rstrip(".")) or type(error).__name__)
        code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorcode", 0) & 0xFF
        self.lock_timeout = code in (_POSTGRES_LOCK_NOT_AVAILABLE, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def as_database_error(*errors: type[Exception]) -> Iterator[None]:
    """Turn a driver's errors into a `DatabaseError`."""
    try:
        yield
    except errors as error:
        raise DatabaseError(error) from None


def connect(address: StoreAddress, lock_wait: timedelta) -> Connection:
    """Open the database at an address."""
    if address.file is not None:
        return SqliteConnection(address.file, lock_wait)
    return PostgresConnection(address.options, lock_wait)


class Connection(ABC):
    """An open database, where a statement outside a transaction is one; all but `close` may raise a `DatabaseError`."""

    moment: ClassVar[str]
    find_table: ClassVar[str]
    row_lock: ClassVar[str] = ""
    epoch: ClassVar[str]
    """Seconds since 1970, by the clock of the database."""
    is_local: ClassVar[bool]
    """Whether all who use it are on this machine."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction that may write."""

    @property
    def sends_plaintext(self) -> bool:
        """Whether the connection leads to another machine and is not encrypted."""
        return False

    def execute(
        self,
        statement: str,
        values: Sequence[object] = (),
        *,
        waits: bool = False,  # noqa: ARG002 - for PostgreSQL
    ) -> list[Row]:
        """Run a statement that has a `?` for each of its values; `waits` where another holder may be waited for."""
        with as_database_error(self._driver.Error):
            cursor = self._driver.execute(statement, values)
            names = [column[0] for column in cursor.description or ()]
            found = cursor.fetchall() if names else ()
        return [{n: _in_utc(v) if n.endswith("_at") else v for n, v in zip(names, row, strict=True)} for row in found]

    def commit(self) -> None:
        """Commit the transaction, which unlocks."""
        with as_database_error(self._driver.Error):
            self._driver.commit()

    def close(self) -> None:
        """Close the connection; the database rolls back and unlocks."""
        with suppress(self._driver.Error):
            self._driver.close()

    def ensure_table(self, table: str = TABLE, columns: str = _COLUMNS) -> None:
        """Create a table unless it exists."""
        if self.execute(self.find_table, [table]):
            return
        try:
            self.begin()
            self.execute(f"CREATE TABLE {table} ({columns.format(moment=self.moment)})", waits=True)
            self.commit()
        except DatabaseError:
            with as_database_error(self._driver.Error):
                self._driver.rollback()
            # Of two that create it at once, one waits for the other and then fails.
            if not self.execute(self.find_table, [table]):
                raise

    def rows(self, client_id: str, *, lock: bool = False) -> list[Row]:
        """Read the rows of an application, and lock them if `lock`."""
        query = f"SELECT * FROM {TABLE} WHERE client_id = ? ORDER BY lineage"  # noqa: S608 - a constant's name
        return self.execute(query + self.row_lock if lock else query, [client_id], waits=lock)

    def insert(self, row: Row, *, unless_there: bool = False) -> None:
        """Add a row; if it exists, leave it alone if `unless_there`, or fail."""
        statement = f"INSERT INTO {TABLE} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608 - as above
        self.execute(statement + " ON CONFLICT DO NOTHING" if unless_there else statement, [*row.values()], waits=True)

    def update(self, row: Row) -> None:
        """Replace the row with the same key."""
        changes = ", ".join(f"{name} = ?" for name in row)
        statement = f"UPDATE {TABLE} SET {changes} WHERE client_id = ? AND lineage = ?"  # noqa: S608 - as above
        self.execute(statement, [*row.values(), row["client_id"], row["lineage"]])

    def delete(self, client_id: str, family: str) -> None:
        """Remove a row."""
        self.execute(f"DELETE FROM {TABLE} WHERE client_id = ? AND lineage = ?", [client_id, family])  # noqa: S608


class SqliteConnection(Connection):
    """A file on this machine, which one transaction at a time may write."""

    moment = "DATETIME"
    epoch = "CAST(strftime('%s', 'now') AS INTEGER)"
    find_table = "SELECT 1 FROM sqlite_master WHERE name = ?"
    is_local = True

    @as_database_error(OSError, sqlite3.Error, ValueError)
    def __init__(self, file: Path, lock_wait: timedelta) -> None:
        prepare_database(file)
        super().__init__(sqlite3.connect(file, timeout=lock_wait.total_seconds(), isolation_level=None))

    @override
    def begin(self) -> None:
        with suppress(DatabaseError):
            # With a write-ahead log a commit waits for the disk once instead of four times: new tokens are safe sooner.
            # While another process holds the file in the older mode, that works too.
            self.execute("PRAGMA journal_mode = WAL")
        for statement in ("PRAGMA synchronous = FULL", "PRAGMA fullfsync = ON", "PRAGMA secure_delete = ON"):
            self.execute(statement)
        self.execute("BEGIN IMMEDIATE")

    @override
    def execute(self, statement: str, values: Sequence[object] = (), *, waits: bool = False) -> list[Row]:
        written = [_as_text(value) if isinstance(value, datetime) else value for value in values]
        return super().execute(statement, written, waits=waits)


class PostgresConnection(Connection):
    """A server for many machines, which locks row by row.

    At the isolation level READ COMMITTED, a connection that waited for a row reads what the last holder wrote. Every
    call has a limit, at the server and here, where a connection may stay without a response.
    """

    moment = "TIMESTAMP WITH TIME ZONE"
    epoch = "CAST(extract(epoch FROM clock_timestamp()) AS BIGINT)"
    find_table = "SELECT 1 WHERE to_regclass(?) IS NOT NULL"
    row_lock = " FOR UPDATE"
    is_local = False

    def __init__(self, options: Mapping[str, Any], lock_wait: timedelta) -> None:
        import psycopg  # noqa: PLC0415 - an extra, which few need

        self._longest_wait = (lock_wait + CALL_LIMIT).total_seconds()
        with as_database_error(psycopg.Error):
            super().__init__(_bounded_connection().connect(**{**LIBPQ_DEFAULTS, **options}, autocommit=True))
        limits = {
            "lock_timeout": lock_wait,
            "statement_timeout": lock_wait + CALL_LIMIT,
            "idle_in_transaction_session_timeout": LOST_HOLDER,
        }
        self._limits = {name: f"{limit.total_seconds()}s" for name, limit in limits.items()}

    @property
    @override
    def sends_plaintext(self) -> bool:
        host, address = self._driver.info.host, self._driver.info.hostaddr
        is_local = not host or host.startswith("/") or is_loopback(address or host)
        return not (is_local or self._driver.pgconn.ssl_in_use)

    @override
    def begin(self) -> None:
        self.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        settings = ", ".join(f"set_config('{name}', ?, true)" for name in self._limits)
        self.execute(f"SELECT {settings}", [*self._limits.values()])

    @override
    def execute(self, statement: str, values: Sequence[object] = (), *, waits: bool = False) -> list[Row]:
        self._driver.limit = self._longest_wait if waits else CALL_LIMIT.total_seconds()
        try:
            return super().execute(statement.replace("?", "%s"), values, waits=waits)
        finally:
            self._driver.limit = CALL_LIMIT.total_seconds()


@cache
def _bounded_connection() -> Any:
    """Return a connection class whose calls end within a limit, whatever the network does."""
    import psycopg  # noqa: PLC0415 - an extra, which few need

    class BoundedConnection(psycopg.Connection[Any]):
        limit = CALL_LIMIT.total_seconds()

        @override
        def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **options: Any) -> Any:
            return super().wait(within(gen, self.limit), *arguments, **options)

    def within(steps: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
        end = time.monotonic() + seconds
        try:
            wanted = next(steps)
            while True:
                # Psycopg resumes this ten times a second, also when nothing has come.
                ready = yield wanted
                if time.monotonic() > end:
                    raise psycopg.OperationalError(f"no response within {seconds:.0f} s")
                wanted = steps.send(ready)
        except StopIteration as done:
            return done.value

    return BoundedConnection


def _as_text(moment: datetime) -> str:
    """Write a moment in the form of the table: in UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _in_utc(stored: str | datetime | None) -> datetime | None:
    """Read a moment; SQLite keeps texts without a zone."""
    return parse_moment(stored) if isinstance(stored, str) else stored and in_utc(stored)
