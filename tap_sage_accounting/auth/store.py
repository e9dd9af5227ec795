"""Where the rotating refresh tokens live between runs: one row per lineage, written before its tokens are used.

A *lineage* is a first refresh token and everything that descends from it. Sage replaces a refresh token at every use
and kills the old one at once, so exactly one holder may spend it, and what it gets must be on the disk before anything
else happens. SQLite does that with `BEGIN IMMEDIATE` on one machine, PostgreSQL with row locks across machines; both
let go when the holder dies.

A holder announces in the row that it is about to spend the token. An announcement that is found there says that the
row may be behind: the holder may have newer tokens that the store did not take yet, in memory or in a rescue file. On
the same machine, the holder's claim says until when.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from tap_sage_accounting.auth.address import StoreAddress, default_store_url
from tap_sage_accounting.auth.claim import Claim
from tap_sage_accounting.auth.database import Connection, DatabaseError, Row, connector, in_our_words
from tap_sage_accounting.auth.encryption import TokenCipher
from tap_sage_accounting.auth.files import is_open_to_others
from tap_sage_accounting.auth.rescue import Renewed, RescueFile
from tap_sage_accounting.auth.rows import lineage_of, resolve, row_of
from tap_sage_accounting.auth.tokens import TokenFamily, Tokens, fingerprint
from tap_sage_accounting.exceptions import StoreUnavailableError, TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Result = TypeVar("Result")

__all__ = ["HeldTokenFamily", "TokenStore", "TokenStoreError", "UnsavedTokens", "default_store_url", "patiently"]

LOCK_WAIT = timedelta(seconds=240)
"""How long to wait for another run that is renewing tokens; longer than a renewal can take with all its retries."""
HASTY_LOCK_WAIT = timedelta(seconds=2)
"""How long to wait for another run, for the sake of what can be done later."""
STORE_PATIENCE = 30.0
"""Seconds for which a store that fails is tried again."""
LOGIN_PATIENCE = 240.0
"""The same for the tokens of a login, which exist nowhere else: a person waits, and can repair the store."""
FIRST_DELAY = 0.2
"""Seconds before the second attempt; doubled for each further one."""
LONGEST_DELAY = 3.0
SLOW_COMMIT = 0.5
"""Seconds for which new tokens are in memory alone while the store takes its time."""
LONGEST_CHAIN = 3
"""Successors of one another that the database may not have: in memory, and in two places for a rescue file."""

logger = logging.getLogger(__name__)


def patiently(
    attempt: Callable[[], Result], pause: Callable[[float], object] = time.sleep, patience: float | None = None
) -> Result:
    """Try again, for half a minute, what a store that fails has not done.

    Args:
        attempt: what to try.
        pause: waits for a number of seconds; returns something true when there is no time left.
        patience: for how many seconds, if not for half a minute.

    Raises:
        StoreUnavailableError: the store went on failing.
    """
    patience = STORE_PATIENCE if patience is None else patience
    end, delay = time.monotonic() + patience, FIRST_DELAY
    while True:
        try:
            return attempt()
        except StoreUnavailableError as error:
            if delay == FIRST_DELAY:
                logger.warning("%s Trying again for %.0f s.", error, patience)
            if time.monotonic() + delay > end or pause(delay):
                raise
        delay = min(2 * delay, LONGEST_DELAY)


class UnsavedTokens:
    """New tokens that the store did not take: in memory, and in a file if there is room for one.

    Args:
        store: the store.
        renewed: the tokens.
        problem: why the store did not take them.
        claim: tells others on this machine to wait until they are saved.

    Attributes:
        problem: why the store did not take them, the last time.
        kept_in: the file that keeps them; None where there is none.
    """

    def __init__(self, store: TokenStore, renewed: Renewed, problem: TokenStoreError, claim: Claim) -> None:
        self.problem = problem
        self.kept_in: Path | None = None
        self._store = store
        self._renewed = renewed
        self._claim = claim
        self._keep()

    def save(self) -> bool:
        """Save them, unless somebody has gone on from them already; return whether that is done."""
        try:
            self._store.save_later(self._renewed)
        except TokenStoreError as error:
            self.problem = error
            self._keep()
            return False
        self._claim.give_back()
        return True

    def _keep(self) -> None:
        if self.kept_in is None:
            with suppress(OSError):
                self.kept_in = self._store.rescue_file(self._renewed.family).keep(self._renewed)


class HeldTokenFamily:
    """A lineage under its lock: whatever is written is committed at once, and the lock is given back with it.

    Attributes:
        family: the lineage with its newest tokens, which the database may not have yet.
        is_ahead: whether it does not.
        is_local: whether all who use the store are on this machine: a claim proves then that nobody has newer tokens.
    """

    def __init__(self, store: TokenStore, connection: Connection, family: TokenFamily, *, is_ahead: bool) -> None:
        self.family = family
        self.is_ahead = is_ahead
        self.is_local = connection.is_local
        self._store = store
        self._connection = connection
        self._rescue = store.rescue_file(family)
        self._claim = store.claim(family)

    def claim(self) -> bool:
        """Take the claim on this machine; return whether it could be taken: nobody else here has newer tokens then.

        Raises:
            TokenStoreError: its file cannot be used.
        """
        try:
            with self._store.explained(), in_our_words(OSError):
                return self._claim.take()
        except StoreUnavailableError as error:
            if self.is_local:
                raise
            logger.debug("The claim on the lineage cannot be used: %s", error)
            return True

    def may_be_behind(self, now: datetime) -> bool:
        """Check whether another run may have newer tokens, by its claim or by its announcement.

        Raises:
            TokenStoreError: the claim's file cannot be used.
        """
        lost_at = self.family.answer_lost_at
        return not self.claim() or (lost_at is not None and lost_at > now and not self.is_local)

    def touch(self) -> None:
        """Write the row as it is, which shows that others could save new tokens now.

        Raises:
            TokenStoreError: it cannot be written.
        """
        self._commit(self.family)

    def let_go(self) -> None:
        """Give the claim back."""
        self._claim.give_back()

    def catch_up(self) -> None:
        """Commit the newest tokens, which the database does not have yet.

        Raises:
            TokenStoreError: it cannot be written.
        """
        self._commit(self.family)
        self._rescue.remove()

    def announce(self, lost_at: datetime) -> bool:
        """Commit that the refresh token is about to be spent, lock the lineage again, and reserve a rescue file.

        A database that cannot be written is found out before a token is spent on it, and what a first commit costs more
        than a second one (SQLite makes its log, statements are compiled) is paid while nothing is at stake.

        Args:
            lost_at: when the answer counts as lost, unless something is stored before.

        Returns:
            Whether the lineage is still as it was; somebody may have come between.

        Raises:
            TokenStoreError: it cannot be written, or the lineage is gone now.
        """
        self._commit(replace(self.family, answer_lost_at=lost_at))
        with self._store.explained():
            row = self._store.lock_again(self._connection, self.family)
        if (row["refresh_fingerprint"], row["answer_lost_at"]) != (fingerprint(self.family.refresh_token), lost_at):
            return False
        self.family = _with_seeds(self.family, row)
        self._rescue.reserve()
        return True

    def renew(self, tokens: Tokens) -> UnsavedTokens | None:
        """Commit new tokens; where the database fails, keep them in other ways, and return them to be saved later."""
        renewed = self._store.remember(self.family, self.family.renewed(tokens))
        try:
            with self._kept_meanwhile(renewed):
                self._commit(renewed.family)
        except Exception as error:  # noqa: BLE001 - whatever it is, these tokens exist nowhere else
            # What is left of the connection may still hold the lock.
            self._connection.close()
            if not isinstance(error, TokenStoreError):
                error = TokenStoreError(f"The token store {self._store.place} failed: {type(error).__name__}.")
            claim, self._claim = self._claim, Claim(None)
            return UnsavedTokens(self._store, renewed, error, claim)
        self._rescue.remove()
        return None

    @contextmanager
    def _kept_meanwhile(self, renewed: Renewed) -> Iterator[None]:
        """Keep new tokens in the rescue file as soon as storing them takes long: this process may be killed."""

        def keep() -> None:
            with suppress(OSError):
                self._rescue.keep(renewed)

        slow = threading.Timer(SLOW_COMMIT, keep)
        slow.daemon = True
        slow.start()
        try:
            yield
        finally:
            slow.cancel()
            slow.join()

    def conclude(self, *, refused_at: datetime | None = None, answer_lost_at: datetime | None = None) -> None:
        """Commit what came of a token request that brought no tokens.

        A database that fails now leaves the announcement in force, which costs others no more than a wait.

        Args:
            refused_at: when Sage called the refresh token invalid, so that nobody sends it again.
            answer_lost_at: when the answer got lost.
        """
        concluded = replace(
            self.family,
            refused_at=refused_at or self.family.refused_at,
            answer_lost_at=answer_lost_at or self.family.answer_lost_at,
        )
        try:
            self._commit(concluded)
        except TokenStoreError as error:
            logger.warning("%s What came of the token request is not noted there.", error)
        self._rescue.remove()

    def save(self, tokens: Tokens) -> None:
        """Commit tokens that came from elsewhere.

        Raises:
            TokenStoreError: they could not be stored.
        """
        self._commit(self.family.renewed(tokens))

    def forget(self) -> None:
        """Delete the lineage.

        Raises:
            TokenStoreError: it could not be deleted.
        """
        with self._store.explained():
            self._connection.delete(self.family.client_id, self.family.key)
            self._connection.commit()
        self._rescue.remove()
        self._claim.discard()

    def _commit(self, family: TokenFamily) -> None:
        with self._store.explained():
            self._store.write(self._connection, family)


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
        self._address = StoreAddress.parse(url or default_store_url())
        self._connect = connector(self._address, lock_wait)
        self._connect_hastily = connector(self._address, HASTY_LOCK_WAIT)
        self._cipher = TokenCipher(encryption_keys)
        self._lock_wait = lock_wait
        self._renewed: dict[str, Renewed] = {}

    @property
    def place(self) -> str:
        """Where the tokens are, as it may be shown."""
        return self._address.place

    def check(self) -> None:
        """Open the store, making what is missing: directory 0700, file 0600, table. Warn of what is not safe.

        Raises:
            TokenStoreError: it cannot be opened or written.
        """
        with self.explained(), closing(self._connect()) as connection:
            connection.ensure_table()
            connection.rows(client_id="")
            if connection.is_readable_on_its_way:
                logger.warning(
                    "The token store %s is on another machine, and the connection to it is not encrypted: tokens can "
                    "be read on their way. Add ?sslmode=verify-full to the setting 'token_store'.",
                    self.place,
                )
        if self._address.file is not None and is_open_to_others(self._address.file.parent):
            logger.warning(
                "Other users of this machine may write to the directory %s, and replace the token store there. Close "
                "it to them (chmod 700), or set 'token_store' to a file elsewhere.",
                self._address.file.parent,
            )

    def read(self, client_id: str, configured: str | None) -> TokenFamily | None:
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
            row = resolve(connection.rows(client_id), configured)
        if row is None:
            return None
        found, is_ahead = self._newest(row)
        if is_ahead:
            with suppress(TokenStoreError):  # it will be tried again, and the tokens are good all the same
                self.save_later(Renewed(frozenset({row["refresh_fingerprint"]}), found), self._connect_hastily)
        if configured is not None and fingerprint(configured) not in found.seeds:
            return self._join(client_id, configured)
        return found

    @contextmanager
    def locked(self, client_id: str, configured: str | None) -> Iterator[HeldTokenFamily | None]:
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
                row = _locked_row(connection, client_id, configured, self._cipher)
            if row is None:
                yield None
                return
            family, is_ahead = self._newest(row)
            held = HeldTokenFamily(self, connection, family, is_ahead=is_ahead)
            stack.callback(held.let_go)
            yield held

    def keep_login(self, client_id: str, configured: str | None, tokens: Tokens) -> TokenFamily:
        """Store the tokens of a new consent, trying again for minutes where the store fails: they exist nowhere else.

        With a configured refresh token they continue its lineage: otherwise the next run would go on with the dead
        tokens of the settings. Without one they begin a lineage, and replace what the same user consented to before,
        which Sage no longer accepts.

        Raises:
            TokenStoreError: they could not be stored.
        """
        return patiently(lambda: self._keep_login(client_id, configured, tokens), patience=LOGIN_PATIENCE)

    def _keep_login(self, client_id: str, configured: str | None, tokens: Tokens) -> TokenFamily:
        with self.explained(), self._transaction() as connection:
            row = configured and _locked_row(connection, client_id, configured, self._cipher)
            replaced: list[str] = []
            if row:
                family = lineage_of(row, self._cipher).renewed(tokens)
                connection.update(row_of(family, self._cipher))
            else:
                logins = [row for row in connection.rows(client_id, lock=True) if row["source"] == "login"]
                replaced = [row["lineage"] for row in logins if row["requested_by_id"] == tokens.requested_by_id]
                for key in replaced:
                    connection.delete(client_id, key)
                begun = TokenFamily.begin(client_id, tokens.refresh_token, "login", tokens.issued_at)
                family = begun.renewed(tokens)
                connection.insert(row_of(family, self._cipher))
            connection.commit()
        for key in (family.key, *replaced):
            RescueFile(self._address, client_id, key, self._cipher).remove()
        for key in replaced:
            self._claim(client_id, key).discard()
        return family

    def remember(self, before: TokenFamily, renewed: TokenFamily) -> Renewed:
        """Keep in mind which refresh token was spent, and what came of it, whatever the database knows of that."""
        known = self._renewed.get(before.key)
        self._renewed[before.key] = Renewed.after(before, renewed, known.spent if known else frozenset())
        return self._renewed[before.key]

    def rescue_file(self, family: TokenFamily) -> RescueFile:
        """Return the file that keeps the newest tokens of a lineage while the database cannot."""
        return RescueFile(self._address, family.client_id, family.key, self._cipher)

    def claim(self, family: TokenFamily) -> Claim:
        """Return the claim on a lineage, which is this machine's."""
        return self._claim(family.client_id, family.key)

    def _claim(self, client_id: str, key: str) -> Claim:
        return Claim(next(iter(self._address.places_beside("claim", client_id, key)), None))

    def write(self, connection: Connection, family: TokenFamily) -> None:
        """Write and commit the row of a lineage that is locked."""
        connection.update(row_of(family, self._cipher))
        connection.commit()

    def lock_again(self, connection: Connection, family: TokenFamily) -> Row:
        """Lock and read the row of a lineage that was locked before.

        Raises:
            TokenStoreError: it was deleted.
        """
        connection.begin()
        rows = connection.rows(family.client_id, lock=True)
        found = next((row for row in rows if row["lineage"] == family.key), None)
        if found is None:
            raise TokenStoreError(f"The login was removed from the token store {self.place} while it was in use.")
        return found

    def save_later(self, renewed: Renewed, connect: Callable[[], Connection] | None = None) -> None:
        """Save new tokens through a new connection, unless somebody has gone on from them already.

        Raises:
            TokenStoreError: that did not succeed.
        """
        family = renewed.family
        with self.explained(), closing((connect or self._connect)()) as connection:
            connection.begin()
            rows = connection.rows(family.client_id, lock=True)
            row = next((row for row in rows if row["lineage"] == family.key), None)
            if row is None:
                connection.insert(row_of(family, self._cipher))
            elif row["refresh_fingerprint"] in renewed.spent:
                connection.update(row_of(_with_seeds(family, row), self._cipher))
            connection.commit()
        self.rescue_file(family).remove()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn a database's errors into one sentence about the store."""
        try:
            yield
        except DatabaseError as error:
            if error.lock_timeout:
                raise TokenStoreError(
                    f"The token store {self.place} stayed locked for more than "
                    f"{self._lock_wait.total_seconds():.0f} s: another run is renewing its tokens and does not finish. "
                    "End that run, or start this one again later."
                ) from None
            raise StoreUnavailableError(
                f"The token store {self.place} cannot be used: {error}. "
                "Check the setting 'token_store' and that this user may write there."
            ) from None

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Open a connection whose transaction may write; rolled back unless the block commits."""
        with closing(self._connect()) as connection:
            connection.begin()
            yield connection

    def _newest(self, row: Row) -> tuple[TokenFamily, bool]:
        """Find the newest tokens of a lineage; return also whether they are newer than the row's.

        They may have been renewed here and not be saved yet, or the database may have lost what it had committed. Other
        processes on this machine leave theirs in a rescue file.
        """
        found, mark = None, row["refresh_fingerprint"]
        known = self._renewed.get(row["lineage"])
        rescue = RescueFile(self._address, row["client_id"], row["lineage"], self._cipher)
        for _ in range(LONGEST_CHAIN):
            successor = known.family if known is not None and mark in known.spent else rescue.successor(mark)
            if successor is None:
                break
            found, mark = successor, fingerprint(successor.refresh_token)
        if found is None:
            return lineage_of(row, self._cipher), False
        return _with_seeds(found, row), True

    def _join(self, client_id: str, configured: str) -> TokenFamily | None:
        """Remember that a configured token is the newest one of a lineage: the next renewal will hide that."""
        with self.explained(), self._transaction() as connection:
            row = _locked_row(connection, client_id, configured, self._cipher)
            found = None if row is None else self._newest(row)[0]
            if found is not None and fingerprint(configured) not in found.seeds:
                found = replace(found, seeds=(*found.seeds, fingerprint(configured)))
                connection.update(row_of(found, self._cipher))
            connection.commit()
        return found


def _locked_row(connection: Connection, client_id: str, configured: str | None, cipher: TokenCipher) -> Row | None:
    """Find a lineage and lock it; one that is not there yet is inserted, so that there is something to lock."""
    row = resolve(connection.rows(client_id, lock=True), configured)
    if row is not None or configured is None:
        return row
    begun = TokenFamily.begin(client_id, configured, "settings", datetime.now(UTC))
    # Another machine may be inserting the same row: this waits for it, and leaves it alone if it is kept.
    connection.insert(row_of(begun, cipher), unless_there=True)
    return resolve(connection.rows(client_id, lock=True), configured)


def _with_seeds(family: TokenFamily, row: Row) -> TokenFamily:
    """Add the configured tokens that joined a lineage meanwhile."""
    return replace(family, seeds=tuple(dict.fromkeys((*family.seeds, *row["seeds"].split()))))
