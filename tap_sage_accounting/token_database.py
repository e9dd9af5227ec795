"""The database behind the token store: its address, its one table, its connections and their errors."""

from __future__ import annotations

import os
import re
import sqlite3
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, unquote

import platformdirs
from singer_sdk.exceptions import FatalSyncError
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

APPLICATION = "tap-sage-accounting"
LOST_HOLDER = timedelta(seconds=200)
"""When PostgreSQL ends the transaction of a holder whose machine went away without closing its connection."""
TABLE = "tap_sage_accounting_tokens"
_COLUMNS = """
client_id VARCHAR NOT NULL, lineage VARCHAR NOT NULL, source VARCHAR NOT NULL, seeds TEXT NOT NULL,
refresh_token TEXT NOT NULL, refresh_fingerprint VARCHAR NOT NULL, access_token TEXT, issued_at {moment},
lifetime_seconds FLOAT, refresh_lifetime_seconds FLOAT, scope VARCHAR, requested_by_id VARCHAR,
created_at {moment} NOT NULL, refused_at {moment}, answer_lost_at {moment}, PRIMARY KEY (client_id, lineage)
"""
_URL = re.compile(
    r"(?P<backend>\w+)(\+(?P<driver>\w+))?://((?P<user>[^:/]*)(:(?P<password>[^@]*))?@)?"
    r"\[?(?P<host>(?<=\[)[^]]*|[^]:/?@[]*)]?(:(?P<port>\d*))?(/(?P<dbname>[^?]*))?(\?(?P<query>.*))?"
)
_HINT = "Write it like sqlite:////var/lib/sage/tokens.sqlite or postgresql://user:password@host/database."
_POSTGRES_LOCK_NOT_AVAILABLE = "55P03"

Row = dict[str, Any]
"""A row of the table by its columns' names; those that end in `_at` are moments, aware that they are in UTC."""


class TokenStoreError(FatalSyncError):
    """The token store cannot be used; the message says what to change."""


class DatabaseError(Exception):
    """The first line of what a driver said: values, which are tokens, and hints would come after it.

    Attributes:
        lock_timeout: whether another holder did not let go in time.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error).strip().split("\n", 1)[0].rstrip(".") or type(error).__name__)
        code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorcode", 0) & 0xFF
        self.lock_timeout = code in (_POSTGRES_LOCK_NOT_AVAILABLE, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def _told(*errors: type[Exception]) -> Iterator[None]:
    """Tell the errors of a driver as ours."""
    try:
        yield
    except errors as error:
        raise DatabaseError(error) from None


def default_store_url() -> str:
    """Tell where tokens live unless a setting says otherwise: with the Meltano project, or else with the user."""
    if system_directory := os.environ.get("MELTANO_SYS_DIR_ROOT"):
        directory = Path(system_directory) / APPLICATION
    elif project := os.environ.get("MELTANO_PROJECT_ROOT"):
        directory = Path(project) / ".meltano" / APPLICATION
    else:
        directory = platformdirs.user_data_path(APPLICATION, appauthor=False)
    return f"sqlite:///{directory / 'tokens.sqlite'}"


def connector(url: str, lock_wait: timedelta) -> Callable[[], Connection]:
    """Read a store URL, and give what opens the database that it names.

    Raises:
        TokenStoreError: it names none that can keep tokens, or the driver is not installed.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        raise TokenStoreError(f"Setting 'token_store' is no database URL. {_HINT}")
    backend, driver, host, database = parts.group("backend", "driver", "host", "dbname")
    if backend == "sqlite":
        if host or database in (None, "", ":memory:"):
            raise TokenStoreError(f"Setting 'token_store' names no file, so nothing would outlive the run. {_HINT}")
        return partial(SqliteConnection, Path(database).absolute(), lock_wait)
    if backend not in ("postgresql", "postgres"):
        raise TokenStoreError(f"Setting 'token_store' must name SQLite or PostgreSQL, not {backend!r}. {_HINT}")
    if driver in (None, "psycopg"):
        with suppress(ImportError):
            import psycopg  # noqa: F401, PLC0415 - an extra, which few need

            given = {key: unquote(parts[key]) for key in ("user", "password", "host", "port", "dbname") if parts[key]}
            options = {"connect_timeout": "10", **given, **dict(parse_qsl(parts["query"] or ""))}
            return partial(PostgresConnection, options, lock_wait)
    raise TokenStoreError(
        f"Setting 'token_store' needs a database driver that is not installed ({driver or 'psycopg'}): "
        f"install tap-sage-accounting[postgres]. {_HINT}"
    )


def without_password(url: str) -> str:
    """Give a store URL as it may be shown."""
    return re.sub(r"^([^:]+://[^:/]*):[^@]*@", r"\1:***@", url).partition("?")[0]


class Connection(ABC):
    """An open database, where a statement outside a transaction is one; all but `close` may raise a `DatabaseError`."""

    moment: ClassVar[str]
    find_table: ClassVar[str]
    row_lock: ClassVar[str] = ""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction that may write."""

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """Run a statement that has a `?` for each of its values."""
        with _told(self._driver.Error):
            cursor = self._driver.execute(statement, values)
            names = [column[0] for column in cursor.description or ()]
            found = cursor.fetchall() if names else ()
        return [{n: _in_utc(v) if n.endswith("_at") else v for n, v in zip(names, row, strict=True)} for row in found]

    def commit(self) -> None:
        """Keep what was done since `begin`, and give the lock back."""
        with _told(self._driver.Error):
            self._driver.commit()

    def close(self) -> None:
        """Roll back what was not committed, which gives the lock back, and let go."""
        for end in (self._driver.rollback, self._driver.close):
            with suppress(self._driver.Error):
                end()

    def ensure_table(self) -> None:
        """Make the table unless it is there."""
        if not self.execute(self.find_table, [TABLE]):
            try:
                self.execute(f"CREATE TABLE {TABLE} ({_COLUMNS.format(moment=self.moment)})")
            except DatabaseError:
                # Of two who make it at once, one waits for the other and then fails.
                if not self.execute(self.find_table, [TABLE]):
                    raise

    def rows(self, client_id: str, *, lock: bool = False) -> list[Row]:
        """Read what there is of an application, for nobody else to write where that is asked for."""
        query = f"SELECT * FROM {TABLE} WHERE client_id = ? ORDER BY lineage"  # noqa: S608 - a constant's name
        return self.execute(query + self.row_lock if lock else query, [client_id])

    def insert(self, row: Row, *, unless_there: bool = False) -> None:
        """Add a row; one that is there already is left alone, or else an error."""
        statement = f"INSERT INTO {TABLE} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608 - as above
        self.execute(statement + " ON CONFLICT DO NOTHING" if unless_there else statement, [*row.values()])

    def update(self, row: Row) -> None:
        """Replace the row with the same key."""
        changes = ", ".join(f"{name} = ?" for name in row)
        statement = f"UPDATE {TABLE} SET {changes} WHERE client_id = ? AND lineage = ?"  # noqa: S608 - as above
        self.execute(statement, [*row.values(), row["client_id"], row["lineage"]])

    def delete(self, client_id: str, lineage: str) -> None:
        """Remove a row."""
        self.execute(f"DELETE FROM {TABLE} WHERE client_id = ? AND lineage = ?", [client_id, lineage])  # noqa: S608


class SqliteConnection(Connection):
    """A file on this machine, which one transaction at a time may write."""

    moment = "DATETIME"
    find_table = "SELECT 1 FROM sqlite_master WHERE name = ?"

    @_told(OSError, sqlite3.Error)
    def __init__(self, file: Path, lock_wait: timedelta) -> None:
        _prepare(file)
        super().__init__(sqlite3.connect(file, timeout=lock_wait.total_seconds(), isolation_level=None))

    @override
    def begin(self) -> None:
        with suppress(DatabaseError):
            # With a write-ahead log a commit waits for the disk once instead of four times, so that less can come
            # between Sage's answer and its safety. While another process holds the file in the older mode, that does
            # as well.
            self.execute("PRAGMA journal_mode = WAL")
        for statement in ("PRAGMA synchronous = FULL", "PRAGMA fullfsync = ON", "PRAGMA secure_delete = ON"):
            self.execute(statement)
        self.execute("BEGIN IMMEDIATE")

    @override
    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        return super().execute(
            statement, [_as_text(value) if isinstance(value, datetime) else value for value in values]
        )


class PostgresConnection(Connection):
    """A server for many machines, which locks row by row."""

    moment = "TIMESTAMP WITH TIME ZONE"
    find_table = "SELECT 1 WHERE to_regclass(?) IS NOT NULL"
    row_lock = " FOR UPDATE"

    def __init__(self, options: Mapping[str, Any], lock_wait: timedelta) -> None:
        import psycopg  # noqa: PLC0415 - an extra, which few need

        with _told(psycopg.Error):
            super().__init__(psycopg.connect(**options, autocommit=True))
        self._limits = [f"{limit.total_seconds()}s" for limit in (lock_wait, LOST_HOLDER)]

    @override
    def begin(self) -> None:
        self.execute("BEGIN")
        names = ("lock_timeout", "idle_in_transaction_session_timeout")
        self.execute("SELECT " + ", ".join(f"set_config('{name}', ?, true)" for name in names), self._limits)

    @override
    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        return super().execute(statement.replace("?", "%s"), values)


def _prepare(file: Path) -> None:
    """Make SQLite's file before SQLite does, to be the only one who ever could read it: 0600 in a directory of 0700."""
    if not file.parent.exists():
        file.parent.mkdir(mode=0o700, parents=True)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    if file.stat().st_mode & 0o077:
        file.chmod(0o600)
    # SQLite itself would find out at the first write only, which is after the token was spent.
    for needed in (file, file.parent):
        if not os.access(needed, os.W_OK):
            raise PermissionError(f"{needed} is not writable")


def _as_text(moment: datetime) -> str:
    """Write a moment as the table has had them from the start: in UTC, without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _in_utc(stored: str | datetime | None) -> datetime | None:
    """Read a moment; SQLite itself keeps no zone."""
    moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
