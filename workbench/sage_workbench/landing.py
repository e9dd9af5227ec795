"""What a target made of the books: rows, values, amounts, deletions and columns, as it holds them after a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from sage_workbench.equality import differences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sage_sandbox.store import World
    from sage_workbench.pipeline import Books

Record: TypeAlias = dict[str, Any]
Place: TypeAlias = tuple[str, str, str]
Rows: TypeAlias = dict[Place, Record]
Columns: TypeAlias = dict[tuple[str, str], str]

KINDS = ("number", "integer", "date", "date-time", "object", "array of objects", "array of texts")
AMOUNTS = (
    "0.1",
    "2.20",
    "-0.01",
    "0.30000000000000004",
    "1234567.005",
    "99999999999999.99",
    "12345678901234567890.1234567891",
    "9999999999999999999999999999.9999999999",
)
"""Amounts of a few digits and of up to 38, some of which no binary fraction holds."""


def put_amounts(world: World) -> None:
    """Give each of the amounts to a product."""
    found = (business.collections.get("products") for business in world.businesses.values())
    lists = [each for each in found if each]
    products = [(each, key) for each in lists for key in each.rows]
    for (each, key), amount in zip(products, AMOUNTS, strict=False):
        each.change(key, {"cost_price": amount}, None)


@dataclass(frozen=True)
class Outcome:
    """What a target holds after a run, beside the books.

    Attributes:
        expected: rows that the books have.
        missing: rows among them that the target does not have.
        changed: attributes that arrived with another value.
        deleted: rows that arrived earlier and are deleted since.
        unmarked: rows among them without `deleted_at`.
        emptied: rows among them that lost what they held.
        amounts: of `AMOUNTS`, how many arrived with every digit.
        examples: some of what differs.
    """

    expected: int
    missing: int
    changed: int
    deleted: int
    unmarked: int
    emptied: int
    amounts: int
    examples: tuple[str, ...]


@dataclass
class Landing:
    """How the streams land in one target.

    Attributes:
        target: its name and version.
        types: how often each kind of column has which type.
        columns_lost: columns that the target does not have.
        outcomes: what each run left.
        filled: rows in which a column that came with the second run has the right value; the wrong ones are lost.
        takes_columns: whether a run with columns that its tables have not was loaded.
    """

    target: str
    types: dict[str, Counter[str]]
    columns_lost: int
    outcomes: list[Outcome] = field(default_factory=list)
    filled: int | None = None
    takes_columns: bool = True


def kind_of(part: Record) -> str:
    """Return of which of the kinds a column is."""
    [kind] = [name for name in ([part["type"]] if isinstance(part["type"], str) else part["type"]) if name != "null"]
    if kind == "array":
        return "array of objects" if "properties" in part["items"] else "array of texts"
    return {"x-singer.decimal": "number"}.get(part.get("format", kind), str(part.get("format", kind)))


def landing(target: str, properties: Iterable[tuple[str, str, Record]], columns: Columns) -> Landing:
    """Count the target's types of each kind of column, and the columns that it does not have."""
    types: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    lost = 0
    for stream, name, part in properties:
        if (stream, name) not in columns:
            lost += 1
        elif (kind := kind_of(part)) in types:
            types[kind][columns[stream, name]] += 1
    return Landing(target, types, lost)


def compare(books: Books, before: Books | None, rows: Rows) -> Outcome:
    """Compare every value of every row with the books.

    Args:
        books: the books now.
        before: the books at the run before; what they held and is deleted since must be marked and keep its values.
        rows: what the target holds.
    """
    missing = [place for place in books.alive if place not in rows]
    changed = [
        f"{place[0]}.{difference}"
        for place, body in books.alive.items()
        if place in rows
        for difference in differences(body, exact(rows[place]))
    ]
    deleted = books.deleted.keys() & before.alive.keys() if before else set()
    return Outcome(
        expected=len(books.alive),
        missing=len(missing),
        changed=len(changed),
        deleted=len(deleted),
        unmarked=sum(not rows.get(place, {}).get("deleted_at") for place in deleted),
        emptied=sum(_is_emptied(before.alive[place], rows.get(place, {})) for place in deleted) if before else 0,
        amounts=_amounts(books, rows),
        examples=(*(f"missing: {place[0]}" for place in sorted(missing)[:3]), *changed[:3]),
    )


def _is_emptied(body: Record, row: Record) -> bool:
    """Return whether nothing is left of a row but its key and its mark."""
    kept = {"id", "$path", "displayed_as", "updated_at", "created_at", "deleted_at"}
    return not any(row.get(name.lower()) for name, value in body.items() if value and name not in kept)


def _amounts(books: Books, rows: Rows) -> int:
    expected = {place: Decimal(body["cost_price"]) for place, body in books.alive.items() if _is_put(place, body)}
    found = {place: exact(rows.get(place, {})).get("cost_price") or 0 for place in expected}
    return sum(Decimal(found[place]) == amount for place, amount in expected.items())


def _is_put(place: Place, body: Record) -> bool:
    return place[0] == "products" and str(body.get("cost_price")) in AMOUNTS


def filled(rows: Rows) -> int | None:
    """Count the rows in which the column of the second run, `contact_id`, says the same as the reference beside it.

    Returns:
        None, where a row of them differs.
    """
    found = [row for place, row in rows.items() if place[0] == "sales_invoices" and row.get("contact_id")]
    return len(found) if all(row["contact_id"] == row["contact"]["id"] for row in found) else None


def exact(row: Mapping[str, Any]) -> Record:
    """Give the binary fractions of a row as the decimals that they print as."""
    return {name: Decimal(repr(value)) if isinstance(value, float) else value for name, value in row.items()}


def place_of(stream: str, row: Record) -> Place:
    """Return by what the books know a row; a mark of a deleted rate has no more than its key."""
    key = row.get("id") or (row.get("path") or "").rpartition("/")[2] or row.get("currency_id")
    return stream, row.get("business_id") or "", str(key)


def placed(stream: str, rows: Iterable[Record]) -> Iterator[tuple[Place, Record]]:
    """Give rows with their places."""
    return ((place_of(stream, row), row) for row in rows)
