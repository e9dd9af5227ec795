"""What a simulated Sage remembers: businesses, their collections, the rows in them, and the time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Body = dict[str, Any]
"""A record as Sage would serve it with every attribute and every opt-in flag: JSON types, `$path` included."""


def timestamp(moment: datetime) -> str:
    """Render a moment as Sage does: UTC, whole seconds, `2026-06-30T18:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Clock:
    """The simulated time: it runs like real time from a chosen start, and can be moved or frozen."""

    def __init__(self, start: datetime, *, frozen: bool = False) -> None:
        self._start = start
        self._since = time.monotonic()
        self._frozen = frozen

    def now(self) -> datetime:
        """Return the present moment of the simulated world, UTC."""
        elapsed = 0.0 if self._frozen else time.monotonic() - self._since
        return self._start + timedelta(seconds=elapsed)

    def advance(self, delta: timedelta) -> None:
        """Move the present forward (or, negative, backward: clocks do that)."""
        self._start += delta


class Row:
    """One record of a collection, alive or deleted."""

    __slots__ = ("_body", "created_at", "deleted_at", "id", "updated_at")

    def __init__(self, row_id: str, body: Body, created_at: datetime | None, updated_at: datetime | None) -> None:
        self.id = row_id
        self.created_at = created_at
        self.updated_at = updated_at
        self.deleted_at: datetime | None = None
        self._body = body

    def render(self) -> Body:
        """Build the full record: the stored body, with the timestamps that the row has."""
        body = dict(self._body)
        for name, moment in (("created_at", self.created_at), ("updated_at", self.updated_at)):
            if moment is not None:
                body[name] = timestamp(moment)
        if self.deleted_at is not None:
            body["deleted_at"] = timestamp(self.deleted_at)
        return body

    def change(self, changes: Body, at: datetime | None) -> None:
        """Replace some attributes and, where the collection keeps time, move `updated_at`."""
        self._body = {**self._body, **changes}
        if at is not None:
            self.updated_at = at


@dataclass
class Collection:
    """One list of one business, in the order in which its rows were created.

    `version` grows with every change, so that rendered pages can be kept until then.
    """

    name: str
    rows: dict[str, Row] = field(default_factory=dict)
    tombstones: dict[str, Row] = field(default_factory=dict)
    version: int = 0

    def add(self, row: Row) -> Row:
        """Put a new row at the end."""
        self.rows[row.id] = row
        self.version += 1
        return row

    def change(self, row_id: str, changes: Body, at: datetime | None) -> Row:
        """Edit a row in place."""
        row = self.rows[row_id]
        row.change(changes, at)
        self.version += 1
        return row

    def delete(self, row_id: str, at: datetime) -> Row:
        """Take a row out of the list and keep it as a tombstone."""
        row = self.rows.pop(row_id)
        row.deleted_at = at
        self.tombstones[row_id] = row
        self.version += 1
        return row


@dataclass
class Business:
    """One company: who it is, what its user may do, and everything that Sage lets one read of it.

    `objects` holds the single-object endpoints (`financial_settings`, ...) except `trial_balance`, which is computed.
    `permissions` maps an area (`sales`, `purchases`, `journals`, `bank`, `contacts`, `catalogs`, `settings`,
    `statutory_reporting`) to a role (`full_access`, `read_only`, `restricted_access`, `no_access`).
    """

    id: str
    name: str
    country: str
    edition: str
    body: Body
    permissions: dict[str, str]
    collections: dict[str, Collection] = field(default_factory=dict)
    objects: dict[str, Body] = field(default_factory=dict)
    subscribed: bool = True

    def collection(self, name: str) -> Collection:
        """Find a list, made empty at its first use."""
        return self.collections.setdefault(name, Collection(name))


@dataclass
class World:
    """Everything behind one simulated Sage: its user, the businesses that the user may see, and the time."""

    clock: Clock
    user: Body
    businesses: dict[str, Business] = field(default_factory=dict)
