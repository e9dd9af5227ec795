"""A token family under its lock, and its new tokens where the store does not take them."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tap_sage_accounting.auth.address import login_command
from tap_sage_accounting.auth.claim import Claim
from tap_sage_accounting.auth.database import as_database_error
from tap_sage_accounting.auth.table import with_seeds
from tap_sage_accounting.auth.tokens import fingerprint
from tap_sage_accounting.exceptions import StoreUnavailableError, TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from tap_sage_accounting.auth.database import Connection
    from tap_sage_accounting.auth.rescue import Renewed, RescueFile
    from tap_sage_accounting.auth.table import TokenTable
    from tap_sage_accounting.auth.tokens import TokenFamily, Tokens

SLOW_COMMIT = 0.5
"""Seconds for which new tokens are in memory alone while the store commits them."""
SAVE_AGAIN_AFTER = 1.0
"""Seconds between two attempts to save."""
LAST_ATTEMPTS = 15.0
"""Seconds for which attempts go on when the process ends."""

logger = logging.getLogger(__name__)


class UnsavedTokens:
    """New tokens that the store did not take; the claim makes others on this machine wait until they are saved.

    Attributes:
        problem: why the store did not take them, the last time.
        kept_in: the file that keeps them; None where no file could be written.
    """

    def __init__(
        self, table: TokenTable, renewed: Renewed, problem: TokenStoreError, rescue: RescueFile, claim: Claim
    ) -> None:
        self.problem = problem
        self.kept_in: Path | None = None
        self._table = table
        self._renewed = renewed
        self._rescue = rescue
        self._claim = claim
        self._keep()

    def save(self) -> bool:
        """Save them, unless the store has later ones; return whether that succeeded."""
        try:
            self._table.save(self._renewed)
        except TokenStoreError as error:
            self.problem = error
            self._keep()
            return False
        self._claim.give_back()
        return True

    def save_eventually(self, leaving: threading.Event) -> None:
        """Try to save them until the process is about to end, which `leaving` says, and `LAST_ATTEMPTS` longer."""
        end: float | None = None
        while not self.save():
            if leaving.wait(SAVE_AGAIN_AFTER):
                end = end or time.monotonic() + LAST_ATTEMPTS
                if time.monotonic() > end:
                    return self.report(is_last=True)
                time.sleep(SAVE_AGAIN_AFTER)
        return logger.warning("The new tokens are saved in the token store %s now.", self._table.place)

    def report(self, *, is_last: bool = False) -> None:
        """Log where they are; `is_last` where no further attempt is made."""
        if self.kept_in is not None:
            logger.warning(
                "%s Sage's new tokens are in the file %s. This run, or the next one on this machine, saves them when "
                "the store works again.",
                self.problem,
                self.kept_in,
            )
        elif is_last:
            logger.error(
                "%s Sage's new tokens could be saved nowhere, and are lost: run %s.", self.problem, login_command()
            )
        else:
            logger.warning(
                "%s Sage's new tokens are in this process only, which goes on trying to save them: do not kill it.",
                self.problem,
            )

    def _keep(self) -> None:
        if self.kept_in is None:
            with suppress(OSError):
                self.kept_in = self._rescue.keep(self._renewed)


class HeldTokenFamily:
    """A token family under its lock. Each write is committed at once, which gives the lock back.

    Methods raise a `TokenStoreError` where the store or the claim's file cannot be used; `renew` and `conclude` do not.

    Attributes:
        family: the family with its newest tokens.
        is_ahead: whether these are newer than those in the database.
        is_local: whether all processes that use the store are on this machine, where claims are visible.
    """

    def __init__(self, table: TokenTable, connection: Connection, family: TokenFamily, *, is_ahead: bool) -> None:
        self.family = family
        self.is_ahead = is_ahead
        self.is_local = connection.is_local
        self._table = table
        self._connection = connection
        self._rescue = table.rescue_file(family.client_id, family.key)
        self._claim = table.claim(family.client_id, family.key)

    def claim(self) -> bool:
        """Take the claim; return False where another process on this machine has it, and may have newer tokens."""
        try:
            with self._table.explained(), as_database_error(OSError):
                return self._claim.take()
        except StoreUnavailableError as error:
            if self.is_local:
                raise
            logger.debug("The claim on the token family cannot be used: %s", error)
            return True

    def may_be_behind(self, now: datetime) -> bool:
        """Check whether another run may have newer tokens, by its claim or by its announcement."""
        lost_at = self.family.answer_lost_at
        return not self.claim() or (lost_at is not None and lost_at > now and not self.is_local)

    def release(self) -> None:
        """Give the claim back."""
        self._claim.give_back()

    def commit(self) -> None:
        """Write the newest tokens, which also proves that the store can be written."""
        self._commit(self.family)
        if self.is_ahead:
            self._rescue.remove()

    def announce(self, lost_at: datetime) -> bool:
        """Commit that the refresh token is about to be used, lock the family again, and reserve a rescue file.

        Return whether the family is unchanged: another run may have locked it in between.

        A database that cannot be written is found out before a token is spent. The costs of a first commit (SQLite
        makes its log, statements are compiled) are paid here too. The response counts as lost at `lost_at`, unless
        something is stored before.
        """
        self._commit(replace(self.family, answer_lost_at=lost_at))
        with self._table.explained():
            row = self._table.lock_again(self._connection, self.family)
        if row is None:
            place = self._table.place
            raise TokenStoreError(f"The login was removed from the token store {place} while it was in use.")
        if (row["refresh_fingerprint"], row["answer_lost_at"]) != (fingerprint(self.family.refresh_token), lost_at):
            return False
        self.family = with_seeds(self.family, row)
        self._rescue.reserve()
        return True

    def renew(self, tokens: Tokens) -> UnsavedTokens | None:
        """Commit new tokens; where the database fails, keep them in other ways, and return them to be saved later."""
        renewed = self._table.remember(self.family, tokens)
        try:
            with self._rescued_if_slow(renewed):
                self._commit(renewed.family)
        except Exception as error:  # noqa: BLE001 - whatever it is, these tokens exist nowhere else
            # A broken connection may still hold the lock.
            self._connection.close()
            if not isinstance(error, TokenStoreError):
                error = TokenStoreError(f"The token store {self._table.place} failed: {type(error).__name__}.")
            claim, self._claim = self._claim, Claim(None)
            return UnsavedTokens(self._table, renewed, error, self._rescue, claim)
        self._rescue.remove()
        return None

    @contextmanager
    def _rescued_if_slow(self, renewed: Renewed) -> Iterator[None]:
        """Write new tokens to the rescue file when the block takes long: this process may be killed."""

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
        """Commit the outcome of a token request that brought no tokens: when Sage refused it, or its response got lost.

        If the database fails now, the announcement stays in force, and other runs wait.
        """
        concluded = replace(
            self.family,
            refused_at=refused_at or self.family.refused_at,
            answer_lost_at=answer_lost_at or self.family.answer_lost_at,
        )
        try:
            self._commit(concluded)
        except TokenStoreError as error:
            logger.warning("%s The outcome of the token request is not noted there.", error)
        self._rescue.remove()

    def save(self, tokens: Tokens) -> None:
        """Commit tokens that came from elsewhere."""
        self._commit(self.family.renewed(tokens))

    def forget(self) -> None:
        """Delete the family."""
        with self._table.explained():
            self._connection.delete(self.family.client_id, self.family.key)
            self._connection.commit()
        self._rescue.remove()
        self._claim.discard()

    def _commit(self, family: TokenFamily) -> None:
        with self._table.explained():
            self._table.update(self._connection, family)
            self._connection.commit()
