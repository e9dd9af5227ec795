"""A target that merges rows by their key, and the comparison of its rows with the simulated Sage's books."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sage_sandbox.books import trial_balance
from sage_workbench.equality import differences
from sage_workbench.listings import key_of, listable
from tap_sage_accounting.extraction.months import Month

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from sage_sandbox.store import Business, World

Record = dict[str, Any]
Key = tuple[Any, ...]
Amounts = tuple[Decimal, ...]
AMOUNTS = (
    "opening_balance_debit",
    "opening_balance_credit",
    "closing_balance_debit",
    "closing_balance_credit",
    "debit",
    "credit",
)


class Warehouse:
    """Loads the messages of one run after another, as an upserting target does.

    A record sets every column that the stream's last SCHEMA has, to null where the record does not name it. Rows are
    found by their key. With `versions`, ACTIVATE_VERSION drops the rows of other versions.
    """

    def __init__(self, *, versions: bool = False) -> None:
        self.tables: dict[str, dict[Key, Record]] = defaultdict(dict)
        self._versions = versions
        self._columns: dict[str, list[str]] = {}
        self._keys: dict[str, list[str]] = {}
        self._version_of: dict[str, dict[Key, int | None]] = defaultdict(dict)

    def load(self, messages: Iterable[Record]) -> None:
        for message in messages:
            stream = message.get("stream", "")
            match message["type"]:
                case "SCHEMA":
                    self._columns[stream] = list(message["schema"]["properties"])
                    self._keys[stream] = message["key_properties"]
                case "RECORD":
                    self._merge(stream, message["record"], message.get("version"))
                case "ACTIVATE_VERSION" if self._versions:
                    self._drop_others(stream, message["version"])

    def _merge(self, stream: str, record: Record, version: int | None) -> None:
        columns = self._columns[stream]
        assert set(record) <= set(columns), stream
        key = tuple(record[name] for name in self._keys[stream])
        assert None not in key, stream
        self.tables[stream].setdefault(key, {}).update({name: record.get(name) for name in columns})
        self._version_of[stream][key] = version

    def _drop_others(self, stream: str, version: int) -> None:
        for key, own in list(self._version_of[stream].items()):
            if own != version:
                del self.tables[stream][key], self._version_of[stream][key]

    def rows(self, stream: str, business_id: str) -> dict[str, Record]:
        """The rows of one business, the flagged ones among them, by their own key."""
        return {key_of(row): row for row in self.tables[stream].values() if row["business_id"] == business_id}

    def live(self, stream: str, business_id: str) -> dict[str, Record]:
        """The rows of one business that are not flagged as deleted."""
        return {key: row for key, row in self.rows(stream, business_id).items() if not row.get("deleted_at")}


def disagreements(world: World, warehouse: Warehouse, streams: Iterable[str]) -> list[str]:
    """List every row that is missing, stale or different in the warehouse; nothing means that the books agree."""
    return [
        found
        for business in world.businesses.values()
        for stream in streams
        for found in _of_one_list(business, stream, warehouse)
    ]


def trial_balance_disagreements(business: Business, now: datetime, warehouse: Warehouse) -> list[str]:
    """List every account and month whose amounts differ from the books; where the books have none, zeros are right."""
    first = Month.of(date.fromisoformat(business.objects["financial_settings"]["accounts_start_date"]))
    expected: dict[tuple[str, str], Amounts] = {}
    for month in first.until(Month.of(now)):
        listed = trial_balance(business, date.fromisoformat(month.first_day), date.fromisoformat(month.last_day))
        expected |= {(month.first_day, each["id"]): _amounts(each) for each in listed["ledger_accounts"]}
    arrived = {
        (row["from_date"], row["ledger_account_id"]): tuple(Decimal(str(row[name])) for name in AMOUNTS)
        for row in warehouse.tables["trial_balance"].values()
        if row["business_id"] == business.id
    }
    nothing = (Decimal(0),) * len(AMOUNTS)
    return [
        f"{place}: {arrived.get(place, nothing)}, in the books {expected.get(place, nothing)}"
        for place in sorted(expected.keys() | arrived.keys())
        if arrived.get(place, nothing) != expected.get(place, nothing)
    ]


def _amounts(account: Record) -> Amounts:
    opening, closing = account["opening_balance"], account["closing_balance"]
    return tuple(Decimal(side[name]) for side in (opening, closing, account) for name in ("debit", "credit"))


def _of_one_list(business: Business, stream: str, warehouse: Warehouse) -> Iterator[str]:
    where = f"{stream} of {business.name}"
    bodies = {key_of(row.render()): listable(stream, row.render()) for row in business.collection(stream).rows.values()}
    arrived = warehouse.live(stream, business.id)
    yield from (f"{where}: {key} is missing" for key in bodies.keys() - arrived.keys())
    yield from (f"{where}: {key} is stale" for key in arrived.keys() - bodies.keys())
    for key in bodies.keys() & arrived.keys():
        yield from (f"{where}: {key}: {found}" for found in differences(bodies[key], arrived[key]))
