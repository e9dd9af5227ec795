"""Pages of a list that is read by number while people work in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec

from tap_sage_accounting.errors import MalformedAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future
    from types import TracebackType

    import requests

_decoder = msgspec.json.Decoder(float_hook=Decimal)


def parse_json(body: bytes, what: str) -> Any:
    """Parse an answer's body, numbers with a fraction as exact decimals.

    Raises:
        MalformedAnswerError: the body is cut off or is no JSON at all.
    """
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedAnswerError(f"{what}: the answer is not complete JSON ({len(body)} bytes).") from error


@dataclass(frozen=True, slots=True)
class Page:
    """One page as Sage answered it.

    Attributes:
        asked: the page number that was asked for, from 1.
        number: the page number that Sage says it answered, None where it does not say.
        size: records that a full page holds.
        items: the records, as sent.
        total: records in the whole list at that moment, None where Sage does not say.
        has_next: whether Sage names a next page.
        served_at: when Sage answered, by its own clock.
    """

    asked: int
    number: int | None
    size: int
    items: list[dict[str, Any]]
    total: int | None
    has_next: bool
    served_at: datetime

    @classmethod
    def parse(cls, body: bytes, *, asked: int, size: int, served_at: datetime, what: str) -> Page:
        """Open Sage's envelope; `/businesses` spells the page size another way.

        Raises:
            MalformedAnswerError: the body is no envelope with a list of objects in it, or its page is empty although
                its own total says that rows belong there.
        """
        envelope = parse_json(body, what)
        items = envelope.get("$items") if isinstance(envelope, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise MalformedAnswerError(f"{what}: the answer has no `$items`.")
        size = _whole(envelope.get("$itemsPerPage", envelope.get("$items_per_page"))) or size
        total = _whole(envelope.get("$total"))
        if not items and total is not None and (asked - 1) * size < total:
            raise MalformedAnswerError(f"{what}: the answer has no rows, although Sage counts {total} in the list.")
        return cls(
            asked=asked,
            number=_whole(envelope.get("$page")),
            size=size,
            items=items,
            total=total,
            has_next=bool(envelope.get("$next")),
            served_at=served_at,
        )

    @property
    def last(self) -> int:
        """The number of the list's last page, as far as this page tells."""
        return self.asked if self.total is None else max(1, math.ceil(self.total / self.size))

    def repeats(self, before: Page | None) -> bool:
        """Tell whether this is the last page once more: Sage answers it for every number beyond the end."""
        if self.number is not None:
            return self.number < self.asked
        return before is not None and bool(self.items) and self.items == before.items

    def has_more(self) -> bool:
        """Tell whether another page is worth asking for.

        `$next` is not always filled in, so the total counts as well; an empty page with nothing left by the total is
        the end whatever it names.
        """
        if self.asked < self.last:
            return True
        return self.has_next and bool(self.items)


def served_at(response: requests.Response) -> datetime:
    """Tell when an answer was served: by Sage's clock, or, without a `Date` header, when it was asked for by ours."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC) - response.elapsed


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


class PagesAhead:
    """Pages of one list, requested ahead of their use, at most `width` at a time; memory holds no more than those."""

    def __init__(self, fetch: Callable[[int], Page], executor: Executor, width: int) -> None:
        self._fetch = fetch
        self._executor = executor
        self._width = width
        self._coming: dict[int, Future[Page]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for future in self._coming.values():
            future.cancel()

    def _take(self, number: int, last: int) -> Page:
        for ahead in range(number, max(number, min(last, number + self._width - 1)) + 1):
            if ahead not in self._coming:
                self._coming[ahead] = self._executor.submit(self._fetch, ahead)
        return self._coming.pop(number).result()

    def start(self) -> None:
        """Ask for the first page, to have it when its turn comes."""
        self._coming[1] = self._executor.submit(self._fetch, 1)

    def __iter__(self) -> Iterator[Page]:
        """Yield every page of the list once, in order, to its end."""
        number, last = 1, 1
        before: Page | None = None
        while True:
            page = self._take(number, last)
            if page.repeats(before):
                return
            yield page
            if not page.has_more():
                return
            before, number, last = page, number + 1, page.last
