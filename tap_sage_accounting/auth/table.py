"""The rows of the token store, and newer tokens that the database does not have yet."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.auth.claim import Claim
from tap_sage_accounting.auth.database import Connection, DatabaseError, Row, connect
from tap_sage_accounting.auth.rescue import Renewed, RescueFile
from tap_sage_accounting.auth.rows import family_of, resolve, row_of
from tap_sage_accounting.auth.tokens import TokenFamily, fingerprint
from tap_sage_accounting.exceptions import StoreUnavailableError, TokenStoreError
from tap_sage_accounting.timestamps import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_sage_accounting.auth.address import StoreAddress
    from tap_sage_accounting.auth.rows import TokenCipher
    from tap_sage_accounting.auth.tokens import Tokens

SHORT_LOCK_WAIT = timedelta(seconds=2)
"""How long to wait for another run where the work can be done later."""
LONGEST_CHAIN = 3
"""Successors of one another that the database may lack: one in memory, one in each place of a rescue file."""


class TokenTable:
    """Reads and writes token families as rows, and keeps renewed ones in memory until they are saved.

    Methods raise a `TokenStoreError` where the database cannot be used.
    """

    def __init__(self, address: StoreAddress, cipher: TokenCipher, lock_wait: timedelta) -> None:
        self.place = address.place
        self._address = address
        self._cipher = cipher
        self._lock_wait = lock_wait
        self._renewed: dict[str, Renewed] = {}

    @contextmanager
    def connected(self, lock_wait: timedelta | None = None) -> Iterator[Connection]:
        """Open the database; what is not committed at the end of the block is rolled back."""
        with self.explained(), closing(connect(self._address, lock_wait or self._lock_wait)) as connection:
            yield connection

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn a database's errors into one sentence about the store."""
        try:
            yield
        except DatabaseError as error:
            if error.lock_timeout:
                raise TokenStoreError(
                    f"The token store {self.place} stayed locked for more than "
                    f"{self._lock_wait.total_seconds():.0f} s. Another run is renewing its tokens and does not finish. "
                    "End that run, or start this one again later."
                ) from None
            raise StoreUnavailableError(
                f"The token store {self.place} cannot be used: {error}. "
                "Check the setting 'token_store' and that this user may write there."
            ) from None

    def rescue_file(self, client_id: str, key: str) -> RescueFile:
        """Return the file that keeps the newest tokens of a family while the database cannot."""
        return RescueFile(self._address, client_id, key, self._cipher)

    def claim(self, client_id: str, key: str) -> Claim:
        """Return this machine's claim on a family."""
        return Claim(next(iter(self._address.places_beside("claim", client_id, key)), None))

    def family(self, row: Row) -> TokenFamily:
        """Decrypt a row."""
        return family_of(row, self._cipher)

    def insert(self, connection: Connection, family: TokenFamily, *, unless_there: bool = False) -> None:
        """Add the row of a family."""
        connection.insert(row_of(family, self._cipher), unless_there=unless_there)

    def update(self, connection: Connection, family: TokenFamily) -> None:
        """Replace the row of a family that is locked."""
        connection.update(row_of(family, self._cipher))

    def lock(self, connection: Connection, client_id: str, configured: str | None) -> Row | None:
        """Lock the row of a family; insert one for a new configured token, to have a row to lock."""
        row = resolve(connection.rows(client_id, lock=True), configured)
        if row is not None or configured is None:
            return row
        begun = TokenFamily.begin(client_id, configured, "settings", now())
        # Another machine may be inserting the same row: this waits for it, and keeps its row.
        self.insert(connection, begun, unless_there=True)
        return resolve(connection.rows(client_id, lock=True), configured)

    def lock_again(self, connection: Connection, family: TokenFamily) -> Row | None:
        """Begin a transaction, and lock the row of a known family; return None where it was removed."""
        connection.begin()
        rows = connection.rows(family.client_id, lock=True)
        return next((row for row in rows if row["lineage"] == family.key), None)

    def newest(self, row: Row) -> tuple[TokenFamily, bool]:
        """Return the newest tokens of a family, and whether they are newer than the row.

        They may be in memory, or in a rescue file of a process on this machine. A database may also have lost what it
        committed.
        """
        found, spent = None, row["refresh_fingerprint"]
        known = self._renewed.get(row["lineage"])
        rescue = self.rescue_file(row["client_id"], row["lineage"])
        for _ in range(LONGEST_CHAIN):
            successor = known.family if known is not None and spent in known.spent else rescue.successor(spent)
            if successor is None:
                break
            found, spent = successor, fingerprint(successor.refresh_token)
        return (self.family(row), False) if found is None else (with_seeds(found, row), True)

    def remember(self, before: TokenFamily, tokens: Tokens) -> Renewed:
        """Keep new tokens in memory, and which refresh tokens are spent: the one before, and those before it."""
        family, known = before.renewed(tokens), self._renewed.get(before.key)
        spent = {fingerprint(before.refresh_token), *family.seeds, *(known.spent if known else ())}
        renewed = Renewed(frozenset(spent - {fingerprint(tokens.refresh_token)}), family)
        self._renewed[family.key] = renewed
        return renewed

    def save(self, renewed: Renewed, lock_wait: timedelta | None = None) -> None:
        """Save renewed tokens through a connection of their own, unless the row has later ones."""
        family = renewed.family
        with self.connected(lock_wait) as connection:
            row = self.lock_again(connection, family)
            if row is None:
                self.insert(connection, family)
            elif row["refresh_fingerprint"] in renewed.spent:
                self.update(connection, with_seeds(family, row))
            connection.commit()
        self.rescue_file(family.client_id, family.key).remove()


def with_seeds(family: TokenFamily, row: Row) -> TokenFamily:
    """Add the configured tokens that joined a family meanwhile."""
    return replace(family, seeds=tuple(dict.fromkeys((*family.seeds, *row["seeds"].split()))))
