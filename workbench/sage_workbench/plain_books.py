"""Books with few plain rows, which come, change and go at exactly the moments that a test chooses."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from sage_sandbox.store import Business, Clock, Row, World
from sage_workbench.small_sage import business

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sage_sandbox.api import Call
    from sage_sandbox.store import Body

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
            body |= {"deleted": False, "date": NOW.date().isoformat()}
        if self.stream == "ledger_entries":
            body |= {"debit": "0.0", "credit": "0.0", "ledger_account": {"id": key(1), "displayed_as": "Account"}}
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


def filled_world(streams: Iterable[str], rows: int, businesses: int = 1) -> World:
    """Businesses each of which has so many rows in each of some lists, and nothing else."""
    world = plain_world(businesses)
    for owner in world.businesses.values():
        for stream in streams:
            List(world, owner, stream).fill(rows)
    return world


class Ledger:
    """The ledger of one business: transactions of two entries each, whose dates move from month to month."""

    STREAMS = ("ledger_accounts", "ledger_entries", "transactions")
    ACCOUNTS = 4
    OPENED = date(2026, 1, 1)
    DAYS = 180

    def __init__(self, world: World, owner: Business) -> None:
        self.owner = owner
        self._world = world
        self.accounts = List(world, owner, "ledger_accounts")
        self.accounts.fill(self.ACCOUNTS)
        self.transactions = List(world, owner, "transactions")
        self.entries = List(world, owner, "ledger_entries")
        owner.objects["financial_settings"] = {
            "$path": "/financial_settings",
            "accounts_start_date": self.OPENED.isoformat(),
        }

    def post(self, number: int) -> None:
        """Book an amount from one account to another on some day; a number decides which."""
        transaction = self.transactions.insert()
        day = self._day(number)
        self._change(self.transactions, transaction, {"date": day})
        amount = f"{100 * (1 + number % 2)}.0"
        for side, account in (("debit", number % self.ACCOUNTS), ("credit", (number // 2 + 1) % self.ACCOUNTS)):
            account_id = self.accounts.keys[account]
            reference = {"id": transaction, "displayed_as": "Transaction", "$path": f"/transactions/{transaction}"}
            changes = {
                side: amount,
                "date": day,
                "transaction": reference,
                "ledger_account": {"id": account_id, "displayed_as": "Account", "$path": f"/accounts/{account_id}"},
            }
            self._change(self.entries, self.entries.insert(), changes)

    def move(self, number: int, late: timedelta) -> None:
        """Give a transaction another date."""
        self._change_whole(number, {"date": self._day(number * 7 + 3)}, late)

    def void(self, number: int) -> None:
        """Flag a transaction and its entries as deleted."""
        self._change_whole(number, {"deleted": True})

    def _day(self, number: int) -> str:
        return (self.OPENED + timedelta(days=number * 37 % self.DAYS)).isoformat()

    def _change_whole(self, number: int, changes: Body, late: timedelta = timedelta()) -> None:
        transactions = self.transactions.keys
        if not transactions:
            return
        chosen = transactions[number % len(transactions)]
        self._change(self.transactions, chosen, changes, late)
        for row in list(self.entries.collection.rows.values()):
            if row.render()["transaction"]["id"] == chosen:
                self._change(self.entries, row.id, changes, late)

    def _change(self, rows: List, row_id: str, changes: Body, late: timedelta = timedelta()) -> None:
        rows.collection.change(row_id, changes, self._world.clock.now() - late)


def before_page(stream: str, page: int, act: Callable[[], None]) -> Callable[[Call], None]:
    """Make something happen once, right before a page of the full list is served for the first time."""
    left = [act]

    def on_request(call: Call) -> None:
        if left and call.path == stream and call.page == page and "deleted_since" not in call.params:
            left.pop()()

    return on_request
