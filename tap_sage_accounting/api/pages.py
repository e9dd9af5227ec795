"""Pages of a list that is read by number while people work in it.

The thread that requests a page looks at its envelope. Its rows are decoded by the thread that uses them, just before:
they are then in that processor's cache.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, overload

import msgspec
from typing_extensions import override

from tap_sage_accounting.api.request import parse_json
from tap_sage_accounting.exceptions import MalformedResponseError, RetriesExhaustedError
from tap_sage_accounting.records.lenient_json import NO_JSON
from tap_sage_accounting.records.row_decoder import Item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tap_sage_accounting.api.request import Response
    from tap_sage_accounting.records.row_decoder import RowDecoder

SMALL = 1 << 16
"""Bytes of a page whose rows are decoded at once: preparing the quick way would cost more."""
DECODED = 8
"""How many times as much memory rows take when they are decoded, about."""
_DIGITS = re.compile(r"[0-9]{1,15}")
_HIGHEST = 10**15
"""Of a total, a page number or a page size: what is higher is a mistake."""
_NO_ROWS = re.compile(rb"\[\s*\]")


class _Envelope(msgspec.Struct):
    """What Sage puts around the rows of a page; the rows are known to be whole JSON, and no more."""

    rows: msgspec.Raw = msgspec.field(name="$items")
    page: Any = msgspec.field(name="$page", default=None)
    total: Any = msgspec.field(name="$total", default=None)
    next: Any = msgspec.field(name="$next", default=None)
    size: Any = msgspec.field(name="$itemsPerPage", default=None)
    size_of_businesses: Any = msgspec.field(name="$items_per_page", default=None)


_envelopes = msgspec.json.Decoder(_Envelope)


def _objects(items: Any, label: str) -> list[Item]:
    """Return the records of a page; what is no object counts as a record without an id.

    Raises:
        MalformedResponseError: there is no list.
    """
    if not isinstance(items, list):
        raise MalformedResponseError(f"{label}: the response has no `$items`.")
    return [_object(item) for item in items]


def _object(item: Any) -> Item:
    return item if isinstance(item, dict) else {}


class Rows(Sequence[Item]):
    """The rows of a page, decoded when they are looked at.

    Args:
        raw: a JSON list.
        decoder: knows the schema; None for rows as sent.
        label: the request in words, for errors.

    Raises:
        MalformedResponseError: when looked at, if they are no list.
    """

    def __init__(self, raw: msgspec.Raw, decoder: RowDecoder | None, label: str) -> None:
        self._raw = bytes(raw)
        self._decoder = decoder
        self._label = label
        self._rows: Sequence[Item] | None = None

    def _decoded(self) -> Sequence[Item]:
        if self._rows is None:
            quick = self._decoder.decode(self._raw, self._careful) if self._decoder is not None else None
            self._rows = _objects(parse_json(self._raw, self._label), self._label) if quick is None else quick
            self._raw = b""
        return self._rows

    def _careful(self, row: bytes) -> Item:
        return _object(parse_json(row, self._label))

    def __bool__(self) -> bool:
        return bool(self._rows) if self._rows is not None else not _NO_ROWS.match(self._raw)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    @override
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        return self._decoded()[index]

    @override
    def __len__(self) -> int:
        return len(self._decoded())

    @override
    def __iter__(self) -> Iterator[Item]:
        return iter(self._decoded())

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # as of a list


@dataclass(frozen=True, slots=True)
class Page:
    """One page as Sage sent it.

    Attributes:
        requested: the page number that was requested, from 1.
        number: the number that Sage gives to the page, None where it gives none.
        size: records that a full page holds.
        items: the records, as sent, or decoded as declared.
        total: records in the whole list at that moment, None where Sage does not say, or says none beside some.
        has_next: whether Sage names a next page.
        served_at: a moment no later than that of the response, by Sage's clock or this machine's.
        served_by: a moment that is not before it; None where nobody needs it.
        weight: bytes of memory that it takes before it is used, about.
    """

    requested: int
    number: int | None
    size: int
    items: Sequence[Item]
    total: int | None
    has_next: bool
    served_at: datetime
    served_by: datetime | None = None
    weight: int = 0

    @classmethod
    def parse(cls, response: Response, *, requested: int, size: int, decoder: RowDecoder | None = None) -> Page:
        """Open Sage's envelope; `/businesses` spells the page size another way (businesses.size_key).

        Args:
            response: Sage's.
            requested: the page number that was requested.
            size: the page size that was requested.
            decoder: decodes the records by their schema, if the page holds nothing unexpected.

        Raises:
            MalformedResponseError: the body is no envelope around a list, or its page contradicts itself.
        """
        body, label = response.body, response.label
        items: Any
        if (envelope := _open(body)) is not None:
            number, total, following = envelope.page, envelope.total, envelope.next
            stated_size = envelope.size or envelope.size_of_businesses
            items = Rows(envelope.rows, decoder, label)
        else:
            sent = found if isinstance(found := parse_json(body, label), dict) else {}
            items, number, total, following = map(sent.get, ("$items", "$page", "$total", "$next"))
            stated_size = sent.get("$itemsPerPage", sent.get("$items_per_page"))
            items = _objects(items, label)
        page = cls(
            requested=requested,
            number=_whole(number) or None,
            size=_page_size(_whole(stated_size), size, items),
            items=items,
            total=None if items and not _whole(total) else _whole(total),
            has_next=bool(following),
            served_at=response.served_at,
            served_by=response.served_by,
            weight=len(body) if envelope is not None else len(body) * DECODED,
        )
        page.check(label)
        return page

    def check(self, label: str) -> None:
        """Refuse a page that contradicts itself.

        Raises:
            MalformedResponseError: it is empty although its total counts rows there, or it is another page although
                the list has this one.
        """
        before = (self.requested - 1) * self.size
        if not self.items and self.total is not None and before < self.total:
            raise MalformedResponseError(
                f"{label}: the response has no rows, although Sage counts {self.total} in the list."
            )
        if self.number is None or self.number == self.requested:
            return
        if self.number > self.requested or (self.has_next and before < (self.total or 0)):
            raise MalformedResponseError(f"{label}: Sage answered page {self.number} instead.")

    @property
    def last(self) -> int:
        """The number of the list's last page, as far as this page shows."""
        return self.requested if self.total is None else max(1, -(-self.total // self.size))

    def repeats(self, before: Page | None) -> bool:
        """Return whether this is the last page once more, as for every number beyond the end (pages.beyond_last).

        Raises:
            RetriesExhaustedError: it is the page before, a full one, although the list goes on.
        """
        if self.number is not None:
            return self.number < self.requested
        if before is None or not self.items or self.items != before.items:
            return False
        if len(self.items) >= self.size and self.requested <= self.last and (self.total is not None or self.has_next):
            raise RetriesExhaustedError(
                f"Sage answers page {self.requested} with the rows of the page before, and says that the list goes on."
            )
        return True

    def has_more(self) -> bool:
        """Return whether another page is worth requesting.

        `$next` is not always filled in (pages.next), so the total counts as well. An empty page with nothing left by
        the total is the end, whatever it names. Where Sage gives neither, a page with rows does not count as the last:
        it may be shorter than requested.
        """
        if self.requested < self.last:
            return True
        if self.total is None and not self.has_next:
            return bool(self.items)
        return self.has_next and bool(self.items)


def _open(body: bytes) -> _Envelope | None:
    """Open the envelope of a large page; None where it is not the usual one around a list."""
    if len(body) <= SMALL:
        return None
    try:
        envelope = _envelopes.decode(body)
    except NO_JSON:
        return None
    return envelope if bytes(memoryview(envelope.rows)[:1]) == b"[" else None


def _whole(value: object) -> int | None:
    """Read a number of an envelope; None for what cannot be one. Sage writes many numbers as text."""
    if isinstance(value, str | Decimal) and _DIGITS.fullmatch(str(value)):
        value = int(str(value))
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _HIGHEST else None


def _page_size(stated: int | None, requested: int, items: Sequence[Item]) -> int:
    """Find out how many records a full page holds: what Sage says, unless the page itself differs (pages.full)."""
    if stated == requested:
        return requested
    if not stated:
        return max(requested, len(items))
    if stated > requested:
        return stated if len(items) > requested else requested
    return max(stated, len(items))
