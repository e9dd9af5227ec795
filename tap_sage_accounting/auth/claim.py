"""Show other processes on this machine that one of them may hold tokens that the store does not have yet.

A process takes the claim on a lineage before it spends the refresh token, and gives it back when the store has what
came of that. The system gives it back for a process that ends, however it ends. So a claim that can be taken proves
that no process here keeps newer tokens in its memory alone, for however long the store has failed.

SQLite's file locks are those that work on every system, so the claim is an empty database.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from tap_sage_accounting.auth.files import prepare_database

if TYPE_CHECKING:
    from pathlib import Path

_TAKEN = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Claim:
    """The claim on one lineage, for one thread.

    Args:
        file: stands for the lineage; None where there is no place for it, and nobody else can have the claim.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._taken: sqlite3.Connection | None = None

    def take(self) -> bool:
        """Take the claim, unless somebody else has it; return whether it is taken now.

        Raises:
            OSError: the file cannot be made or locked, or is not plainly this user's own.
        """
        if self._file is None or self._taken is not None:
            return True
        prepare_database(self._file)
        connection = sqlite3.connect(self._file, timeout=0, isolation_level=None)
        try:
            # A full disk must not matter: nothing is written.
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            connection.close()
            if error.sqlite_errorcode & 0xFF in _TAKEN:
                return False
            raise OSError(f"{self._file}: {error}") from None
        self._taken = connection
        return True

    def give_back(self) -> None:
        """Let others take it."""
        if self._taken is not None:
            self._taken.close()
            self._taken = None

    def discard(self) -> None:
        """Remove the file of a lineage that is gone, unless somebody else has the claim."""
        with suppress(OSError):
            if self.take() and self._file is not None:
                self._file.unlink()
        self.give_back()
