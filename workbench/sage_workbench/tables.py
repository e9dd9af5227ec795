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

from sage_workbench.equality import differences
from sage_workbench.listings import key_of

if TYPE_CHECKING:
    from collections.abc import Collection

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

    def rows(self, streams: Collection[str] | None = None) -> dict[tuple[str, str, str], Record]:
        """Every row of every table that holds a list, or of the tables of some streams."""
        return {
            (name, row["business_id"], key_of(row)): row
            for name in self.books.lists.intersection(self.books.lists if streams is None else streams)
            for row in self.ask(f"select * from {name}")
        }

    def wrong(self, streams: Collection[str], businesses: Collection[str]) -> list[str]:
        """Say what of some streams and businesses is missing, stale or different."""

        def among(places: Collection[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
            return {place for place in places if place[0] in streams and place[1] in businesses}

        rows = self.rows(streams)
        alive, found = among(self.books.alive), among(rows)
        live = {place for place in found if not rows[place].get("deleted_at") and not rows[place].get("deleted")}
        # Open items that were settled leave the list without a trace: the target keeps their rows.
        stale = {place for place in live - alive if place[0] != "unallocated_artefacts"}
        changed = [
            f"{place}: {each}" for place in alive & found for each in differences(self.books.alive[place], rows[place])
        ]
        flagged = alive & {place for place in found if rows[place].get("deleted_at")}
        return [
            *(f"{place} is missing" for place in alive - found),
            *(f"{place} is flagged" for place in flagged),
            *(f"{place} is stale" for place in stale),
            *changed,
            *self._wrong_objects(streams, businesses),
        ]

    def _wrong_objects(self, streams: Collection[str], businesses: Collection[str]) -> list[str]:
        wrong = []
        for (name, business), body in self.books.objects.items():
            stream = name or "businesses"
            if stream in streams and business in businesses:
                found = self.ask(f"select * from {stream} where business_id = '{business}'")
                wrong += differences(body, found[0]) if found else [f"{stream} of {business} is missing"]
        return wrong
