"""Where the rotating refresh tokens live between runs: one row per lineage, written before its tokens are used.

A *lineage* is a first refresh token and everything that descends from it. Sage replaces a refresh token at every use
and kills the old one at once, so exactly one holder may spend it, and what it gets must be on the disk before anything
else happens. SQLite does that with `BEGIN IMMEDIATE` on one machine, PostgreSQL with row locks across machines; both
let go when the holder dies.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs
from singer_sdk.exceptions import FatalSyncError
from sqlalchemy import (
    Column,
    DateTime,
    Float,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.fernet import MultiFernet
    from sqlalchemy import Connection, Dialect, Engine, Row
    from sqlalchemy.engine import URL

APPLICATION = "tap-sage-accounting"
LOCK_WAIT = timedelta(seconds=240)
"""How long to wait for another run that is renewing tokens; longer than a renewal can take with all its retries."""
LOST_HOLDER = timedelta(seconds=200)
"""When PostgreSQL ends the transaction of a holder whose machine went away without closing its connection."""
SAVE_AGAIN_AFTER = (0.1, 0.5, 1.0, 3.0, 10.0)
"""Seconds between attempts to save new tokens when the database went away between the lock and the commit."""
_ENCRYPTED = "fernet:"
_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6
_POSTGRES_LOCK_NOT_AVAILABLE = "55P03"

Source = Literal["settings", "login"]


class TokenStoreError(FatalSyncError):
    """The token store cannot be used; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One answer of Sage's token endpoint.

    Attributes:
        access_token: opens the API for `lifetime` from `issued_at`; cannot be revoked.
        refresh_token: buys the next answer, once, within `refresh_lifetime`.
        issued_at: when the answer was asked for, by this machine's clock; never later than Sage's moment of issue.
        scope: `readonly` or `full_access`.
        requested_by_id: Sage's id of the user who consented, or "".
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    issued_at: datetime
    lifetime: timedelta
    refresh_lifetime: timedelta
    scope: str = ""
    requested_by_id: str = ""

    @property
    def renew_at(self) -> datetime:
        """The moment from which the access token is too near its end to be used: a fifth of its lifetime before."""
        return self.issued_at + self.lifetime * 0.8

    @property
    def refresh_expires_at(self) -> datetime:
        """The moment at which the refresh token dies of idleness."""
        return self.issued_at + self.refresh_lifetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """A first refresh token and what became of it.

    Attributes:
        client_id: the application that the tokens were issued to.
        key: fingerprint of the refresh token that the lineage began with.
        source: whether the first token came from the settings or from `login`.
        seeds: fingerprints of all configured tokens that lead here.
        refresh_token: the newest refresh token.
        tokens: the newest answer of the token endpoint; None before the first renewal.
        created_at: when the lineage became known.
        refused_at: when Sage called the newest refresh token invalid; None while it is thought good.
        answer_lost_at: when the answer to a request with the newest refresh token got lost on its way; None normally.
    """

    client_id: str
    key: str
    source: Source
    seeds: tuple[str, ...]
    refresh_token: str = field(repr=False)
    tokens: Tokens | None = None
    created_at: datetime
    refused_at: datetime | None = None
    answer_lost_at: datetime | None = None

    @classmethod
    def begin(cls, client_id: str, refresh_token: str, source: Source, now: datetime) -> Lineage:
        """Start a lineage from a refresh token that was never used here."""
        key = fingerprint(refresh_token)
        return cls(
            client_id=client_id, key=key, source=source, seeds=(key,), refresh_token=refresh_token, created_at=now
        )

    def renewed(self, tokens: Tokens) -> Lineage:
        """Continue the lineage with a new answer of the token endpoint."""
        return replace(self, tokens=tokens, refresh_token=tokens.refresh_token, refused_at=None, answer_lost_at=None)


def fingerprint(token: str) -> str:
    """Tell tokens apart without keeping them: SHA-256, hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


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


class HeldLineage:
    """A lineage under its lock: whatever is written is committed at once, and the lock is given back with it."""

    def __init__(self, store: TokenStore, connection: Connection, lineage: Lineage) -> None:
        self.lineage = lineage
        self._store = store
        self._connection = connection

    def save(self, tokens: Tokens) -> None:
        """Commit new tokens.

        A database that went away since the lock was taken is tried again: these tokens exist nowhere else.

        Raises:
            TokenStoreError: the tokens could not be stored, and are lost.
        """
        renewed = self.lineage.renewed(tokens)
        try:
            self._store.write(self._connection, renewed)
            self._connection.commit()
        except SQLAlchemyError:
            # What is left of the connection may still hold the lock.
            with suppress(SQLAlchemyError):
                self._connection.close()
            self._store.save_later(self.lineage, renewed)

    def mark_refused(self, moment: datetime) -> None:
        """Commit that Sage called the refresh token invalid, so that nobody sends it again."""
        self._commit(replace(self.lineage, refused_at=moment))

    def mark_answer_lost(self, moment: datetime) -> None:
        """Commit that nobody knows whether the refresh token was spent."""
        self._commit(replace(self.lineage, answer_lost_at=moment))

    def _commit(self, lineage: Lineage) -> None:
        with self._store.explained():
            self._store.write(self._connection, lineage)
            self._connection.commit()


class TokenStore:
    """A table of lineages in SQLite or PostgreSQL.

    Args:
        url: SQLAlchemy URL, `sqlite:///...` or `postgresql://...`; None for the default place.
        encryption_keys: Fernet keys: the first encrypts, all decrypt. None: tokens are stored as they are.
        lock_wait: how long to wait for another holder.

    Raises:
        TokenStoreError: the URL or a key is not one.
    """

    def __init__(
        self, url: str | None = None, *, encryption_keys: Sequence[str] = (), lock_wait: timedelta = LOCK_WAIT
    ) -> None:
        self._url = _parsed(url or default_store_url())
        self._cipher = _cipher(encryption_keys)
        self._lock_wait = lock_wait
        self._engine = _engine(self._url, lock_wait)

    @property
    def place(self) -> str:
        """The store's address as it may be shown: without its password."""
        return self._url.render_as_string(hide_password=True)

    def check(self) -> None:
        """Open the store, making what is missing: directory 0700, file 0600, table.

        Raises:
            TokenStoreError: it cannot be opened or written.
        """
        with self.explained():
            self._prepare_file()
            try:
                LINEAGES.metadata.create_all(self._engine)
            except IntegrityError:
                # PostgreSQL's answer to the loser of two simultaneous CREATE TABLE; the table exists now.
                LINEAGES.metadata.create_all(self._engine)
            with self._transaction() as connection:
                self._rows(connection, client_id="")

    def read(self, client_id: str, configured: str | None) -> Lineage | None:
        """Look a lineage up without waiting for anybody.

        Args:
            client_id: the application.
            configured: the refresh token of the settings; None: the newest lineage that `login` stored.

        Returns:
            The lineage, or None if there is none yet.

        Raises:
            TokenStoreError: the store cannot be read.
        """
        with self.explained(), self._engine.connect() as connection:
            found = _resolve(self._rows(connection, client_id), configured)
        if found is not None and configured is not None and fingerprint(configured) not in found.seeds:
            return self._join(client_id, configured)
        return found

    @contextmanager
    def locked(self, client_id: str, configured: str | None) -> Iterator[HeldLineage | None]:
        """Hold a lineage for read, renew, write; nobody else can until the block ends or something is written.

        A configured refresh token that is not known begins a lineage of its own.

        Yields:
            The lineage as it is now, or None if no token is configured and `login` never stored one.

        Raises:
            TokenStoreError: the store cannot be used, or another holder did not let go in time.
        """
        with self.explained():
            connection = self._engine.connect()
        try:
            with self.explained():
                found = self._locked_lineage(connection, client_id, configured)
            yield None if found is None else HeldLineage(self, connection, found)
        finally:
            # Whatever was not committed is rolled back here, which gives the lock back.
            with suppress(SQLAlchemyError):
                connection.close()

    def keep_login(self, client_id: str, configured: str | None, tokens: Tokens) -> Lineage:
        """Store the tokens of a new consent.

        With a configured refresh token they continue its lineage: otherwise the next run would go on with the dead
        tokens of the settings. Without one they begin a lineage, and replace what the same user consented to before,
        which Sage no longer accepts.

        Raises:
            TokenStoreError: they could not be stored.
        """
        with self.explained(), self._transaction() as connection:
            if configured is not None:
                held = self._locked_lineage(connection, client_id, configured)
                begun = held or Lineage.begin(client_id, configured, "settings", tokens.issued_at)
            else:
                begun = Lineage.begin(client_id, tokens.refresh_token, "login", tokens.issued_at)
                for old in self._rows(connection, client_id, lock=True):
                    if old.source == "login" and old.tokens and old.tokens.requested_by_id == tokens.requested_by_id:
                        self._delete(connection, old)
            lineage = begun.renewed(tokens)
            self.write(connection, lineage)
            connection.commit()
        return lineage

    def forget(self, lineage: Lineage) -> None:
        """Delete a lineage.

        Raises:
            TokenStoreError: the store cannot be written.
        """
        with self.explained(), self._transaction() as connection:
            self._delete(connection, lineage)
            connection.commit()

    def write(self, connection: Connection, lineage: Lineage) -> None:
        """Write a lineage's row, without committing it."""
        values = self._values(lineage)
        if not connection.execute(LINEAGES.update().where(_is(lineage)).values(values)).rowcount:
            connection.execute(LINEAGES.insert().values(values))

    def save_later(self, before: Lineage, renewed: Lineage) -> None:
        """Save new tokens through a new connection, unless somebody has gone on from them already.

        Raises:
            TokenStoreError: it did not succeed within a quarter of a minute.
        """
        problem: SQLAlchemyError | None = None
        for seconds in SAVE_AGAIN_AFTER:
            time.sleep(seconds)
            try:
                with self._transaction() as connection:
                    now = [row for row in self._rows(connection, before.client_id, lock=True) if row.key == before.key]
                    if not now or now[0].refresh_token == before.refresh_token:
                        self.write(connection, renewed)
                        connection.commit()
                    return
            except SQLAlchemyError as error:
                problem = error
        raise TokenStoreError(
            f"Sage issued new tokens, but the token store {self.place} failed before they were stored "
            f"({_reason(problem)}), so they are lost. Mend the store, then log in again."
        ) from None

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn a database's errors into one sentence about the store."""
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            raise TokenStoreError(self._explanation(error)) from None

    def _explanation(self, error: Exception) -> str:
        if _is_lock_timeout(error):
            return (
                f"The token store {self.place} stayed locked for more than {self._lock_wait.total_seconds():.0f} s: "
                "another run is renewing its tokens and does not finish. End that run, or start this one again later."
            )
        return (
            f"The token store {self.place} cannot be used: {_reason(error)}. "
            "Check the setting 'token_store' and that this user may write there."
        )

    def _prepare_file(self) -> None:
        """Make SQLite's file before SQLite does, to be the only one who ever could read it."""
        if self._url.get_backend_name() != "sqlite":
            return
        path = Path(self._url.database or "")
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Open a connection whose transaction may write; rolled back unless the block commits."""
        with self._engine.connect() as connection:
            self._begin(connection)
            yield connection

    def _begin(self, connection: Connection) -> None:
        connection.execution_options(sqlite_begin="IMMEDIATE")
        connection.begin()
        if connection.dialect.name == "postgresql":
            limits = {"wait": f"{self._lock_wait.total_seconds()}s", "lost": f"{LOST_HOLDER.total_seconds()}s"}
            connection.execute(
                text(
                    "SELECT set_config('lock_timeout', :wait, true),"
                    " set_config('idle_in_transaction_session_timeout', :lost, true)"
                ),
                limits,
            )

    def _locked_lineage(self, connection: Connection, client_id: str, configured: str | None) -> Lineage | None:
        """Find a lineage and lock it; one that is not there yet is inserted, so that there is something to lock."""
        if not connection.in_transaction():
            self._begin(connection)
        found = _resolve(self._rows(connection, client_id, lock=True), configured)
        if found is not None or configured is None:
            return found
        begun = Lineage.begin(client_id, configured, "settings", datetime.now(UTC))
        with suppress(IntegrityError), connection.begin_nested():
            # Another machine may be inserting the same row: this waits for it, and fails if it is kept.
            self.write(connection, begun)
        return _resolve(self._rows(connection, client_id, lock=True), configured)

    def _join(self, client_id: str, configured: str) -> Lineage | None:
        """Remember that a configured token is the newest one of a lineage: the next renewal will hide that."""
        with self.explained(), self._transaction() as connection:
            found = self._locked_lineage(connection, client_id, configured)
            if found is not None and fingerprint(configured) not in found.seeds:
                found = replace(found, seeds=(*found.seeds, fingerprint(configured)))
                self.write(connection, found)
            connection.commit()
        return found

    def _rows(self, connection: Connection, client_id: str, *, lock: bool = False) -> list[Lineage]:
        query = select(LINEAGES).where(LINEAGES.c.client_id == client_id).order_by(LINEAGES.c.lineage)
        return [self._lineage(row) for row in connection.execute(query.with_for_update() if lock else query)]

    def _delete(self, connection: Connection, lineage: Lineage) -> None:
        connection.execute(LINEAGES.delete().where(_is(lineage)))

    def _values(self, lineage: Lineage) -> dict[str, Any]:
        tokens = lineage.tokens
        return {
            "client_id": lineage.client_id,
            "lineage": lineage.key,
            "source": lineage.source,
            "seeds": " ".join(lineage.seeds),
            "refresh_token": self._sealed(lineage.refresh_token),
            "refresh_fingerprint": fingerprint(lineage.refresh_token),
            "access_token": tokens and self._sealed(tokens.access_token),
            "issued_at": tokens and tokens.issued_at,
            "lifetime_seconds": tokens and tokens.lifetime.total_seconds(),
            "refresh_lifetime_seconds": tokens and tokens.refresh_lifetime.total_seconds(),
            "scope": tokens and tokens.scope,
            "requested_by_id": tokens and tokens.requested_by_id,
            "created_at": lineage.created_at,
            "refused_at": lineage.refused_at,
            "answer_lost_at": lineage.answer_lost_at,
        }

    def _lineage(self, row: Row[Any]) -> Lineage:
        refresh_token = self._opened(row.refresh_token)
        tokens = None
        if row.access_token is not None:
            tokens = Tokens(
                access_token=self._opened(row.access_token),
                refresh_token=refresh_token,
                issued_at=row.issued_at,
                lifetime=timedelta(seconds=row.lifetime_seconds),
                refresh_lifetime=timedelta(seconds=row.refresh_lifetime_seconds),
                scope=row.scope,
                requested_by_id=row.requested_by_id,
            )
        return Lineage(
            client_id=row.client_id,
            key=row.lineage,
            source=row.source,
            seeds=tuple(row.seeds.split()),
            refresh_token=refresh_token,
            tokens=tokens,
            created_at=row.created_at,
            refused_at=row.refused_at,
            answer_lost_at=row.answer_lost_at,
        )

    def _sealed(self, token: str) -> str:
        return token if self._cipher is None else _ENCRYPTED + self._cipher.encrypt(token.encode()).decode()

    def _opened(self, stored: str) -> str:
        if not stored.startswith(_ENCRYPTED):
            return stored
        if self._cipher is None:
            raise TokenStoreError(
                f"The tokens in the token store {self.place} are encrypted: set 'token_store_key' to the key in use."
            )
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - loaded only where a key is set

        try:
            return self._cipher.decrypt(stored.removeprefix(_ENCRYPTED)).decode()
        except InvalidToken:
            raise TokenStoreError(
                f"No key of 'token_store_key' opens the tokens in the token store {self.place}: they were encrypted "
                "with another one. Add that key after the new one, separated by a comma, or log in again."
            ) from None


def _resolve(rows: Sequence[Lineage], configured: str | None) -> Lineage | None:
    """Choose the lineage that a configured refresh token means; without one, the newest that `login` stored."""
    if configured is None:
        logins = [row for row in rows if row.source == "login"]
        return max(logins, key=lambda row: row.created_at, default=None)
    mark = fingerprint(configured)
    for row in rows:
        if mark in row.seeds:
            return row
    return next((row for row in rows if row.refresh_token == configured), None)


def _is(lineage: Lineage) -> Any:  # noqa: ANN401 - SQLAlchemy's type of a condition is not public
    return (LINEAGES.c.client_id == lineage.client_id) & (LINEAGES.c.lineage == lineage.key)


def _parsed(url: str) -> URL:
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


def _cipher(keys: Sequence[str]) -> MultiFernet | None:
    if not keys:
        return None
    try:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - loaded only where a key is set
    except ImportError:
        raise TokenStoreError("Setting 'token_store_key' needs the package 'cryptography': install it.") from None
    try:
        return MultiFernet([Fernet(key.strip()) for key in keys])
    except ValueError:
        raise TokenStoreError(
            "Setting 'token_store_key' must hold Fernet keys: 32 bytes in URL-safe base64, made by "
            "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'."
        ) from None


def _engine(url: URL, lock_wait: timedelta) -> Engine:
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


def _open_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
    """Make commits durable and deletions real, and leave the beginning of transactions to `_begin_sqlite`."""
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA secure_delete = ON")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_begin', 'DEFERRED')}")


def _is_lock_timeout(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return (
        code in (_SQLITE_BUSY, _SQLITE_LOCKED) or getattr(error.orig, "sqlstate", None) == _POSTGRES_LOCK_NOT_AVAILABLE
    )


def _reason(error: Exception | None) -> str:
    """Take the first line of the innermost error: drivers put statements and hints into the others."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    return str(inner).strip().split("\n", 1)[0].rstrip(".") or type(inner).__name__
