"""The database behind the token store: its address, its one table, its connections and its errors."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from singer_sdk.exceptions import FatalSyncError
from sqlalchemy import Column, DateTime, Float, MetaData, String, Table, Text, TypeDecorator, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool
from typing_extensions import override

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Engine
    from sqlalchemy.engine import URL

APPLICATION = "tap-sage-accounting"
_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6
_POSTGRES_LOCK_NOT_AVAILABLE = "55P03"


class TokenStoreError(FatalSyncError):
    """The token store cannot be used; the message says what to change."""


def default_store_url() -> str:
    """Tell where tokens live unless a setting says otherwise: with the Meltano project, or else with the user."""
    if system_directory := os.environ.get("MELTANO_SYS_DIR_ROOT"):
        directory = Path(system_directory) / APPLICATION
    elif project := os.environ.get("MELTANO_PROJECT_ROOT"):
        directory = Path(project) / ".meltano" / APPLICATION
    else:
        directory = platformdirs.user_data_path(APPLICATION, appauthor=False)
    return f"sqlite:///{directory / 'tokens.sqlite'}"


class _Moment(TypeDecorator[datetime]):
    """A moment in UTC, aware of it on both sides; SQLite itself keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


LINEAGES = Table(
    "tap_sage_accounting_tokens",
    MetaData(),
    Column("client_id", String, primary_key=True),
    Column("lineage", String, primary_key=True),
    Column("source", String, nullable=False),
    Column("seeds", Text, nullable=False),
    Column("refresh_token", Text, nullable=False),
    Column("refresh_fingerprint", String, nullable=False),
    Column("access_token", Text),
    Column("issued_at", _Moment),
    Column("lifetime_seconds", Float),
    Column("refresh_lifetime_seconds", Float),
    Column("scope", String),
    Column("requested_by_id", String),
    Column("created_at", _Moment, nullable=False),
    Column("refused_at", _Moment),
    Column("answer_lost_at", _Moment),
)


def store_url(url: str) -> URL:
    """Read a store URL and choose the driver that this package installs."""
    hint = "Write it like sqlite:////var/lib/sage/tokens.sqlite or postgresql://user:password@host/database."
    try:
        # SQLAlchemy 2 forgot the old short name that hosting platforms still hand out.
        parsed = make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
    except ArgumentError:
        raise TokenStoreError(f"Setting 'token_store' is no SQLAlchemy URL. {hint}") from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise TokenStoreError(f"Setting 'token_store' must name SQLite or PostgreSQL, not {backend!r}. {hint}")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise TokenStoreError(f"Setting 'token_store' names no file, so nothing would outlive the run. {hint}")
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def connect_to(url: URL, lock_wait: timedelta) -> Engine:
    """Make an engine whose errors and logs never show parameters, for these are tokens."""
    sqlite = url.get_backend_name() == "sqlite"
    arguments: dict[str, Any] = {"timeout": lock_wait.total_seconds()} if sqlite else {}
    if not sqlite and "connect_timeout" not in url.query:
        arguments = {"connect_timeout": 10}
    try:
        # A connection per use: a few a minute at most, and none that a fork or an idle firewall can spoil.
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)
    except (ImportError, NoSuchModuleError):
        raise TokenStoreError(
            f"Setting 'token_store' needs a database driver that is not installed ({url.drivername}): "
            "install tap-sage-accounting[postgres]."
        ) from None
    if sqlite:
        event.listen(engine, "connect", _open_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_sqlite(connection: Any, _record: object) -> None:
    """Make commits durable and deletions real, and leave the beginning of transactions to `_begin_sqlite`."""
    connection.isolation_level = None
    with suppress(sqlite3.OperationalError):
        # With a write-ahead log a commit waits for the disk once instead of four times, so that less can come between
        # Sage's answer and its safety. While another process holds the file in the older mode, that does as well.
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA secure_delete = ON")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_begin', 'DEFERRED')}")


def is_lock_timeout(error: Exception) -> bool:
    """Tell whether an error says that another holder did not let go in time."""
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return (
        code in (_SQLITE_BUSY, _SQLITE_LOCKED) or getattr(error.orig, "sqlstate", None) == _POSTGRES_LOCK_NOT_AVAILABLE
    )


def reason_of(error: Exception | None) -> str:
    """Take the first line of the innermost error: drivers put statements and hints into the others."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    return str(inner).strip().split("\n", 1)[0].rstrip(".") or type(inner).__name__


def prepare_file(url: URL) -> None:
    """Make SQLite's file before SQLite does, to be the only one who ever could read it: 0600 in a directory of 0700."""
    if url.get_backend_name() != "sqlite":
        return
    path = Path(url.database or "")
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    # SQLite itself would find out at the first write only, which is after the token was spent.
    for needed in (path, path.parent):
        if not os.access(needed, os.W_OK):
            raise PermissionError(f"{needed} is not writable")
