"""Where the rotating refresh tokens live between runs: one row per lineage, written before its tokens are used.

A *lineage* is a first refresh token and everything that descends from it. Sage replaces a refresh token at every use
and kills the old one at once, so exactly one holder may spend it, and what it gets must be on the disk before anything
else happens. SQLite does that with `BEGIN IMMEDIATE` on one machine, PostgreSQL with row locks across machines; both
let go when the holder dies.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.lineage import Lineage, Tokens, fingerprint
from tap_sage_accounting.token_database import (
    Connection,
    DatabaseError,
    Row,
    TokenStoreError,
    connector,
    default_store_url,
    without_password,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.fernet import MultiFernet

__all__ = ["HeldLineage", "TokenStore", "TokenStoreError", "default_store_url"]

LOCK_WAIT = timedelta(seconds=240)
"""How long to wait for another run that is renewing tokens; longer than a renewal can take with all its retries."""
SAVE_AGAIN_AFTER = (0.1, 0.5, 1.0, 3.0, 10.0)
"""Seconds between attempts to save new tokens when the database went away between the lock and the commit."""
_ENCRYPTED = "fernet:"


class Seal:
    """Encrypts tokens at rest, when there is a key.

    Args:
        keys: Fernet keys: the first encrypts, all decrypt. None: tokens are stored as they are.

    Raises:
        TokenStoreError: a key is none.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._cipher: MultiFernet | None = None
        if not keys:
            return
        try:
            from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - loaded only where a key is set

            self._cipher = MultiFernet([Fernet(key.strip()) for key in keys])
        except ImportError:
            raise TokenStoreError("Setting 'token_store_key' needs the package 'cryptography': install it.") from None
        except ValueError:
            raise TokenStoreError(
                "Setting 'token_store_key' must hold Fernet keys: 32 bytes in URL-safe base64, made by "
                "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'."
            ) from None

    def close(self, token: str) -> str:
        """Give the form in which a token is stored."""
        return token if self._cipher is None else _ENCRYPTED + self._cipher.encrypt(token.encode()).decode()

    def open(self, stored: str) -> str:
        """Give the token back; one that was stored before there was a key is as it is.

        Raises:
            TokenStoreError: it was encrypted with a key that is not at hand.
        """
        if not stored.startswith(_ENCRYPTED):
            return stored
        if self._cipher is None:
            raise TokenStoreError(
                "The tokens in the token store are encrypted: set 'token_store_key' to the key in use."
            )
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - loaded only where a key is set

        try:
            return self._cipher.decrypt(stored.removeprefix(_ENCRYPTED)).decode()
        except InvalidToken:
            raise TokenStoreError(
                "No key of 'token_store_key' opens the tokens in the token store: they were encrypted with another "
                "one. Add that key after the new one, separated by a comma, or log in again."
            ) from None


class HeldLineage:
    """A lineage under its lock: whatever is written is committed at once, and the lock is given back with it."""

    def __init__(self, store: TokenStore, connection: Connection, lineage: Lineage) -> None:
        self.lineage = lineage
        self._store = store
        self._connection = connection

    def rehearse(self) -> None:
        """Commit the row as it is, and read it again under a new lock.

        A database that cannot be written is found out before a token is spent on it, and what a first commit costs more
        than a second one (SQLite makes its log, statements are compiled) is paid while nothing is at stake.

        Raises:
            TokenStoreError: it cannot be written, or the lineage is gone now.
        """
        self._commit(self.lineage)
        with self._store.explained():
            self.lineage = self._store.lock_again(self._connection, self.lineage)

    def save(self, tokens: Tokens) -> None:
        """Commit new tokens.

        A database that went away since the lock was taken is tried again: these tokens exist nowhere else.

        Raises:
            TokenStoreError: the tokens could not be stored, and are lost.
        """
        renewed = self.lineage.renewed(tokens)
        try:
            self._store.write(self._connection, renewed)
        except DatabaseError:
            # What is left of the connection may still hold the lock.
            self._connection.close()
            self._store.save_later(self.lineage, renewed)

    def mark_refused(self, moment: datetime) -> None:
        """Commit that Sage called the refresh token invalid, so that nobody sends it again."""
        self._commit(replace(self.lineage, refused_at=moment))

    def mark_answer_lost(self, moment: datetime) -> None:
        """Commit that nobody knows whether the refresh token was spent."""
        self._commit(replace(self.lineage, answer_lost_at=moment))

    def forget(self) -> None:
        """Delete the lineage."""
        with self._store.explained():
            self._connection.delete(self.lineage.client_id, self.lineage.key)
            self._connection.commit()

    def _commit(self, lineage: Lineage) -> None:
        with self._store.explained():
            self._store.write(self._connection, lineage)


class TokenStore:
    """A table of lineages in SQLite or PostgreSQL.

    Args:
        url: `sqlite:///...` or `postgresql://...`; None for the default place.
        encryption_keys: Fernet keys: the first encrypts, all decrypt. None: tokens are stored as they are.
        lock_wait: how long to wait for another holder.

    Raises:
        TokenStoreError: the URL or a key is not one.
    """

    def __init__(
        self, url: str | None = None, *, encryption_keys: Sequence[str] = (), lock_wait: timedelta = LOCK_WAIT
    ) -> None:
        url = url or default_store_url()
        self.place = without_password(url)
        self._connect = connector(url, lock_wait)
        self._seal = Seal(encryption_keys)
        self._lock_wait = lock_wait

    def check(self) -> None:
        """Open the store, making what is missing: directory 0700, file 0600, table.

        Raises:
            TokenStoreError: it cannot be opened or written.
        """
        with self.explained(), closing(self._connect()) as connection:
            connection.ensure_table()
            connection.rows(client_id="")

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
        with self.explained(), closing(self._connect()) as connection:
            found = self._lineage(_resolve(connection.rows(client_id), configured))
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
        with ExitStack() as stack:
            with self.explained():
                # What is not committed is rolled back at the end, which gives the lock back.
                connection = stack.enter_context(self._transaction())
                found = self._locked_lineage(connection, client_id, configured)
            yield None if found is None else HeldLineage(self, connection, found)

    def keep_login(self, client_id: str, configured: str | None, tokens: Tokens) -> Lineage:
        """Store the tokens of a new consent.

        With a configured refresh token they continue its lineage: otherwise the next run would go on with the dead
        tokens of the settings. Without one they begin a lineage, and replace what the same user consented to before,
        which Sage no longer accepts.

        Raises:
            TokenStoreError: they could not be stored.
        """
        with self.explained(), self._transaction() as connection:
            known = configured and self._locked_lineage(connection, client_id, configured)
            if known:
                lineage = known.renewed(tokens)
                connection.update(self._row(lineage))
            else:
                for old in connection.rows(client_id, lock=True):
                    if old["source"] == "login" and old["requested_by_id"] == tokens.requested_by_id:
                        connection.delete(client_id, old["lineage"])
                begun = Lineage.begin(client_id, tokens.refresh_token, "login", tokens.issued_at)
                lineage = begun.renewed(tokens)
                connection.insert(self._row(lineage))
            connection.commit()
        return lineage

    def write(self, connection: Connection, lineage: Lineage) -> None:
        """Write and commit the row of a lineage that is locked."""
        connection.update(self._row(lineage))
        connection.commit()

    def lock_again(self, connection: Connection, lineage: Lineage) -> Lineage:
        """Lock and read a lineage that was locked before.

        Raises:
            TokenStoreError: it was deleted.
        """
        connection.begin()
        rows = connection.rows(lineage.client_id, lock=True)
        found = self._lineage(next((row for row in rows if row["lineage"] == lineage.key), None))
        if found is None:
            raise TokenStoreError(f"The login was removed from the token store {self.place} while it was in use.")
        return found

    def save_later(self, before: Lineage, renewed: Lineage) -> None:
        """Save new tokens through a new connection, unless somebody has gone on from them already.

        Raises:
            TokenStoreError: it did not succeed within a quarter of a minute.
        """
        problem: DatabaseError | None = None
        for seconds in SAVE_AGAIN_AFTER:
            time.sleep(seconds)
            try:
                with self._transaction() as connection:
                    rows = connection.rows(before.client_id, lock=True)
                    now = next((row["refresh_fingerprint"] for row in rows if row["lineage"] == before.key), None)
                    if now == fingerprint(before.refresh_token):
                        connection.update(self._row(renewed))
                    elif now is None:
                        connection.insert(self._row(renewed))
                    connection.commit()
                    return
            except DatabaseError as error:
                problem = error
        raise TokenStoreError(
            f"Sage issued new tokens, but the token store {self.place} failed before they were stored "
            f"({problem}), so they are lost. Mend the store, then log in again."
        ) from None

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn a database's errors into one sentence about the store."""
        try:
            yield
        except DatabaseError as error:
            raise TokenStoreError(
                f"The token store {self.place} stayed locked for more than {self._lock_wait.total_seconds():.0f} s: "
                "another run is renewing its tokens and does not finish. End that run, or start this one again later."
                if error.lock_timeout
                else f"The token store {self.place} cannot be used: {error}. "
                "Check the setting 'token_store' and that this user may write there."
            ) from None

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Open a connection whose transaction may write; rolled back unless the block commits."""
        with closing(self._connect()) as connection:
            connection.begin()
            yield connection

    def _locked_lineage(self, connection: Connection, client_id: str, configured: str | None) -> Lineage | None:
        """Find a lineage and lock it; one that is not there yet is inserted, so that there is something to lock."""
        found = self._lineage(_resolve(connection.rows(client_id, lock=True), configured))
        if found is not None or configured is None:
            return found
        begun = Lineage.begin(client_id, configured, "settings", datetime.now(UTC))
        # Another machine may be inserting the same row: this waits for it, and leaves it alone if it is kept.
        connection.insert(self._row(begun), unless_there=True)
        return self._lineage(_resolve(connection.rows(client_id, lock=True), configured))

    def _join(self, client_id: str, configured: str) -> Lineage | None:
        """Remember that a configured token is the newest one of a lineage: the next renewal will hide that."""
        with self.explained(), self._transaction() as connection:
            found = self._locked_lineage(connection, client_id, configured)
            if found is not None and fingerprint(configured) not in found.seeds:
                found = replace(found, seeds=(*found.seeds, fingerprint(configured)))
                connection.update(self._row(found))
            connection.commit()
        return found

    def _row(self, lineage: Lineage) -> Row:
        tokens = lineage.tokens
        return {
            "client_id": lineage.client_id,
            "lineage": lineage.key,
            "source": lineage.source,
            "seeds": " ".join(lineage.seeds),
            "refresh_token": self._seal.close(lineage.refresh_token),
            "refresh_fingerprint": fingerprint(lineage.refresh_token),
            "access_token": tokens and self._seal.close(tokens.access_token),
            "issued_at": tokens and tokens.issued_at,
            "lifetime_seconds": tokens and tokens.lifetime.total_seconds(),
            "refresh_lifetime_seconds": tokens and tokens.refresh_lifetime.total_seconds(),
            "scope": tokens and tokens.scope,
            "requested_by_id": tokens and tokens.requested_by_id,
            "created_at": lineage.created_at,
            "refused_at": lineage.refused_at,
            "answer_lost_at": lineage.answer_lost_at,
        }

    def _lineage(self, row: Row | None) -> Lineage | None:
        if row is None:
            return None
        refresh_token = self._seal.open(row["refresh_token"])
        tokens = None
        if row["access_token"] is not None:
            tokens = Tokens(
                access_token=self._seal.open(row["access_token"]),
                refresh_token=refresh_token,
                issued_at=row["issued_at"],
                lifetime=timedelta(seconds=row["lifetime_seconds"]),
                refresh_lifetime=timedelta(seconds=row["refresh_lifetime_seconds"]),
                scope=row["scope"],
                requested_by_id=row["requested_by_id"],
            )
        return Lineage(
            client_id=row["client_id"],
            key=row["lineage"],
            source=row["source"],
            seeds=tuple(row["seeds"].split()),
            refresh_token=refresh_token,
            tokens=tokens,
            created_at=row["created_at"],
            refused_at=row["refused_at"],
            answer_lost_at=row["answer_lost_at"],
        )


def _resolve(rows: Sequence[Row], configured: str | None) -> Row | None:
    """Choose the lineage that a configured refresh token means; without one, the newest that `login` stored."""
    if configured is None:
        logins = [row for row in rows if row["source"] == "login"]
        return max(logins, key=lambda row: row["created_at"], default=None)
    mark = fingerprint(configured)
    for row in rows:
        if mark in row["seeds"].split():
            return row
    return next((row for row in rows if row["refresh_fingerprint"] == mark), None)
