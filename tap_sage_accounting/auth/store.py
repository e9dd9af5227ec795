"""The rotating refresh tokens between runs: one row per token family, written before its tokens are used.

A *token family* is a first refresh token and all its successors. Sage replaces a refresh token at every use and revokes
the old one at once. So one holder at a time may use it, and must store the new one before anything else. SQLite locks
with `BEGIN IMMEDIATE` on one machine, PostgreSQL with row locks across machines; both unlock when the holder dies.

A holder announces in the row that it is about to use the token. Others then know that the row may be out of date. Its
holder may have newer tokens in memory or in a file. On the same machine, its claim shows until when.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from tap_sage_accounting.auth.address import StoreAddress, default_store_url
from tap_sage_accounting.auth.files import is_open_to_others
from tap_sage_accounting.auth.held_family import HeldTokenFamily
from tap_sage_accounting.auth.rescue import Renewed
from tap_sage_accounting.auth.rows import TokenCipher, resolve
from tap_sage_accounting.auth.table import SHORT_LOCK_WAIT, TokenTable
from tap_sage_accounting.auth.tokens import TokenFamily, fingerprint
from tap_sage_accounting.exceptions import StoreUnavailableError, TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from tap_sage_accounting.auth.other_stores import OtherLogin
    from tap_sage_accounting.auth.tokens import Tokens
    from tap_sage_accounting.auth.usage_table import UsageTable

    Result = TypeVar("Result")

LOCK_WAIT = timedelta(seconds=240)
"""How long to wait for another run that is renewing tokens; longer than a renewal with all its retries."""
STORE_PATIENCE = 30.0
"""Seconds for which a store that fails is tried again."""
LOGIN_PATIENCE = 240.0
"""Seconds for which saving a login is tried again: its tokens exist nowhere else."""
LOGIN_WAIT = 40.0
"""Seconds to wait for another login to end: a code is valid for 60 (tokens.code_lifetime)."""
LOGIN_INTERVAL = 0.1
"""Seconds between two looks whether it has ended."""
FIRST_DELAY = 0.2
"""Seconds before the second attempt; doubled for each further one."""
LONGEST_DELAY = 3.0

logger = logging.getLogger(__name__)


def retry_unavailable(
    attempt: Callable[[], Result], pause: Callable[[float], object] = time.sleep, patience: float | None = None
) -> Result:
    """Try again while the store is unavailable.

    Args:
        attempt: what to try.
        pause: waits for a number of seconds; returns something true when there is no time left.
        patience: seconds to go on trying; None for `STORE_PATIENCE`.

    Raises:
        StoreUnavailableError: the store was unavailable until the end.
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


class TokenStore:
    """A table of token families in SQLite or PostgreSQL.

    Methods raise a `TokenStoreError` where the store cannot be used.

    Args:
        url: `sqlite:///...` or `postgresql://...`; None for the default place.
        encryption_keys: Fernet keys: the first encrypts, all decrypt. None: tokens are stored as they are.
        lock_wait: how long to wait for another holder.

    Attributes:
        place: the address as it may be shown.

    Raises:
        TokenStoreError: the URL or a key is invalid.
    """

    def __init__(
        self, url: str | None = None, *, encryption_keys: Sequence[str] = (), lock_wait: timedelta = LOCK_WAIT
    ) -> None:
        self._address = StoreAddress.parse(url or default_store_url())
        self._table = TokenTable(self._address, TokenCipher(encryption_keys), lock_wait)
        self.place = self._address.place

    def other_logins(self, client_id: str, since: datetime | None = None) -> list[OtherLogin]:
        """Return the living logins of an application in other token stores; `since`, those that are newer."""
        from tap_sage_accounting.auth.other_stores import other_logins  # noqa: PLC0415 - only where one is missing

        found = other_logins(client_id, self._address)
        return [each for each in found if since is None or each.renewed_at is None or each.renewed_at > since]

    def elsewhere(self, client_id: str, since: datetime | None = None) -> str:
        """Say where else a login of an application is, and how to use it; "" where there is none."""
        found = self.other_logins(client_id, since)
        if not found:
            return ""
        return f"{found[0]} To use it, {found[0].use()}. Another login of the same user would end it."

    def used_elsewhere(self, family: TokenFamily) -> str:
        """Say where a refresh token was used that this store has no successor of; "" where that is not known."""
        from tap_sage_accounting.auth.other_stores import login_begun_with  # noqa: PLC0415 - for a first token only

        if (login := login_begun_with(family.key, family.client_id, self._address)) is None:
            return ""
        return f"{login} It began with the same token. To use it, {login.use()}."

    def check(self) -> None:
        """Open the store, and create what is missing: directory 0700, file 0600, table. Warn of what is not safe."""
        with self._table.connected() as connection:
            connection.ensure_table()
            connection.rows(client_id="")
            if connection.sends_plaintext:
                logger.warning(
                    "The token store %s is on another machine, and the connection to it is not encrypted. Tokens can "
                    "be read on their way. Add ?sslmode=verify-full to the setting 'token_store'.",
                    self.place,
                )
        if self._address.file is not None and is_open_to_others(self._address.file.parent):
            logger.warning(
                "Other users of this machine may write to the directory %s, and replace the token store there. Close "
                "it to them (chmod 700), or set 'token_store' to a file elsewhere.",
                self._address.file.parent,
            )

    def usage_table(self, client_id: str) -> UsageTable:
        """Open the table of what runs of an application publish of their requests.

        Raises:
            DatabaseError: that is not possible.
        """
        from tap_sage_accounting.auth.usage_table import UsageTable  # noqa: PLC0415 - only where Sage refuses

        return UsageTable(self._address, client_id)

    def read(self, client_id: str, configured: str | None) -> TokenFamily | None:
        """Read a token family without waiting for a holder; None where there is none yet.

        Without a configured refresh token, that is the newest one that `login` stored.
        """
        with self._table.connected() as connection:
            row = resolve(connection.rows(client_id), configured)
        if row is None:
            return None
        found, is_ahead = self._table.newest(row)
        if is_ahead:
            with suppress(TokenStoreError):  # it will be tried again, and the tokens are good all the same
                self._table.save(Renewed(frozenset({row["refresh_fingerprint"]}), found), SHORT_LOCK_WAIT)
        if configured is None or (seed := fingerprint(configured)) in found.seeds:
            return found
        # The configured token is the newest of its family. Note that it leads there: the next renewal replaces it.
        with self.locked(client_id, configured) as held:
            if held is not None and seed not in held.family.seeds:
                held.family = replace(held.family, seeds=(*held.family.seeds, seed))
                held.commit()
            return None if held is None else held.family

    @contextmanager
    def locked(self, client_id: str, configured: str | None) -> Iterator[HeldTokenFamily | None]:
        """Hold a token family; nobody else can until the block ends or something is written.

        A configured refresh token that is not known begins a family of its own.

        Yields:
            The family as it is now; None if no token is configured and `login` never stored one.
        """
        with self._table.connected() as connection:
            connection.begin()
            row = self._table.lock(connection, client_id, configured)
            if row is None:
                yield None
                return
            family, is_ahead = self._table.newest(row)
            held = HeldTokenFamily(self._table, connection, family, is_ahead=is_ahead)
            try:
                yield held
            finally:
                held.release()

    def forget_login(self, held: HeldTokenFamily) -> None:
        """Delete a family that is held."""
        from tap_sage_accounting.auth.other_stores import forget_login  # noqa: PLC0415 - for a command only

        held.forget()
        forget_login(held.family.client_id, self._address)

    @contextmanager
    def only_login(self, client_id: str) -> Iterator[None]:
        """Exchange a code and store its tokens while no other login of this machine does.

        Of several logins of one user, Sage keeps the last one. Stored in another order, a dead one would replace it.
        """
        claim = self._table.claim(client_id, "login")
        until = time.monotonic() + LOGIN_WAIT
        with suppress(OSError):
            while not claim.take() and time.monotonic() < until:
                time.sleep(LOGIN_INTERVAL)
        try:
            yield
        finally:
            claim.discard()

    def keep_login(self, client_id: str, configured: str | None, tokens: Tokens) -> TokenFamily:
        """Store the tokens of a new consent; try again for minutes while the store fails.

        With a configured refresh token they continue its family: otherwise the next run would use its dead token.
        Without one they begin a family, and replace the earlier consent of the same user, which Sage no longer accepts.
        """
        from tap_sage_accounting.auth.other_stores import record_login  # noqa: PLC0415 - for a command only

        family = retry_unavailable(lambda: self._keep_login(client_id, configured, tokens), patience=LOGIN_PATIENCE)
        record_login(client_id, self._address)
        return family

    def _keep_login(self, client_id: str, configured: str | None, tokens: Tokens) -> TokenFamily:
        replaced: list[str] = []
        with self._table.connected() as connection:
            connection.begin()
            row = configured and self._table.lock(connection, client_id, configured)
            if row:
                family = self._table.family(row).renewed(tokens)
                self._table.update(connection, family)
            else:
                logins = [row for row in connection.rows(client_id, lock=True) if row["source"] == "login"]
                replaced = [row["lineage"] for row in logins if row["requested_by_id"] == tokens.requested_by_id]
                for key in replaced:
                    connection.delete(client_id, key)
                begun = TokenFamily.begin(client_id, tokens.refresh_token, "login", tokens.issued_at)
                family = begun.renewed(tokens)
                self._table.insert(connection, family)
            connection.commit()
        for key in (family.key, *replaced):
            self._table.rescue_file(client_id, key).remove()
        for key in replaced:
            self._table.claim(client_id, key).discard()
        return family
