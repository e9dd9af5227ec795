"""What runs of an application publish of their requests, for those that share its limit (limits.scope).

PostgreSQL keeps it in a table beside the tokens. Beside an SQLite store it is in a file of its own: no token ever waits
for it, nor is lost with it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.auth.database import Connection, DatabaseError, connect

if TYPE_CHECKING:
    from tap_sage_accounting.auth.address import StoreAddress

TABLE = "tap_sage_accounting_runs"
_COLUMNS = """
client_id VARCHAR NOT NULL, run VARCHAR NOT NULL, usage TEXT NOT NULL, published BIGINT NOT NULL,
PRIMARY KEY (client_id, run)
"""
ENDING = ".runs"
"""What the name of the file beside an SQLite store ends in."""
LOCK_WAIT = timedelta(seconds=10)
SILENCE = 10
"""Seconds after which a run that published nothing counts as ended, by the clock of the database."""
DAY = 86_400
"""Seconds after which the row of a run that ended is deleted."""


class UsageTable:
    """The table, open; for one thread.

    Args:
        address: of the token store.
        client_id: the application.

    Raises:
        DatabaseError: the database cannot be used; so do the methods, apart from `close`.
    """

    def __init__(self, address: StoreAddress, client_id: str) -> None:
        file = address.file and address.file.with_name(address.file.name + ENDING)
        self._client_id = client_id
        self._connection: Connection = connect(replace(address, file=file), LOCK_WAIT)
        try:
            self._connection.ensure_table(TABLE, _COLUMNS)
            self._execute(f"DELETE FROM {TABLE} WHERE published < {{now}} - {DAY}")  # noqa: S608 - constants
        except DatabaseError:
            self.close()
            raise

    def _execute(self, statement: str, *values: str) -> list[dict[str, str]]:
        return self._connection.execute(statement.format(now=self._connection.epoch), values)

    def publish(self, run: str, usage: str) -> None:
        """Replace what a run published."""
        self._execute(
            f"INSERT INTO {TABLE} VALUES (?, ?, ?, {{now}}) "  # noqa: S608 - a constant
            "ON CONFLICT (client_id, run) DO UPDATE SET usage = excluded.usage, published = excluded.published",
            self._client_id,
            run,
            usage,
        )

    def read(self, run: str) -> dict[str, str]:
        """Return what the other runs published that have not ended, by their names."""
        rows = self._execute(
            f"SELECT run, usage FROM {TABLE} WHERE client_id = ? AND run <> ? "  # noqa: S608 - as above
            f"AND published BETWEEN {{now}} - {SILENCE} AND {{now}} + {SILENCE}",  # a clock that was set back
            self._client_id,
            run,
        )
        # SQLite keeps any type in any column.
        return {row["run"]: row["usage"] for row in rows if isinstance(row["run"], str)}

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
