"""Show other processes on this machine that one of them may hold newer tokens than the store.

A process takes the claim on a token family before it uses the refresh token. It gives the claim back when the store has
the new tokens. The system gives it back for a process that ends, however it ends. So a claim that can be taken proves
that no process here keeps newer tokens in its memory alone.

SQLite's file locks work on every system, so the claim is an empty database.
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
    """The claim on one token family, for one thread.

    Args:
        file: the file to lock; None where there is no place for it, so that nobody else can have the claim.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._taken: sqlite3.Connection | None = None

    def take(self) -> bool:
        """Take the claim, unless another thread or process has it; return whether it is taken now.

        Raises:
            OSError: the file cannot be created or locked, or is not certainly this user's own.
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
        """Give the claim back."""
        if self._taken is not None:
            self._taken.close()
            self._taken = None

    def discard(self) -> None:
        """Remove the file of a family that is gone, unless another process has the claim."""
        with suppress(OSError):
            if self.take() and self._file is not None:
                self._file.unlink()
        self.give_back()
