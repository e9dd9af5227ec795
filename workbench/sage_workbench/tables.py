"""The tables of a PostgreSQL database that a target loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from sage_workbench.listings import key_of

if TYPE_CHECKING:
    from sage_workbench.pipeline import Books

    Record = dict[str, Any]

SCHEMA = "sage"


@dataclass(frozen=True)
class Warehouse:
    """A database after a run of tap and target, and the books that the tap read."""

    conninfo: str
    books: Books
    state: Record

    def ask(self, query: str) -> list[Record]:
        with psycopg.connect(self.conninfo, row_factory=dict_row) as connection:
            set_json_loads(partial(json.loads, parse_float=Decimal), connection)
            connection.execute(f"set search_path to {SCHEMA}")
            return connection.execute(query).fetchall()

    def rows(self) -> dict[tuple[str, str, str], Record]:
        """Every row of every table that holds lists."""
        return {
            (name, row["business_id"], key_of(row)): row
            for name in self.books.lists
            for row in self.ask(f"select * from {name}")
        }
