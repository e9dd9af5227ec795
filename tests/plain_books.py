"""Books with few plain rows, which come, change and go at exactly the moments that a test chooses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from small_sage import business

from tap_sage_accounting.sandbox.store import Business, Clock, Row, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_sage_accounting.sandbox.api import Call
    from tap_sage_accounting.sandbox.store import Body

NOW = datetime(2026, 6, 30, 18, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=100)
FLAGGED = ("ledger_entries", "transactions")
LINES = {"sales_quotes": "quote_lines", "sales_estimates": "estimate_lines"}


def plain_world(businesses: int = 1) -> World:
    """Businesses without a single row, whose user may read everything, at a time that stands still."""
    made = [business(number, f"Business {number}", "ACCOUNTING", "Plus") for number in range(1, businesses + 1)]
    for each in made:
        each.permissions = dict.fromkeys(each.permissions, "full_access")
    user = {"id": "b" * 32, "displayed_as": "Jane Example"}
    return World(Clock(NOW, frozen=True), user, {each.id: each for each in made})


def key(number: int) -> str:
    """The id of a numbered row."""
    return f"{number:032x}"


class List:
    """One list of one business, and what people do to it."""

    def __init__(self, world: World, owner: Business, stream: str) -> None:
        self.stream = stream
        self.owner = owner
        self.collection = owner.collection(stream)
        self._world = world
        self._next = 1

    def fill(self, count: int, at: datetime = LONG_AGO) -> None:
        for _ in range(count):
            self.insert(at)

    def insert(self, at: datetime | None = None) -> str:
        """Add a row; without a moment, now."""
        at = at or self._world.clock.now()
        row_id = key(self._next)
        self._next += 1
        body: Body = {"id": row_id, "displayed_as": f"Row {row_id[-4:]}", "$path": f"/{self.stream}/{row_id}"}
        if self.stream in FLAGGED:
            body["deleted"] = False
        if self.stream in LINES:
            body[LINES[self.stream]] = []
        timeless = self.stream == "unallocated_artefacts"
        self.collection.add(Row(row_id, body, None if timeless else at, None if timeless else at))
        return row_id

    def edit(self, row_id: str, late: timedelta = timedelta()) -> None:
        """Change a row; `late` is for how long Sage already knew of it without showing it."""
        timeless = self.collection.rows[row_id].updated_at is None
        now = self._world.clock.now() - late
        body = self.collection.rows[row_id].render()
        self.collection.change(row_id, {"displayed_as": f"{body['displayed_as']}*"}, None if timeless else now)

    def delete(self, row_id: str) -> None:
        """Delete a row in the way that its list has: gone, or flagged where rows stay."""
        if self.stream in FLAGGED:
            self.collection.change(row_id, {"deleted": True}, self._world.clock.now())
        else:
            self.collection.delete(row_id, self._world.clock.now())

    @property
    def keys(self) -> list[str]:
        """The ids of what is there, oldest first."""
        return list(self.collection.rows)


def before_page(stream: str, page: int, act: Callable[[], None]) -> Callable[[Call], None]:
    """Make something happen once, right before a page of the full list is served for the first time."""
    left = [act]

    def on_request(call: Call) -> None:
        if left and call.path == stream and call.page == page and "deleted_since" not in call.params:
            left.pop()()

    return on_request
