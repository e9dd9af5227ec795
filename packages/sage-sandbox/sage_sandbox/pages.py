"""Rendering: rows chosen, put in order, cut into pages and shown as Sage shows them.

A page is rendered once and kept until its collection changes, so that the simulator delays no client.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from sage_sandbox.books import balance_details
from sage_sandbox.endpoints import ENDPOINTS, LEGACY_ID, Endpoint
from sage_sandbox.refusals import not_found, unexpected
from sage_sandbox.rendering import REFERENCE, project, shape, strip_lines, stump
from sage_sandbox.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sage_sandbox.faults import Faults
    from sage_sandbox.query import ListQuery, Selection, View
    from sage_sandbox.store import Body, Business, Collection, Row

_KEPT_ROWS = 6_000_000
_KEPT_BYTES = 256 * 1024 * 1024
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_NEVER_IN_ALL = frozenset({"detailed_tax_analysis"})
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def encode(value: Any) -> bytes:
    """Write a value as JSON."""
    return _ENCODER.encode(value)


class Pages:
    """Serves the lists and records of businesses as JSON bytes."""

    def __init__(self, faults: Faults, *, kept_bytes: int = _KEPT_BYTES) -> None:
        self._faults = faults
        self._orders: Shelf[list[Row]] = Shelf(_KEPT_ROWS)
        self._balances: Shelf[dict[str, Body]] = Shelf(_KEPT_ROWS)
        self._bytes: Shelf[bytes] = Shelf(kept_bytes)

    def page(self, business: Business, endpoint: Endpoint, query: ListQuery) -> bytes:
        """Render one page of a list; where there are fewer pages, what Sage sends instead.

        Raises:
            RefusalError: A record of the page is poisoned, or there is no such page.
        """
        collection = business.collection(endpoint.name)
        rows = self._ordered(business, collection, endpoint, query.selection)
        size = min(query.per_page, self._faults.short_pages or query.per_page)
        last = max(1, -(-len(rows) // size))
        number = min(query.page, last)
        if query.page > last and self._faults.beyond_last != "last":
            if self._faults.beyond_last == "refused":
                raise not_found("The page")
            number = query.page
        shown = rows[(number - 1) * size : number * size]
        self._check_poison((row.id for row in shown), spoiled={"always"} if query.view.summary else None)

        def render() -> bytes:
            following, previous = self._links(endpoint.name, query, number, last)
            envelope = {
                "$total": len(rows),
                "$page": number,
                "$next": following,
                "$back": previous,
                "$itemsPerPage": query.per_page,
                "$items": self._bodies(business, endpoint, shown, query.view),
            }
            if not self._faults.totals:
                del envelope["$total"]
            return encode(envelope)

        key = (business.id, endpoint.name, self._version(business, collection, query.view), self._faults.rendering)
        return self._bytes.get((*key, number, query.per_page, query.selection, query.view, query.kept), render)

    def record(self, business: Business, endpoint: Endpoint, row: Row, view: View) -> bytes:
        """Render a single record.

        Raises:
            RefusalError: It is poisoned.
        """
        self._check_poison((row.id,), spoiled={"record", "always"})
        return encode(self._bodies(business, endpoint, [row], view, single=True)[0])

    def find(self, business: Business, endpoint: Endpoint, key: str) -> Row:
        """Look a record up by its id.

        Raises:
            RefusalError: There is none.
        """
        row = business.collection(endpoint.name).rows.get(key)
        if row is None:
            raise not_found(f"The {endpoint.name} record {key}")
        return row

    def _version(self, business: Business, collection: Collection, view: View) -> int:
        """Give a number that changes when what the view shows may have changed."""
        if view.nested or view.period:
            return sum(each.version for each in business.collections.values())
        return collection.version

    def _check_poison(self, ids: Iterable[str], spoiled: set[str] | None) -> None:
        """Fail if one of the records spoils this kind of response; `spoiled` None: each kind of poison does."""
        if not self._faults.poison:
            return
        kinds = (self._faults.poison.get(each) for each in ids)
        if any(kind is not None and (spoiled is None or kind in spoiled) for kind in kinds):
            raise unexpected()

    def _ordered(
        self, business: Business, collection: Collection, endpoint: Endpoint, selection: Selection
    ) -> list[Row]:
        combined = self._faults.changed_and_deleted
        key = (business.id, collection.name, collection.version, combined, selection)
        return self._orders.get(key, lambda: _choose(collection, endpoint, selection, union=combined == "union"))

    def _links(self, name: str, query: ListQuery, number: int, last: int) -> tuple[str | None, str | None]:
        """Name the next and the previous page: paths without the version, which is why joining them needs care."""

        def link(page: int) -> str | None:
            if not 1 <= page <= last:
                return None
            return f"/{name}?page={page}&items_per_page={query.per_page}{query.kept}"

        return link(number + 1) if self._faults.next_present else None, link(number - 1)

    def _bodies(
        self, business: Business, endpoint: Endpoint, rows: list[Row], view: View, *, single: bool = False
    ) -> list[Body]:
        hidden, bare_lines = self._hidden(endpoint, view, single=single)
        balances = self._balances_of(business, view)
        bodies = []
        for row in rows:
            body = row.render()
            if balances:
                body["balance_details"] = balances.get(row.id)
            if row.deleted_at is not None and self._faults.tombstones != "full":
                bodies.append(stump(body, self._faults.tombstones))
                continue
            shown = project(body, view.attributes, hidden)
            if bare_lines:
                strip_lines(shown)
            if view.nested:
                self._expand(business, shown)
            country, is_entry = business.country, endpoint.name == "ledger_entries"
            bodies.append(shape(shown, self._faults, country=country, is_entry=is_entry, single=single))
        return bodies

    def _balances_of(self, business: Business, view: View) -> dict[str, Body]:
        """Add up the view's period, by ledger account; nothing where no period was requested."""
        if view.period is None:
            return {}
        (first, final), without_deleted = view.period, view.without_deleted
        entries = business.collection("ledger_entries")
        return self._balances.get(
            (business.id, entries.version, first, final, without_deleted),
            lambda: balance_details(business, first, final, exclude_deleted=without_deleted),
        )

    def _hidden(self, endpoint: Endpoint, view: View, *, single: bool) -> tuple[frozenset[str], bool]:
        """Return which attributes were not requested, and whether lines lose their analysis types."""
        details = single or self._faults.detail_flags_on_lists
        hidden = _NEVER_IN_ALL - view.named
        for opt_in in (*endpoint.opt_ins, LEGACY_ID):
            asked = self._faults.opt_ins == "shown" and opt_in is not LEGACY_ID
            asked |= opt_in.parameter in view.flags and (details or opt_in.on_lists)
            if not asked or (opt_in.attribute == "balance_details" and view.period is None):
                hidden |= {opt_in.attribute}
        return hidden, endpoint.line_analysis and not (details and "show_analysis_types" in view.flags)

    def expand_origin(self, business: Business, row: Row, view: View) -> bytes:
        """Render a transaction with the document that it comes from in full.

        Raises:
            RefusalError: It is poisoned.
        """
        self._check_poison((row.id,), spoiled={"record", "always"})
        body = self._bodies(business, ENDPOINTS["transactions"], [row], view, single=True)[0]
        origin = body.get("origin")
        if isinstance(origin, dict) and (whole := self._whole(business, origin)):
            body["origin"] = {**origin, **whole}
        return encode(body)

    def _expand(self, business: Business, body: Body) -> None:
        """Replace first-level references by the records that they point to."""
        for name, value in body.items():
            if isinstance(value, dict) and value.keys() == REFERENCE and (whole := self._whole(business, value)):
                body[name] = whole

    def _whole(self, business: Business, reference: Body) -> Body | None:
        name, _, key = str(reference.get("$path") or "").strip("/").partition("/")
        if name not in ENDPOINTS or name not in business.collections:
            return None
        row = business.collections[name].rows.get(key)
        if row is None:
            return None
        hidden = frozenset({opt_in.attribute for opt_in in (*ENDPOINTS[name].opt_ins, LEGACY_ID)}) | _NEVER_IN_ALL
        whole = project(row.render(), None, hidden)
        if ENDPOINTS[name].line_analysis:
            strip_lines(whole)
        return whole


def _choose(collection: Collection, endpoint: Endpoint, selection: Selection, *, union: bool) -> list[Row]:
    """Pick the rows that a selection lets through, in its order."""
    rows: list[Row] = []
    if selection.deleted_from is None or (union and selection.changed_from is not None):
        rows = list(collection.rows.values())
        if (lower := selection.changed_from) is not None:
            rows = [row for row in rows if row.updated_at is not None and row.updated_at >= lower]
        if (upper := selection.changed_to) is not None:
            rows = [row for row in rows if row.updated_at is not None and row.updated_at < upper]
    if (after := selection.deleted_from) is not None:
        dead = collection.tombstones.values()
        rows += [row for row in dead if row.deleted_at is not None and row.deleted_at >= after]
    if selection.by_content:
        rows = [row for row in rows if _matches(row.render(), selection)]
    if selection.sort:
        return sorted(rows, key=lambda row: _sort_value(row, selection.sort), reverse=selection.descending)
    return rows[::-1] if endpoint.newest_first else rows


def _sort_value(row: Row, key: str) -> Any:
    if key == "created_at":
        return row.created_at or _LONG_AGO
    if key == "updated_at":
        return row.updated_at or _LONG_AGO
    return str(row.render().get(key) or "")


def _matches(body: Body, selection: Selection) -> bool:
    day = str(body.get("date") or "")[:10]
    if selection.from_date and day < selection.from_date:
        return False
    if selection.to_date and not (day and day <= selection.to_date):
        return False
    if selection.search and selection.search not in str(body.get("displayed_as") or "").casefold():
        return False
    if selection.unflagged_only and body.get("deleted") is True:
        return False
    if selection.active_only and False in {body.get("active"), body.get("is_active")}:
        return False
    return all(_is(body.get(attribute), wanted) for attribute, wanted in selection.equals)


def _is(value: Any, wanted: str) -> bool:
    """Compare a value, a reference's id, or any of several of them, with a parameter."""
    if isinstance(value, list):
        return any(_is(each, wanted) for each in value)
    if isinstance(value, dict):
        return wanted in {str(value.get("id")), str(value.get("identifier"))}
    if isinstance(value, bool):
        return value == (wanted.lower() in {"true", "1"})
    return value is not None and str(value) == wanted
